"""Seconds of a fit in one process and in two, one thread each. See README.md beside this file.

    python benchmarks/processes.py

Each fit runs in a process of its own, which starts the others where there are several.
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
from pathlib import Path
from typing import Any

import numpy as np
from growth import N_FEATURES, RATE, make_table

ASKED = 10_000


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=200_000)
    add("--method", default="transformer", help="transformer, imputer or detector")
    add("--batch-size", type=int, default=4096)
    add("--max-iter", type=int, default=1000)
    add("--processes", default="1,2", help="numbers of processes, the first is what others are to")
    add("--strategy", default="ddp_fork", help="of FabricEngine: ddp_fork or ddp_spawn")
    add("--repeats", type=int, default=1, help="runs of each, the quickest counts")
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="append one JSON line per fit to this file")
    add("--only", type=int, help=argparse.SUPPRESS)  # the number of processes of one fit
    add("--answers", type=Path, help=argparse.SUPPRESS)  # where it leaves what it predicts
    return parser.parse_args()


def processor_seconds() -> float:
    """Of this process and of those that it has started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One fit in so many processes, and what it says of the first rows."""
    from skvae import FabricEngine, VAEImputer, VAEOutlierDetector, VAETransformer

    X = make_table(args.rows, args.seed)
    X[np.random.default_rng([args.seed, 1]).random(X.shape) < RATE] = np.nan
    kinds = {
        "transformer": (VAETransformer, "transform"),
        "imputer": (VAEImputer, "transform"),
        "detector": (VAEOutlierDetector, "score_samples"),
    }
    kind, method = kinds[args.method]
    engine = FabricEngine(args.strategy, devices=args.only) if args.only > 1 else None
    model = kind(
        batch_size=args.batch_size, max_iter=args.max_iter, random_state=args.seed, engine=engine
    )
    start, used = time.perf_counter(), processor_seconds()
    model.fit(X)
    seconds, used = time.perf_counter() - start, processor_seconds() - used
    np.save(args.answers, getattr(model, method)(X[:ASKED]))
    score = float(np.mean(model.score_samples(X[:ASKED])))
    return {
        "method": args.method,
        "rows": args.rows,
        "batch_size": args.batch_size,
        "processes": args.only,
        "seconds": round(seconds, 2),
        "processor_seconds": round(used, 2),
        "n_iter": int(model.n_iter_),
        "score": round(score, 4),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def run(args: argparse.Namespace, n_processes: int, answers: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    command = [sys.executable, __file__, *sys.argv[1:]]
    command += ["--only", str(n_processes), "--answers", str(answers)]
    found = subprocess.run(
        command, env={**os.environ, **threads}, stdout=subprocess.PIPE, check=True
    )
    record: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    if args.out:
        with args.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
    return record


def main() -> None:
    args = parse()
    if args.only:
        print(json.dumps(measure(args)))
        return
    print(
        f"{args.method}, {args.rows} x {N_FEATURES}, {RATE:.0%} holes, batches of "
        f"{args.batch_size} rows, {args.max_iter} steps, one thread a process"
    )
    columns = ("processes", "seconds", "processor s", "times as fast", "difference", "score")
    print("".join(f"{name:>14}" for name in (*columns, "load")))
    first: tuple[float, np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.npy"
        for n_processes in map(int, args.processes.split(",")):
            records = [run(args, n_processes, answers) for _ in range(args.repeats)]
            best = min(records, key=lambda record: record["seconds"])
            said = np.load(answers)
            first = first or (best["seconds"], said)
            away = np.sqrt(np.mean((said - first[1]) ** 2) / np.var(first[1]))
            print(
                f"{n_processes:14d}{best['seconds']:14.1f}{best['processor_seconds']:14.1f}"
                f"{first[0] / best['seconds']:14.2f}{away:14.1e}{best['score']:14.3f}"
                f"{best['load'][0]:14.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
