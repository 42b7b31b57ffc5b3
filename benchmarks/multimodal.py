"""Blocks of columns that rows may lack: skvae and its peers side by side. See README.md.

    python benchmarks/multimodal.py --data DIR --out multimodal.jsonl
    python benchmarks/multimodal.py --protocol halves --out multimodal.jsonl

`mfeat`: numerals in six views, training rows lose each view with probability `--miss`; `breast`,
`wine`, `quarters`: the same with data of scikit-learn.
`halves`: digits cut in two, a share of `--share` of the training rows has both halves.

`factor_analysis` is by expectation maximisation on incomplete data; scikit-learn's cannot take
holes, so that it borrows `skvae.models.linear.fit_linear_vae`, which is that algorithm.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import stored
from imputation import limit_threads

PROTOCOLS = ("mfeat", "breast", "wine", "quarters", "halves")
KEYS = ("protocol", "share", "seed", "method")
METRICS = ("r2", "acc_one", "acc_all", "log_lik", "seconds")
# Fewer complete rows than this, and regressions on them are left out.
LEAST_COMPLETE = 20
N_PLS, N_NEIGHBOURS, N_FACTORS = 16, 10, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="mfeat: folder with multiview/mfeat.npz")
    add("--protocol", choices=PROTOCOLS, default="mfeat")
    add("--seeds", default="0,1,2", help="seeds of splits, absent views and methods")
    add("--miss", default="0,0.3,0.5", help="all but halves: shares of absent views")
    add("--share", default="0.05", help="halves: shares of rows with both halves")
    add("--methods", help="skvae, skvae:KEY=VALUE and peers, separated by commas (all that run)")
    add("--threads", type=int, default=1)
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    args = parser.parse_args()
    if args.protocol == "mfeat" and args.data is None:
        parser.error("--data is required for mfeat")
    limit_threads(args.threads)

    import _views
    import torch

    torch.set_num_threads(args.threads)
    load = getattr(_views, f"load_{args.protocol}")
    known = halves_methods() if args.protocol == "halves" else views_methods()
    names = args.methods.split(",") if args.methods else list(known)
    methods = {name: known[name] if name in known else variant(name) for name in names}
    done = stored(args.out, KEYS)
    records = []
    for share in map(float, (args.share if args.protocol == "halves" else args.miss).split(",")):
        for seed in map(int, args.seeds.split(",")):
            views = None
            for name, fit in methods.items():
                cell = (args.protocol, share, seed, name)
                if cell not in done:
                    views = views or load(args.data, seed, share)
                    done[cell] = dict(zip(KEYS, cell, strict=True)) | run(fit, views, seed)
                    print(json.dumps(done[cell]), flush=True)
                    if args.out:
                        with args.out.open("a") as file:
                            file.write(json.dumps(done[cell]) + "\n")
                records.append(done[cell])
    report(records)


def run(fit: Callable[..., Any], views: Any, seed: int) -> dict[str, float]:
    """Figures on test rows and seconds of the fit; nothing where a method cannot run."""
    from _views import evaluate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        fitted = fit(views, seed)
        seconds = time.perf_counter() - start
        if fitted is None:
            return {}
        return evaluate(views, fitted) | {"seconds": round(seconds, 2)}


def report(records: list[dict[str, Any]]) -> None:
    """Means over seeds by share and method."""
    import pandas as pd

    table = pd.DataFrame(records)
    found = [name for name in METRICS if name in table]
    table = table.groupby(["share", "method"], sort=False)
    means = table[found].mean().round(dict.fromkeys(found, 4) | {"seconds": 2})
    means["seeds"] = table["seed"].nunique()
    print("\n" + means.to_string(na_rep="-"), flush=True)


# Methods ------------------------------------------------------------------------------------


def views_methods() -> dict[str, Callable[..., Any]]:
    """skvae and the peers that are installed."""
    import numpy as np

    def ridge_complete(views: Any, seed: int) -> Any:
        pairs = views.complete_rows()
        return None if len(pairs.X) < LEAST_COMPLETE else ridge(pairs, np.logspace(-1, 3, 13))

    out = {
        "skvae": skvae(),
        "ridge": lambda views, seed: ridge(views, np.logspace(-1, 3, 13)),
        "ridge_complete": ridge_complete,
        "pls": pls,
        "knn": knn,
        "factor_analysis": factor_analysis,
        "concat": concat,
    }
    if importlib.util.find_spec("multivae"):
        from multivae_peers import PEERS

        out |= PEERS
    return out


def halves_methods() -> dict[str, Callable[..., Any]]:
    """skvae on all rows; itself and the peers on the pairs."""
    import numpy as np

    return {
        "skvae": skvae(),
        "skvae_pairs": on_pairs(skvae()),
        "ridge": on_pairs(lambda views, seed: ridge(views, np.logspace(-1, 4, 20))),
        "knn": on_pairs(knn_by_cv),
        "pls": on_pairs(pls_by_cv),
    }


def on_pairs(fit: Callable[..., Any]) -> Callable[..., Any]:
    """The same on the complete rows."""
    return lambda views, seed: fit(views.complete_rows(), seed)


def variant(name: str) -> Callable[..., Any]:
    """`skvae:KEY=VALUE:...` or `skvae_pairs:KEY=VALUE:...` as a method."""
    first, *rest = name.split(":")
    if first not in ("skvae", "skvae_pairs") or not all("=" in part for part in rest):
        raise SystemExit(f"unknown method {name!r}, or one that is not installed")
    settings = {}
    for part in rest:
        key, _, value = part.partition("=")
        settings[key] = value if value.isalpha() else json.loads(value)
    return skvae(**settings) if first == "skvae" else on_pairs(skvae(**settings))


def skvae(**settings: Any) -> Callable[..., Any]:
    """`MultimodalVAE` with its defaults but for the settings."""

    def fit(views: Any, seed: int) -> Any:
        from _views import Fitted

        from skvae import MultimodalVAE

        blocks = dict(zip(views.names, views.columns, strict=True))
        model = MultimodalVAE(blocks, random_state=seed, **settings).fit(views.X)
        return Fitted(
            predict=lambda table, j: model.predict(table, target=views.names[j]),
            log_lik=lambda table, j: model.score_samples(table, target=views.names[j]),
            embed=model.transform,
        )

    return fit


def factor_analysis(views: Any, seed: int) -> Any:
    """A joint Gaussian of all columns, conditioned exactly."""
    import numpy as np
    import torch
    from _views import Fitted

    from skvae.models.linear import fit_linear_vae

    def tensors(table: Any) -> tuple[Any, Any]:
        return torch.from_numpy(views.filled(table)), torch.from_numpy(~np.isnan(table))

    n_factors = min(N_FACTORS, views.X.shape[1] // 3)
    model = fit_linear_vae(*tensors(views.X), n_factors, max_iter=100, tol=1e-2)

    def log_lik(table: Any, j: int) -> Any:
        shown = np.where(views.others(j), table, np.nan)
        return (model.log_prob(*tensors(table)) - model.log_prob(*tensors(shown))).numpy()

    return Fitted(
        predict=lambda table, j: model.conditional_mean(*tensors(table)).numpy()[
            :, views.columns[j]
        ],
        log_lik=log_lik,
        embed=lambda table: model.posterior(*tensors(table)).mean.numpy(),
    )


def concat(views: Any, seed: int) -> Any:
    """The columns themselves."""
    from _views import Fitted

    return Fitted(embed=views.filled)


def regressions(views: Any, make: Callable[[], Any]) -> Any:
    """One regression for each view from the others, mean-filled, on the rows that have it."""
    from _views import Fitted

    models, filled = [], views.filled(views.X)
    for j, view in enumerate(views.columns):
        rows = views.present[:, j]
        models.append(make().fit(filled[rows][:, views.others(j)], filled[rows][:, view]))

    def predict(table: Any, j: int) -> Any:
        return models[j].predict(views.filled(table)[:, views.others(j)])

    return Fitted(predict), models


def ridge(views: Any, alphas: Any) -> Any:
    """Ridge regressions; their density is a Gaussian of each column's leave-one-out variance."""
    import numpy as np
    from sklearn.linear_model import RidgeCV

    fitted, models = regressions(views, lambda: RidgeCV(alphas=alphas, store_cv_results=True))
    variances = [
        model.cv_results_[..., list(alphas).index(model.alpha_)].mean(axis=0) for model in models
    ]

    def log_lik(table: Any, j: int) -> Any:
        residual = table[:, views.columns[j]] - fitted.predict(table, j)
        variance = variances[j]
        return -0.5 * (residual**2 / variance + np.log(2 * np.pi * variance)).sum(axis=1)

    fitted.log_lik = log_lik
    return fitted


