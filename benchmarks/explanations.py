"""Which column made a row odd: rows with one replaced entry, and the oddest rows of adult.

    python benchmarks/explanations.py --data DIR

Half of each table trains. In every other row one entry, drawn at random, becomes that of another
row; rows that were normal before and are outliers now count. Does the column rank first?
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from imputation import limit_threads

SETS = "banknote,breast,concrete,energy,power_plant,wine_red,wine_white,yeast"
MOST_ROWS = 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--sets", default=SETS, help="names, separated by commas")
    add("--seeds", default="0,1,2", help="of rows, replacements and fits")
    add("--odd", type=int, default=6, help="rows of adult to print")
    args = parser.parse_args()
    limit_threads(1)

    import numpy as np
    import torch
    from _protocol import load_table

    torch.set_num_threads(1)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    hits = []
    for name in args.sets.split(","):
        own = [replaced_entries(load_table(args.data, name), seed) for seed in seeds]
        hits += own
        share = np.concatenate(own)
        print(f"{name:12} {len(share):5} rows, column first in {share.mean():.1%}", flush=True)
    print(f"all          {sum(map(len, hits)):5} rows, {np.concatenate(hits).mean():.1%}\n")
    if (args.data / "adult").exists():
        odd_people(args.data / "adult" / "train.csv", args.odd)


def replaced_entries(X: Any, seed: int) -> Any:
    """Whether the replaced column ranks first, for every row that became an outlier by it."""
    import numpy as np

    from skvae import VAEOutlierDetector

    random = np.random.default_rng(seed)
    X = X[random.permutation(len(X))[:MOST_ROWS]]
    train, before = np.array_split(X, 2)
    rows = np.arange(len(before))
    columns = random.integers(X.shape[1], size=len(before))
    after = before.copy()
    after[rows, columns] = X[random.integers(len(X), size=len(before)), columns]
    detector = VAEOutlierDetector(random_state=seed).fit(train)
    became = (detector.predict(before) > 0) & (detector.predict(after) < 0)
    if not became.any():
        return np.zeros(0, dtype=bool)
    table = detector.explain(after[became]).reset_index()
    first = table.drop_duplicates("row").sort_values("row")["column"].to_numpy()
    return first == columns[became]


def odd_people(path: Path, n: int) -> None:
    """The oddest of 10,000 rows of adult, with the columns that made them so."""
    import pandas as pd

    from skvae import VAEOutlierDetector

    frame = pd.read_csv(path, na_values="?", skipinitialspace=True).sample(10_000, random_state=0)
    frame = frame.drop(columns=["fnlwgt", "education"])  # a weight; education_num says it
    detector = VAEOutlierDetector(column_types={"hours_per_week": "continuous"}, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = detector.fit(frame).score_samples(frame)
    print(f"adult: {(detector.predict(frame) < 0).mean():.1%} of 10,000 rows are outliers")
    for place in scores.argsort()[:n]:
        row = frame.iloc[[place]]
        label = row.index[0]
        print(f"\nrow {label}, score {scores[place]:.2f}: {dict(row.iloc[0])}")
        print(detector.explain(row).loc[label].head(3).round(2).to_string())


if __name__ == "__main__":
    main()
