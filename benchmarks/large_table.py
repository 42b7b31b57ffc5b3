"""A million rows of 20 mixed columns, learnt from and filled as Parquet. See README.md beside this.

    python benchmarks/large_table.py

Fits and fillings run in processes of their own, so that their peak memory is theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BLOCK = 50_000
N_FACTORS = 6
NUMBERS = [f"amount{j}" for j in range(4)] + [f"measure{j}" for j in range(6)]
COUNTS = ["visits", "items", "age", "score"]
LEVELS = {"plan": 3, "channel": 5, "trade": 12, "region": 26}
FLAGS = ["member", "returned"]
COLUMNS = [*NUMBERS, *COUNTS, *LEVELS, *FLAGS]
# Rows by which errors are taken, and rows that the other methods learn from.
JUDGED_BLOCKS, SAMPLE_ROWS = 2, 20_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder to keep the table in; a temporary one by default")
    add("--rows", type=int, default=1_000_000)
    add("--rate", type=float, default=0.2, help="share of holes, completely at random")
    add("--subsample", help="such as 25000,50000: fit with each, fill the rows judged alone")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="append one JSON line per fit to this file")
    add("--only", type=int, help=argparse.SUPPRESS)  # the subsample of one process
    return parser.parse_args()


# The table ------------------------------------------------------------------------------------


def truth(block: int, n_rows: int, seed: int) -> pd.DataFrame:
    """Complete rows: six factors bent by a layer of tanh, then a law for every kind of column."""
    law = np.random.default_rng(12345)  # the same for every seed and block
    inner = law.normal(size=(N_FACTORS, 24)) * 0.7
    outer = law.normal(size=(24, len(COLUMNS))) / np.sqrt(24) * 1.6
    rng = np.random.default_rng([seed, block])
    hidden = np.tanh(rng.normal(size=(n_rows, N_FACTORS)) @ inner)
    score = hidden @ outer
    frame = {}
    for j, name in enumerate(NUMBERS):
        x = score[:, j] + 0.3 * rng.normal(size=n_rows)
        frame[name] = np.exp(3 + x) if name.startswith("amount") else 10 + 4 * x
    for j, name in enumerate(COUNTS, len(NUMBERS)):
        x = score[:, j]
        if name in ("visits", "items"):
            frame[name] = rng.poisson(np.exp(0.5 + 0.8 * x))
        else:
            frame[name] = np.rint(45 + 14 * (x + 0.4 * rng.normal(size=n_rows))).astype(int)
    for name, n_levels in LEVELS.items():
        direction = law.normal(size=(24, n_levels)) * 1.2
        chosen = (hidden @ direction + rng.gumbel(size=(n_rows, n_levels))).argmax(axis=1)
        frame[name] = np.array([f"{name} {k}" for k in range(n_levels)], dtype=object)[chosen]
    for j, name in enumerate(FLAGS, len(COLUMNS) - len(FLAGS)):
        frame[name] = 2 * score[:, j] + rng.logistic(size=n_rows) > 0
    return pd.DataFrame(frame)[COLUMNS]


def holes(block: int, shape: tuple[int, int], rate: float, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, block, 1]).random(shape) < rate


def blocks(n_rows: int) -> list[tuple[int, int]]:
    """Number and rows of every block."""
    return [(b, min(BLOCK, n_rows - start)) for b, start in enumerate(range(0, n_rows, BLOCK))]


def with_holes(complete: pd.DataFrame, hidden: np.ndarray) -> pd.DataFrame:
    nullable = dict.fromkeys(COUNTS, "Int64") | dict.fromkeys(FLAGS, "boolean")
    return complete.astype(nullable).mask(hidden)


def write_table(folder: Path, args: argparse.Namespace) -> None:
    """One file for every block."""
    folder.mkdir(parents=True, exist_ok=True)
    for block, n in blocks(args.rows):
        complete = truth(block, n, args.seed)
        hidden = holes(block, complete.shape, args.rate, args.seed)
        with_holes(complete, hidden).to_parquet(folder / f"part-{block:05d}.parquet")


# Errors ---------------------------------------------------------------------------------------


def errors(filled: pd.DataFrame, args: argparse.Namespace) -> dict[str, float]:
    """RMSE in standard deviations, and share of wrong levels, by column at hidden cells."""
    parts = [(b, truth(b, n, args.seed)) for b, n in blocks(args.rows)[:JUDGED_BLOCKS]]
    complete = pd.concat([part for _, part in parts], ignore_index=True)
    hidden = np.concatenate([holes(b, p.shape, args.rate, args.seed) for b, p in parts])
    found = {}
    for j, name in enumerate(COLUMNS):
        rows = hidden[:, j]
        true, own = complete[name].to_numpy()[rows], filled[name].to_numpy()[: len(rows)][rows]
        if name in LEVELS or name in FLAGS:
            found[name] = float((true != own).mean())
        else:
            wrong = (true - own.astype(float)) ** 2
            found[name] = float(np.sqrt(wrong.mean()) / complete[name].std())
    return found


def summary(found: dict[str, float]) -> dict[str, float]:
    """Means over kinds of columns."""
    kinds = {
        "amounts": [n for n in NUMBERS if n.startswith("amount")],
        "measures": [n for n in NUMBERS if n.startswith("measure")],
        "whole": COUNTS,
        "levels": list(LEVELS),
        "flags": FLAGS,
    }
    return {kind: round(float(np.mean([found[n] for n in ns])), 4) for kind, ns in kinds.items()}


# Methods --------------------------------------------------------------------------------------


def peak_mib() -> int:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def fit_and_fill(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What one process does: fit from the folder, fill into a file."""
    import torch

    from skvae import VAEImputer
    from skvae.chunks import map_chunks

    torch.set_num_threads(args.threads)
    imputer = VAEImputer(random_state=args.seed)
    if args.only:
        imputer.set_params(subsample=args.only)
    before, start, cpu_start = peak_mib(), time.perf_counter(), time.process_time()
    imputer.fit(folder)
    fitted, cpu_fitted, fit_peak = time.perf_counter(), time.process_time(), peak_mib()
    judged = [folder / f"part-{block:05d}.parquet" for block in range(JUDGED_BLOCKS)]
    filled = folder.parent / f"filled-{args.only}.parquet"
    if args.only:  # the rows judged alone
        source = (pd.read_parquet(path) for path in judged)
        map_chunks(imputer.transform, source, out=filled)
    else:
        map_chunks(imputer.transform, folder, out=filled)
    end, cpu_end = time.perf_counter(), time.process_time()
    record = {
        "rows": args.rows,
        "subsample": imputer.subsample,
        "seed": args.seed,
        "threads": args.threads,
        "fit_seconds": round(fitted - start),
        "fit_cpu_seconds": round(cpu_fitted - cpu_start),
        "fill_seconds": None if args.only else round(end - fitted),
        "fill_cpu_seconds": None if args.only else round(cpu_end - cpu_fitted),
        "start_mib": before,
        "fit_mib": fit_peak,
        "peak_mib": peak_mib(),
        "n_iter": imputer.n_iter_,
    }
    head = pd.read_parquet(filled).head(BLOCK * JUDGED_BLOCKS)
    filled.unlink()
    return {**record, **summary(errors(head, args)), "by_column": errors(head, args)}