def pls(views: Any, seed: int) -> Any:
    """Partial least squares."""
    from sklearn.cross_decomposition import PLSRegression

    narrowest = min(views.others(j).sum() for j in range(len(views.columns)))
    return regressions(views, lambda: PLSRegression(min(N_PLS, int(narrowest))))[0]


def knn(views: Any, seed: int) -> Any:
    """Nearest neighbours."""
    from sklearn.neighbors import KNeighborsRegressor

    return regressions(views, lambda: KNeighborsRegressor(N_NEIGHBOURS))[0]


def pls_by_cv(views: Any, seed: int) -> Any:
    """As many components as cross-validation says."""
    from sklearn.cross_decomposition import PLSRegression

    return searched(views, PLSRegression(), {"n_components": [1, 2, 4, 8, 16]})


def knn_by_cv(views: Any, seed: int) -> Any:
    """As many nearest neighbours as cross-validation says."""
    from sklearn.neighbors import KNeighborsRegressor

    return searched(views, KNeighborsRegressor(), {"n_neighbors": [1, 3, 5, 10]})


def searched(views: Any, model: Any, grid: dict[str, list[int]]) -> Any:
    """Regressions with settings by five-fold cross-validation."""
    from sklearn.model_selection import GridSearchCV

    scoring = "neg_mean_squared_error"  # R2 is upset by columns that are constant in a fold
    return regressions(views, lambda: GridSearchCV(model, grid, scoring=scoring))[0]


if __name__ == "__main__":
    main()
