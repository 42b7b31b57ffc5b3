"""Outlier detection on real tables: skvae and its peers side by side. See README.md.

    python benchmarks/outliers.py --data DIR --out outliers.jsonl

`novelty`: training on a random half of the normal rows, test on the other half and all outliers.
`contaminated`: fit and score all rows. Labels only serve to measure.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from _report import stored
from imputation import limit_threads

PROTOCOLS = ("novelty", "contaminated")
KEYS = ("protocol", "data", "seed", "method", "absent")
MOST_TRAINING_ROWS, MOST_ROWS, MOST_COLUMNS = 10_000, 20_000, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with *.npz of X and y (1 = outlier)")
    add("--sets", help="names, separated by commas (all within 20,000 rows and 200 columns)")
    add("--protocols", default=",".join(PROTOCOLS))
    add("--seeds", default="0,1,2", help="seeds of splits and methods")
    add("--methods", help="names, skvae:SCORE, skvae:all-rows (all that are installed)")
    add("--absent", type=float, default=0.0, help="share of entries to hide, train and test")
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    args = parser.parse_args()
    limit_threads(1)

    import torch
    from detectors import all_detectors, skvae

    torch.set_num_threads(1)
    detectors = all_detectors()
    names = args.methods.split(",") if args.methods else list(detectors)
    detectors |= {name: skvae(name[6:]) for name in names if name.startswith("skvae:")}
    sets = args.sets.split(",") if args.sets else eligible(args.data)
    done = stored(args.out, KEYS)
    for protocol in args.protocols.split(","):
        for data in sets:
            for seed in map(int, args.seeds.split(",")):
                for name in names:
                    cell = (protocol, data, seed, name, args.absent)
                    if cell in done:
                        continue
                    split = split_rows(args.data, data, protocol, seed, args.absent)
                    done[cell] = run(detectors[name], name, *split, seed)
                    print(*cell, done[cell], flush=True)
                    if args.out:
                        with args.out.open("a") as file:
                            line = dict(zip(KEYS, cell, strict=True)) | done[cell]
                            file.write(json.dumps(line) + "\n")
        report(protocol, done, sets, [int(s) for s in args.seeds.split(",")], names, args.absent)


def eligible(data_dir: Path) -> list[str]:
    """Sets that are neither too long nor too wide."""
    import numpy as np

    shapes = {path.stem: np.load(path)["X"].shape for path in sorted(data_dir.glob("*.npz"))}
    return [name for name, (n, d) in shapes.items() if n <= MOST_ROWS and d <= MOST_COLUMNS]


def split_rows(
    data_dir: Path, name: str, protocol: str, seed: int, absent: float
) -> tuple[Any, Any, Any]:
    """Standardised training rows, test rows and the labels of the latter."""
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    with np.load(data_dir / f"{name}.npz") as file:
        X, y = file["X"].astype(float), file["y"].astype(int)
    random = np.random.default_rng(seed)
    train = test = np.arange(len(X))
    if protocol == "novelty":
        normal = random.permutation(np.flatnonzero(y == 0))
        train, rest = normal[: len(normal) // 2], normal[len(normal) // 2 :]
        test = np.concatenate([rest, np.flatnonzero(y == 1)])
    if len(train) > MOST_TRAINING_ROWS:
        train = random.permutation(train)[:MOST_TRAINING_ROWS]
    if absent:
        X[np.random.default_rng(seed + 1000).random(X.shape) < absent] = np.nan
    scaler = StandardScaler().fit(X[train])
    fitted = scaler.transform(X[train])
    # Detectors know their training rows again by identity.
    return fitted, fitted if train is test else scaler.transform(X[test]), y[test]


def run(fit: Any, name: str, train: Any, test: Any, y: Any, seed: int) -> dict[str, float]:
    """Area under the curve, average precision, and seconds."""
    import numpy as np
    from sklearn.metrics import average_precision_score, roc_auc_score

    holes = np.isnan(train).any() or np.isnan(test).any()
    if holes and not name.startswith("skvae"):  # peers take no holes: means, which are zero here
        same = test is train
        train = np.nan_to_num(train)
        test = train if same else np.nan_to_num(test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        score = fit(train, seed)
        middle = time.perf_counter()
        scores = np.nan_to_num(score(test))
        end = time.perf_counter()
    return {
        "auroc": round(float(roc_auc_score(y, scores)), 4),
        "ap": round(float(average_precision_score(y, scores)), 4),
        "fit_s": round(middle - start, 3),
        "score_s": round(end - middle, 3),
    }


def report(
    protocol: str, done: Any, sets: list[str], seeds: list[int], names: list[str], absent: float
) -> None:
    """Means over sets and seeds, average rank by AUROC, median seconds of a fit."""
    import numpy as np
    import pandas as pd

    rows = [
        {"data": data, "method": name, **done[protocol, data, seed, name, absent]}
        for data in sets
        for seed in seeds
        for name in names
    ]
    table = pd.DataFrame(rows)
    each = table.pivot_table(index="data", columns="method", values="auroc", aggfunc="mean")
    out = pd.DataFrame(
        {
            "AUROC": table.groupby("method")["auroc"].mean(),
            "AP": table.groupby("method")["ap"].mean(),
            "rank": each.rank(axis=1, ascending=False).mean(),
            "median fit s": table.groupby("method")["fit_s"].median(),
        }
    ).loc[names]
    share = f", {absent:.0%} of entries absent" if absent else ""
    print(f"\n{protocol}: {len(sets)} sets, {len(seeds)} seeds{share}")
    print(out.sort_values("AUROC", ascending=False).round(3).to_string())
    print(f"best method per set: {np.mean(each.max(axis=1)):.3f}\n", flush=True)


if __name__ == "__main__":
    main()
