"""Imputation, skvae and its peers side by side. See README.md beside this file.

python benchmarks/imputation.py --data DIR --masks FILE --out results.jsonl
"""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone
from pathlib import Path

PROTOCOLS = ("rmse", "newrows", "intervals", "hivae")
DEFAULT_METHODS = {
    "rmse": "skvae,mean,knn,mice,missforest,hyperimpute,miceforest",
    "newrows": "skvae,mice",
    "intervals": "skvae",
    "hivae": "skvae,mean,mice,missforest",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--masks", type=Path, help="masks (.npz); missing ones are made by ampute")
    add("--protocol", choices=PROTOCOLS, default="rmse")
    add("--sets", help="names, separated by commas (all of the protocol)")
    add("--mechanisms", help="mcar, mar, mnar, selfmask (the first three; intervals: mcar)")
    add("--seeds", default="0", help="seeds of masks and methods")
    add("--methods", help="skvae and peers, separated by commas (all that are installed)")
    add("--mask-family", default="Missing20", help="hivae: masks FAMILY_1, FAMILY_2, ...")
    add("--reference", type=Path, help="rmse: take peers' figures from this CSV")
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    add("--rerun", default="", help="methods whose stored results are ignored")
    add("--threads", type=int, default=1)
    return parser.parse_args()


def limit_threads(n: int) -> None:
    """Before anything numeric is imported."""
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{name}_NUM_THREADS"] = str(n)


def main() -> None:
    args = parse()
    limit_threads(args.threads)

    import _mixed
    import _protocol
    import _report
    import numpy as np
    import peers
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)

    mixed = args.protocol == "hivae"
    known = {"skvae", *peers.MIXED} if mixed else set(peers.NUMERIC)
    methods = (args.methods or DEFAULT_METHODS[args.protocol]).split(",")
    if not set(methods) <= known:
        raise SystemExit(f"unknown methods {sorted(set(methods) - known)}; known: {sorted(known)}")
    for name in [name for name in methods if not peers.importable(name)]:
        print(f"{name} is not installed and left out")
        methods.remove(name)
    sets = args.sets.split(",") if args.sets else list((_mixed if mixed else _protocol).SETS)
    if mixed:
        mechanisms = [args.mask_family]
    elif args.mechanisms:
        mechanisms = args.mechanisms.split(",")
    else:
        mechanisms = ["mcar"] if args.protocol == "intervals" else list(_protocol.MECHANISMS)
    masks = np.load(args.masks) if args.masks else None

    records = _report.Records(args.out, args.rerun.split(","))
    if args.reference:
        records.read_reference(args.reference)
    if len(records):
        print(f"{len(records)} stored results are used where they fit")

    cells = [
        {"protocol": args.protocol, "data": name, "mechanism": mechanism, "seed": int(seed)}
        for name in sets
        for mechanism in mechanisms
        for seed in args.seeds.split(",")
    ]
    for cell in cells:
        name, mechanism, seed = cell["data"], cell["mechanism"], cell["seed"]
        missing = [m for m in methods if {**cell, "method": m} not in records]
        if not missing:
            continue
        if mixed:
            table = _mixed.MixedTable(args.data / "hivae" / name, f"{mechanism}_{seed + 1}")
            source = "file"
        else:
            X = _protocol.load_table(args.data, name)
            hidden, source = _protocol.load_mask(masks, name, mechanism, seed, X)
        for method in missing:
            if mixed:
                result = _mixed.run(table, seed, method)
            else:
                result = _protocol.run(args.protocol, X, hidden, mechanism, seed, method)
            record = {
                **cell,
                "method": method,
                **result,
                "mask": source,
                "threads": args.threads,
                "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
            records.add(record)
            shown = {k: v for k, v in result.items() if not k.endswith("per_column")}
            print(f"{name} {mechanism} {seed} {method:12} {shown}", flush=True)

    if args.protocol == "newrows":
        _report.print_new_rows(records, cells)
    elif args.protocol == "intervals":
        _report.print_intervals(records, cells)
    else:
        _report.print_errors(records, cells, "error" if mixed else "rmse")


if __name__ == "__main__":
    main()
