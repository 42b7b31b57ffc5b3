"""One stochastic layer against two, and three ways to infer two. See README.md.

    python benchmarks/hierarchy.py

Tables come from models with two levels whose truth is known: two causes place four factors on a
curved surface, and the columns show the factors (markov) or the factors and the causes (skip).
Digits are scikit-learn's, with uniform noise of half a grey level: whole numbers have no density.
The score is the mean log-density of held-out rows.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from imputation import limit_threads

MODELS: dict[str, dict[str, Any]] = {
    "one layer, 4": {"n_components": 4},
    "one layer, 6": {"n_components": 6},
    "two, top_down": {"n_components": (4, 2), "layer_inference": "top_down"},
    "two, bottom_up": {"n_components": (4, 2), "layer_inference": "bottom_up"},
    "two, both": {"n_components": (4, 2), "layer_inference": "both"},
}
DIGITS: dict[str, dict[str, Any]] = {
    "one layer, 16": {"n_components": 16},
    "two, top_down": {"n_components": (16, 8), "layer_inference": "top_down"},
    "two, bottom_up": {"n_components": (16, 8), "layer_inference": "bottom_up"},
    "two, both": {"n_components": (16, 8), "layer_inference": "both"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--tables", default="markov,skip,digits")
    add("--seeds", default="0,1,2", help="of tables, splits and fits")
    add("--rows", type=int, default=1000, help="training rows of the made tables")
    add("--out", type=Path, help="append one JSON line per fit to this file")
    args = parser.parse_args()
    limit_threads(1)

    import numpy as np
    import torch

    torch.set_num_threads(1)
    for table in args.tables.split(","):
        models = DIGITS if table == "digits" else MODELS
        scores: dict[str, list[float]] = {name: [] for name in models}
        for seed in map(int, args.seeds.split(",")):
            train, test = split_digits(seed) if table == "digits" else made(table, args.rows, seed)
            for name, options in models.items():
                record = run(train, test, options, table, seed)
                scores[name].append(record["log_prob"])
                print(table, seed, f"{name:16}", record, flush=True)
                if args.out:
                    with args.out.open("a") as file:
                        cell = {"table": table, "seed": seed, "model": name}
                        file.write(json.dumps(cell | record) + "\n")
        print(f"\n{table}: mean log-density per held-out row")
        for name, values in scores.items():
            print(f"  {name:16}{np.mean(values):10.3f}   by seed {np.round(values, 2).tolist()}")
        print()


def made(table: str, n_rows: int, seed: int) -> tuple[Any, Any]:
    """Training rows, and 2000 held-out ones, of 12 columns."""
    import numpy as np

    weights = np.random.default_rng(99).normal(size=(6, 12))  # the same model for every seed
    random = np.random.default_rng(seed)
    n = n_rows + 2000
    causes = random.normal(size=(n, 2))
    first, second = causes.T
    surface = [3 * np.sin(2 * first), 3 * np.cos(2 * first), 2 * np.tanh(3 * second)]
    factors = np.column_stack([*surface, 2 * first * second]) + 0.3 * random.normal(size=(n, 4))
    shown = factors @ weights[:4]
    if table == "skip":  # half of the columns show the causes
        shown[:, 6:] = 4 * causes @ weights[4:, 6:]
    X = 3 * np.tanh(0.4 * shown) + 0.3 * random.normal(size=shown.shape)
    return X[:n_rows], X[n_rows:]


def split_digits(seed: int) -> tuple[Any, Any]:
    """Two thirds and a third of scikit-learn's digits, dequantised as in density.py."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X = X + np.random.default_rng(seed).uniform(-0.5, 0.5, size=X.shape)
    train, test = train_test_split(X, test_size=1 / 3, random_state=seed, stratify=y)
    return train, test


def run(train: Any, test: Any, options: dict[str, Any], table: str, seed: int) -> dict[str, Any]:
    from skvae import VAETransformer

    hierarchy = "skip" if table == "skip" else "markov"
    start = time.process_time()
    model = VAETransformer(**options, hierarchy=hierarchy, random_state=seed).fit(train)
    return {
        "log_prob": round(model.score(test), 3),
        "elbo": round(float(model.score_samples(test, method="elbo").mean()), 3),
        "divergences": model.layer_divergences_.round(2).tolist(),
        "n_iter": int(model.n_iter_),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


if __name__ == "__main__":
    main()
