"""Seconds and peak memory against the number of rows. See README.md beside this file.

    python benchmarks/growth.py

Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

N_FEATURES = 20
N_FACTORS = 5
RATE = 0.3
LABELLED = 0.05


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", default="1000,10000,100000,1000000", help="numbers of rows")
    add("--method", default="skvae", help="skvae, a peer of imputation.py, detector or classifier")
    add("--rate", type=float, default=RATE, help="share of holes")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="append one JSON line per size to this file")
    add("--only", type=int, help=argparse.SUPPRESS)  # the size of one process
    return parser.parse_args()


def peak_mib() -> float:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def make_table(n_rows: int, seed: int) -> Any:
    """Five factors, a layer of tanh, a linear layer, noise: a known nonlinear factor model."""
    import numpy as np

    weights = np.random.default_rng(12345)  # the same model for every size and seed
    inner = weights.normal(size=(N_FACTORS, 32)) * 0.8
    outer = weights.normal(size=(32, N_FEATURES)) / np.sqrt(32)
    rng = np.random.default_rng(seed)
    X = np.empty((n_rows, N_FEATURES))
    for start in range(0, n_rows, 10_000):  # in blocks, so that making it leaves no peak
        block = X[start : start + 10_000]
        block[:] = np.tanh(rng.normal(size=(len(block), N_FACTORS)) @ inner) @ outer
        block += 0.1 * rng.normal(size=block.shape)
    return X


def measure(n_rows: int, method: str, rate: float, seed: int) -> dict[str, Any]:
    """Fit and fill (detector: score; classifier: predict) one table in this process."""
    import numpy as np
    from peers import NUMERIC

    from skvae import SemiSupervisedVAEClassifier, VAEOutlierDetector

    X = make_table(n_rows, seed)
    rng = np.random.default_rng([seed, 1])
    holed = X.copy()
    for start in range(0, n_rows, 10_000):
        block = holed[start : start + 10_000]
        block[rng.random(block.shape) < rate] = np.nan
    detects, classifies = method == "detector", method == "classifier"
    y = None
    if detects:
        model = VAEOutlierDetector(random_state=seed)
    elif classifies:
        model = SemiSupervisedVAEClassifier(random_state=seed)
        # Four classes by the signs of the first two columns; one row in twenty is labelled.
        y = 2 * (X[:, 0] > 0) + (X[:, 1] > 0)
        y = np.where(rng.random(n_rows) < LABELLED, y, -1)
    else:
        model = NUMERIC[method](seed)
    if detects or classifies or method == "skvae":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    before = peak_mib()
    start_fit = time.perf_counter()
    model.fit(holed, y)
    start_fill = time.perf_counter()
    if classifies:
        filled = model.predict_proba(holed)
    else:
        filled = model.score_samples(holed)[:, None] if detects else model.transform(holed)
    end = time.perf_counter()
    peak = peak_mib()
    hidden = np.isnan(holed)
    error = np.nan
    if hidden.any() and not (detects or classifies):
        error = np.sqrt(((filled - X) ** 2 / X.var(axis=0))[hidden].mean())
    return {
        "n": n_rows,
        "d": N_FEATURES,
        "method": method,
        "fit_seconds": round(start_fill - start_fit, 3),
        "fill_seconds": round(end - start_fill, 3),
        "start_mib": round(before),
        "peak_mib": round(peak),
        "rmse": round(float(error), 4),
        "n_iter": int(getattr(model, "n_iter_", 0)),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
    }


def main() -> None:
    args = parse()
    if args.only:
        print(json.dumps(measure(args.only, args.method, args.rate, args.seed)))
        return
    environment = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        environment[f"{name}_NUM_THREADS"] = str(args.threads)
    columns = ("fit s", "fill s", "total s", "growth", "start MiB", "peak MiB", "rmse", "n_iter")
    print(f"{args.method}, d = {N_FEATURES}, {args.rate:.0%} holes, {args.threads} threads")
    print(f"{'n':>9}" + "".join(f"{name:>11}" for name in columns))
    previous = None
    for size in map(int, args.sizes.split(",")):
        command = [sys.executable, __file__, "--only", str(size), "--method", args.method]
        command += ["--seed", str(args.seed), "--rate", str(args.rate)]
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
        record = json.loads(output.splitlines()[-1])
        total = record["fit_seconds"] + record["fill_seconds"]
        growth = ""
        if previous:
            growth = f"n^{math.log(total / previous[1]) / math.log(size / previous[0]):.2f}"
        previous = (size, max(total, 1e-3))
        print(
            f"{size:9d}{record['fit_seconds']:11.2f}{record['fill_seconds']:11.2f}{total:11.2f}"
            f"{growth:>11}{record['start_mib']:11d}{record['peak_mib']:11d}"
            f"{record['rmse']:11.4f}{record['n_iter']:11d}",
            flush=True,
        )
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
