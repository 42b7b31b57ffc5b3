"""Are draws of hidden entries as good as their distribution allows? See README.md.

    python benchmarks/draws.py --data DIR --masks FILE --out draws.jsonl

Every method fits and fills the same table 20 times over; proper scores compare what it drew with
what was hidden. Lower is better.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import stored
from imputation import limit_threads

KEYS = ("data", "mechanism", "seed", "method")
N_DRAWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--masks", type=Path, help="masks (.npz); missing ones are made by ampute")
    add("--sets", help="names, separated by commas (the six of imputation.py)")
    add("--mechanism", default="mcar", choices=("mcar", "mar", "mnar"))
    add("--seeds", default="0", help="seeds of masks and methods")
    add("--methods", help=f"of {', '.join(METHODS)} (all that are installed)")
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    add("--threads", type=int, default=1)
    args = parser.parse_args()
    limit_threads(args.threads)

    import _protocol
    import numpy as np
    import torch
    from peers import importable
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    masks = np.load(args.masks) if args.masks else None
    done, records = stored(args.out, KEYS), []
    for data in args.sets.split(",") if args.sets else _protocol.SETS:
        X = _protocol.load_table(args.data, data)
        for seed in map(int, args.seeds.split(",")):
            hidden, source = _protocol.load_mask(masks, data, args.mechanism, seed, X)
            for method in args.methods.split(",") if args.methods else METHODS:
                cell = (data, args.mechanism, seed, method)
                if cell not in done:
                    if not importable(method):
                        print(f"{method} is not installed and left out")
                        continue
                    result = run(METHODS[method], _protocol.Scaling(X, hidden), seed)
                    done[cell] = dict(zip(KEYS, cell, strict=True)) | result | {"mask": source}
                    print(*cell, result, flush=True)
                    if args.out:
                        with args.out.open("a") as file:
                            file.write(json.dumps(done[cell]) + "\n")
                records.append(done[cell])
    report(records)


def run(draw: Callable[..., Any], scaling: Any, seed: int) -> dict[str, Any]:
    """Scores of one method's draws of one table, in standard deviations of complete columns."""
    import numpy as np

    Z = scaling.with_holes()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = np.asarray(draw(Z, seed), dtype=float)
    seconds = time.perf_counter() - start
    draws = (draws * scaling.sd + scaling.mean) / scaling.unit
    result = scores(draws, scaling.X / scaling.unit, scaling.hidden)
    return {name: round(float(value), 5) for name, value in result.items()} | {
        "seconds": round(seconds, 2)
    }


def scores(draws: Any, truth: Any, hidden: Any) -> dict[str, Any]:
    """Energy score and CRPS of an ensemble (Gneiting and Raftery, 2007), and what they hang on.

    With draws x_1, ..., x_m of what is hidden in a row and the truth y, the energy score is
    ``mean |x_i - y| - mean |x_i - x_j| / 2``, means being over all draws and all pairs of them;
    the CRPS is the same of one entry. Both take the m draws for the whole distribution; "fair"
    ones (Ferro, 2014) leave out the pairs of a draw with itself and so estimate the score of what
    was drawn from.
    """
    import numpy as np

    rows = hidden.any(axis=1)
    draws, truth, hidden = draws[:, rows], truth[rows], hidden[rows]
    m = len(draws)
    error = np.where(hidden, draws - truth, 0.0)
    to_truth, entries_to_truth = np.linalg.norm(error, axis=2).mean(axis=0), np.abs(error).mean(0)
    apart, entries_apart = np.zeros(len(truth)), np.zeros(truth.shape)
    for one in error:  # the truth cancels
        apart += np.linalg.norm(error - one, axis=2).sum(axis=0)
        entries_apart += np.abs(error - one).sum(axis=0)
    mean = error.mean(axis=0)
    pairs = {"": m * m, "_fair": m * (m - 1)}
    found = {f"energy{key}": (to_truth - apart / n / 2).mean() for key, n in pairs.items()}
    for key, n in pairs.items():
        found[f"crps{key}"] = (entries_to_truth - entries_apart / n / 2)[hidden].mean()
    found["rmse_of_mean"] = np.sqrt((mean[hidden] ** 2).mean())
    # Draws as wide as the truth varies have the truth among them: then this is 1.
    spread = error.var(axis=0, ddof=1)[hidden].mean() * (1 + 1 / m)
    found["spread"] = np.sqrt(spread / (mean[hidden] ** 2).mean())
    return found


def report(records: list[dict[str, Any]]) -> None:
    """A row for each table, a column for each method."""
    import pandas as pd

    if not records:
        return
    frame = pd.DataFrame(records)
    for measure in ("energy", "energy_fair", "crps", "crps_fair", "rmse_of_mean", "spread"):
        table = frame.pivot_table(measure, ["data", "mechanism", "seed"], "method", sort=False)
        peers = table.columns.drop("skvae", errors="ignore")
        if "skvae" in table and measure.startswith(("energy", "crps")):
            for peer in peers:
                table[f"skvae / {peer}"] = table["skvae"] / table[peer]
        print(f"\n{measure}\n{table.round(4).to_string()}")
        for peer in (name for name in table if str(name).startswith("skvae / ")):
            ratio = table[peer].dropna()
            print(f"{peer}: below 1 in {int((ratio < 1).sum())} of {len(ratio)}")
    print(f"\nseconds\n{frame.pivot_table('seconds', 'data', 'method', sort=False).to_string()}")


# Methods ------------------------------------------------------------------------------------


def skvae(Z: Any, seed: int) -> list[Any]:
    """`VAEImputer` as it comes."""
    from skvae import VAEImputer

    imputer = VAEImputer(random_state=seed).fit(Z)
    return imputer.sample_imputations(Z, N_DRAWS, random_state=seed)


def miceforest(Z: Any, seed: int) -> list[Any]:
    """Chained gradient boosting with predictive mean matching, 5 rounds, as miceforest does it."""
    import miceforest as package
    import pandas as pd

    frame = pd.DataFrame(Z, columns=[f"x{j}" for j in range(Z.shape[1])])
    # Without its models, which fill memory where columns are many, and no draw needs.
    kernel = package.ImputationKernel(
        frame, num_datasets=N_DRAWS, save_all_iterations_data=False, random_state=seed
    )
    kernel.mice(5, num_threads=1)
    return [kernel.complete_data(dataset=draw).to_numpy(float) for draw in range(N_DRAWS)]


def mice(Z: Any, seed: int) -> list[Any]:
    """Chained Bayesian ridge regressions, drawn from anew for every table."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return [
        IterativeImputer(sample_posterior=True, random_state=1000 * seed + draw).fit_transform(Z)
        for draw in range(N_DRAWS)
    ]


METHODS: dict[str, Callable[..., list[Any]]] = {
    "skvae": skvae,
    "miceforest": miceforest,
    "mice": mice,
}


if __name__ == "__main__":
    main()
