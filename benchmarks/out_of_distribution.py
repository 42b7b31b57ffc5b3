"""Digits against rows from elsewhere: which score tells them apart. See README.md.

    python benchmarks/out_of_distribution.py

Two thirds of scikit-learn's digits train. Against the others stand the same digits turned by a
quarter, with noise, with shuffled pixels, faded to a third of their ink, and blurred.
"""

from __future__ import annotations

import argparse
from typing import Any

from imputation import limit_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", default="0,1,2", help="of splits, shifts and fits")
    add("--scores", help="names, separated by commas (all)")
    args = parser.parse_args()
    limit_threads(1)

    import numpy as np
    import pandas as pd
    import torch
    from sklearn.datasets import load_digits
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    from skvae import VAEOutlierDetector
    from skvae.estimators._detection import SCORES

    scores = args.scores.split(",") if args.scores else list(SCORES)
    torch.set_num_threads(1)
    records = []
    for seed in map(int, args.seeds.split(",")):
        train, test = train_test_split(load_digits().data, test_size=1 / 3, random_state=seed)
        others = shifts(test, seed)
        for score in scores:
            detector = VAEOutlierDetector(score, random_state=seed).fit(train)
            normal = detector.score_samples(test)
            for name, rows in others.items():
                odd = detector.score_samples(rows)
                labels = np.repeat([0, 1], [len(normal), len(odd)])
                area = roc_auc_score(labels, -np.concatenate([normal, odd]))
                records.append({"score": score, "shift": name, "auroc": area})
    table = pd.DataFrame(records).pivot_table(index="score", columns="shift", values="auroc")
    print(table.loc[scores, list(others)].round(3).to_string())


def shifts(digits: Any, seed: int) -> dict[str, Any]:
    """Rows of other distributions, made of digits (n, 64) between 0 and 16."""
    import numpy as np
    from scipy.ndimage import uniform_filter

    random = np.random.default_rng(seed)
    images = digits.reshape(-1, 8, 8)
    noise = random.normal(scale=4, size=digits.shape)
    return {
        "turned": np.rot90(images, axes=(1, 2)).reshape(-1, 64),
        "noisy": np.clip(np.round(digits + noise), 0, 16),
        "shuffled": digits[:, random.permutation(64)],
        "faded": np.round(digits / 3),
        "blurred": uniform_filter(images, size=(1, 3, 3)).reshape(-1, 64),
    }


if __name__ == "__main__":
    main()