def others(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Means and modes, and linear models, learnt from the first rows."""
    parts = []
    for block, n in blocks(args.rows)[:JUDGED_BLOCKS]:
        complete = truth(block, n, args.seed)
        hidden = holes(block, complete.shape, args.rate, args.seed)
        parts.append(with_holes(complete, hidden))
    table = pd.concat(parts, ignore_index=True)
    guess = {name: table[name].astype(float).mean() for name in [*NUMBERS, *COUNTS]}
    guess |= {name: table[name].mode()[0] for name in [*LEVELS, *FLAGS]}
    filled = {"mean, mode": table.astype(object).fillna(guess), "linear": linear(table, args.seed)}
    return {name: summary(errors(frame, args)) for name, frame in filled.items()}


def linear(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Numbers by chained ridge regressions, then levels by logistic ones, on all the others.

    Levels that are absent are so in none of the indicators. Learnt from the first rows alone.
    """
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import LogisticRegression

    numeric, coded = [*NUMBERS, *COUNTS], [*LEVELS, *FLAGS]
    numbers = table[numeric].astype(float)
    scale = numbers.std()
    indicators = {name: pd.get_dummies(table[name].astype(object), dtype=float) for name in coded}
    wide = np.hstack([numbers / scale, *indicators.values()])
    model = IterativeImputer(max_iter=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten rounds are enough
        model.fit(wide[:SAMPLE_ROWS])
    wide = model.transform(wide)[:, : len(numeric)]
    out = pd.DataFrame(wide, columns=numeric) * scale
    for name in coded:
        rest = [values for other, values in indicators.items() if other != name]
        features, cells = np.hstack([wide, *rest]), table[name].astype(object)
        known = cells.notna().to_numpy()
        rows = np.flatnonzero(known)[:SAMPLE_ROWS]
        chosen = LogisticRegression(max_iter=1000).fit(features[rows], cells[rows].to_list())
        out[name] = cells.where(known, chosen.predict(features))
    return out


KINDS = ("amounts", "measures", "whole", "levels", "flags")
COSTS = {
    "fit s": "fit_seconds",
    "cpu s": "fit_cpu_seconds",
    "fill s": "fill_seconds",
    "cpu s ": "fill_cpu_seconds",
    "MiB": "start_mib",
    "fit MiB": "fit_mib",
    "peak MiB": "peak_mib",
    "steps": "n_iter",
}


def line(name: str, record: dict[str, Any]) -> str:
    """One method's costs and errors."""
    cost = [record.get(key) for key in COSTS.values()]
    cells = "".join(f"{'' if cell is None else cell:>9}" for cell in cost)
    return f"{name:>14}{cells}" + "".join(f"{record[kind]:9.4f}" for kind in KINDS)


def run(size: int, args: argparse.Namespace) -> dict[str, Any]:
    """A fit in a process of its own."""
    environment = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        environment[f"{name}_NUM_THREADS"] = str(args.threads)
    command = [sys.executable, __file__, "--data", str(args.data), "--only", str(size)]
    for name in ("rows", "rate", "threads", "seed"):
        command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    args = parse()
    if args.only is not None:
        print(json.dumps(fit_and_fill(args.data / "table", args)))
        return
    sizes = [int(size) for size in args.subsample.split(",")] if args.subsample else [0]
    with tempfile.TemporaryDirectory() as scratch:
        args.data = args.data or Path(scratch)
        write_table(args.data / "table", args)
        print(f"{args.rows} rows, {args.rate:.0%} holes, {args.threads} threads")
        print(f"{'method':>14}" + "".join(f"{name:>9}" for name in (*COSTS, *KINDS)))
        for size in sizes:
            record = run(size, args)
            print(line(f"skvae {record['subsample']}", record), flush=True)
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
        for name, found in others(args).items():
            print(line(name, found))


if __name__ == "__main__":
    main()
