"""
Many fits at once
=================

How much does a filled table depend on the seed of the imputer, and on how strongly its networks are
held to the linear model? A dozen fits tell, and they need not wait for each other: joblib spreads
them over the cores of a machine, dask over a cluster.
"""

import sys
import time

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

from skvae import VAEImputer
from skvae.datasets import ampute

ALPHAS, SEEDS = (0.03, 0.3, 3.0), range(4)

# %%
# One fit
# -------
# Chemical analyses of wines, columns in standard deviations, a third of the entries hidden. What a
# fit is judged by, the error at the hidden entries, it returns itself: workers send back numbers,
# not models. They import what they need, so that the function works wherever it is called.

table = load_wine(as_frame=True).data
table = (table - table.mean()) / table.std(ddof=0)
holed = ampute(table, rate=0.3, random_state=0)
hidden = holed.isna().to_numpy()


def fit_one(alpha, seed):
    """Error by column, and seconds of the fit."""
    start = time.perf_counter()
    imputer = VAEImputer(n_components=4, alpha=alpha, max_iter=150, random_state=seed)
    filled = imputer.fit_transform(holed)
    squares = ((filled - table) ** 2).to_numpy()
    error = np.sqrt((squares * hidden).sum(axis=0) / hidden.sum(axis=0))
    return error, time.perf_counter() - start


# %%
# All of them
# -----------
# joblib's own backend, loky, starts a process for each job and gives each its share of the
# threads: with one job per core every fit has one thread, and none waits for another. With
# ``backend="dask"`` the same lines use whatever cluster a ``distributed.Client`` is connected to,
# here one on this machine (``python examples/many_fits.py dask``, with ``distributed``
# installed). The guard is for processes that begin by importing this script.


def run(backend):
    """All fits on a backend of joblib."""
    with joblib.parallel_config(backend=backend, n_jobs=joblib.cpu_count()):
        return joblib.Parallel()(
            joblib.delayed(fit_one)(alpha, seed) for alpha in ALPHAS for seed in SEEDS
        )


if __name__ == "__main__":
    start = time.perf_counter()
    if "dask" not in sys.argv:
        backend = "loky"
        results = run(backend)
    else:
        from distributed import Client, LocalCluster

        backend = "dask"
        with LocalCluster(threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
            results = run(backend)
    passed = time.perf_counter() - start
    alone = sum(seconds for _, seconds in results)
    print(
        f"{len(results)} fits of {alone:.0f} s in all, in {passed:.0f} s by {backend} "
        f"on {joblib.cpu_count()} cores"
    )

    # What they say:
    # Between seeds the error differs by a hundredth of a standard deviation, between strengths by
    # less: held-out entries decide how far the networks are trusted, whatever their strength. Where
    # the truth is not known, ``GridSearchCV(VAEImputer(), {"alpha": ...}, n_jobs=...)`` under the
    # same ``parallel_config`` compares log-densities of rows left out.

    errors = pd.DataFrame(
        [error for error, _ in results],
        index=pd.MultiIndex.from_product([ALPHAS, SEEDS], names=["alpha", "seed"]),
        columns=table.columns,
    )
    mean = errors.mean(axis=1).groupby("alpha")
    print(pd.DataFrame({"error": mean.mean(), "between seeds": mean.std()}).round(4))

    figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
    places = np.arange(len(table.columns))
    for shift, alpha in zip((-0.22, 0.0, 0.22), ALPHAS, strict=True):
        own = errors.loc[alpha]
        (line,) = ax.plot(places + shift, own.mean(), "_", markersize=12, label=f"alpha {alpha:g}")
        for seed in SEEDS:
            ax.plot(places + shift, own.loc[seed], ".", color=line.get_color(), alpha=0.5)
    ax.set_xticks(places, table.columns, rotation=60, ha="right")
    ax.set(ylabel="error, standard deviations", title="Dots are seeds, dashes their means")
    ax.legend()
    plt.show()
