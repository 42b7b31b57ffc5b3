"""Do pooled confidence intervals hold what they promise? See README.md.

    python benchmarks/multiple_imputation.py --out multiple.jsonl

A linear regression on three correlated covariates, 100 rows. Two covariates have holes whose
probability hangs on the response: about 30 % each, missing at random. Every method fills the table
20 times; regressions on the fillings are pooled by Rubin's rules (`skvae.pool`).
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

KEYS = ("method", "repetition")
COEFFICIENTS = (1.0, 0.5, -0.5, 0.8)
N_ROWS, N_DRAWS = 100, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--repetitions", type=int, default=500)
    add("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)}")
    add("--threads", type=int, default=1)
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    args = parser.parse_args()
    limit_threads(args.threads)

    import torch

    torch.set_num_threads(args.threads)
    done, records = stored(args.out, KEYS), []
    for name in args.methods.split(","):
        for repetition in range(args.repetitions):
            cell = (name, repetition)
            if cell not in done:
                done[cell] = dict(zip(KEYS, cell, strict=True)) | run(METHODS[name], repetition)
                if args.out:
                    with args.out.open("a") as file:
                        file.write(json.dumps(done[cell]) + "\n")
            records.append(done[cell])
        report(records)


def run(fill: Callable[..., Any], repetition: int) -> dict[str, Any]:
    """Intervals of one simulated table: whether they cover, how wide they are, and errors."""
    import numpy as np

    from skvae import pool

    whole, holed = simulate(repetition)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = fill(whole, holed, repetition)
    seconds = time.perf_counter() - start
    fits = [regress(table) for table in tables]
    estimates, variances = ([fit[part] for fit in fits] for part in (0, 1))
    rows = len(tables[0])
    if len(tables) == 1:  # one table is taken at its word
        estimates, variances = estimates * 2, variances * 2
    pooled = pool(estimates, variances, df_complete=rows - len(COEFFICIENTS))
    lower, upper = pooled.interval()
    truth = np.array(COEFFICIENTS)
    return {
        "covered": ((lower < truth) & (truth < upper)).astype(int).tolist(),
        "width": np.round(upper - lower, 5).tolist(),
        "error": np.round(pooled.estimate - truth, 5).tolist(),
        "seconds": round(seconds, 4),
    }


def simulate(repetition: int) -> tuple[Any, Any]:
    """Three covariates and the response; whole, and with holes."""
    import numpy as np

    random = np.random.default_rng(repetition)
    covariance = 0.5 * np.eye(3) + 0.5
    x = random.multivariate_normal(np.zeros(3), covariance, N_ROWS)
    y = COEFFICIENTS[0] + x @ COEFFICIENTS[1:] + random.normal(size=N_ROWS)
    whole = np.column_stack([x, y])
    holed = whole.copy()
    high = 1 / (1 + np.exp(1 - y))
    for column, chance in ((0, high), (1, 1 - high)):
        holed[random.random(N_ROWS) < 0.6 * chance, column] = np.nan
    return whole, holed


def regress(table: Any) -> tuple[Any, Any]:
    """Coefficients of least squares and their squared standard errors."""
    import numpy as np

    design = np.column_stack([np.ones(len(table)), table[:, :-1]])
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ table[:, -1]
    left = table[:, -1] - design @ found
    return found, np.diag(inverse) * (left @ left) / (len(table) - design.shape[1])


def report(records: list[dict[str, Any]]) -> None:
    """Coverage, width and error of each coefficient by method."""
    import numpy as np
    import pandas as pd

    rows = {}
    for name, group in pd.DataFrame(records).groupby("method", sort=False):
        covered, width, error = (
            np.array(group[key].tolist()) for key in ("covered", "width", "error")
        )
        row = {f"covered {j}": covered[:, j].mean() for j in range(len(COEFFICIENTS))}
        row |= {"covered": covered.mean(), "width": width.mean()}
        row |= {"bias": np.abs(error.mean(axis=0)).max(), "RMSE": np.sqrt((error**2).mean())}
        rows[name] = row | {"seconds": group["seconds"].mean(), "repetitions": len(group)}
    print(pd.DataFrame(rows).T.round(3).to_string() + "\n", flush=True)


# Methods ------------------------------------------------------------------------------------


def complete_table(whole: Any, holed: Any, seed: int) -> list[Any]:
    """Without holes."""
    return [whole]


def complete_rows(whole: Any, holed: Any, seed: int) -> list[Any]:
    """Rows with holes left out."""
    import numpy as np

    return [holed[~np.isnan(holed).any(axis=1)]]


def skvae(**settings: Any) -> Callable[..., list[Any]]:
    """Draws of `VAEImputer`."""

    def fill(whole: Any, holed: Any, seed: int) -> list[Any]:
        from skvae import VAEImputer

        imputer = VAEImputer(random_state=seed, **settings).fit(holed)
        return imputer.sample_imputations(holed, N_DRAWS, random_state=seed)

    return fill


def single(whole: Any, holed: Any, seed: int) -> list[Any]:
    """Conditional means taken for observations."""
    from skvae import VAEImputer

    return [VAEImputer(hidden_layer_sizes=(), random_state=seed).fit_transform(holed)]


def mice(whole: Any, holed: Any, seed: int) -> list[Any]:
    """Chained Bayesian ridge regressions, drawn from anew for every table."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return [
        IterativeImputer(sample_posterior=True, random_state=1000 * seed + draw).fit_transform(
            holed
        )
        for draw in range(N_DRAWS)
    ]


METHODS: dict[str, Callable[..., list[Any]]] = {
    "complete_table": complete_table,
    "complete_rows": complete_rows,
    "single": single,
    "skvae": skvae(hidden_layer_sizes=(), n_estimators=20),
    "skvae_one_model": skvae(hidden_layer_sizes=()),
    "mice": mice,
}


if __name__ == "__main__":
    main()
