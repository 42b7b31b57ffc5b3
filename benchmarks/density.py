"""Held-out log-density of real tables: skvae and its peers side by side. See README.md.

python benchmarks/density.py --data DIR --out density.jsonl
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imputation import limit_threads

SETS = (
    "banknote",
    "concrete",
    "energy",
    "yeast",
    "wine_red",
    "wine_white",
    "power_plant",
    "breast",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--sets", default=",".join(SETS))
    add("--seeds", default="0,1,2", help="seeds of splits, noise and methods")
    add("--methods", help="names, separated by commas (all)")
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    add("--rerun", default="", help="methods whose stored results are ignored")
    args = parser.parse_args()
    limit_threads(1)

    import torch

    torch.set_num_threads(1)
    methods = _methods()
    names = args.methods.split(",") if args.methods else list(methods)
    done = _stored(args.out, args.rerun.split(","))
    for data in args.sets.split(","):
        for seed in map(int, args.seeds.split(",")):
            train, test = split(args.data, data, seed)
            for name in names:
                if (data, seed, name) in done:
                    continue
                record = run(methods[name], train, test, seed)
                done[data, seed, name] = record
                print(data, seed, f"{name:15}", record, flush=True)
                if args.out:
                    with args.out.open("a") as file:
                        cell = {"data": data, "seed": seed, "method": name}
                        file.write(json.dumps(cell | record) + "\n")
    report(done, args.sets.split(","), names)


def split(data_dir: Path, name: str, seed: int) -> tuple[Any, Any]:
    """70 % and 30 % of the rows, z-scored by the former, discrete columns dequantised.

    A column is discrete where fewer than half of its values are distinct; it gets uniform noise of
    half its resolution (the smallest gap between two values) either way.
    """
    import numpy as np
    from _protocol import load_table

    X, random = load_table(data_dir, name), np.random.default_rng(seed)
    for j in range(X.shape[1]):
        values = np.unique(np.round(X[:, j], 9))
        if len(values) < len(X) / 2:
            X[:, j] += np.diff(values).min() * random.uniform(-0.5, 0.5, len(X))
    order = random.permutation(len(X))
    train, test = np.split(X[order], [round(0.7 * len(X))])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / scale, (test - mean) / scale


def run(fit: Callable[[Any, int], Any], train: Any, test: Any, seed: int) -> dict[str, Any]:
    """Mean log-density per held-out row, and what it cost."""
    from _protocol import Stopwatch

    with Stopwatch() as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers with many components may not converge
        model = fit(train, seed)
        score = float(model.score_samples(test).mean())
    record = {"log_prob": round(score, 4), "cpu_seconds": watch.cpu_seconds}
    if hasattr(model, "validation_scores_"):
        record["n_iter"] = int(model.n_iter_)
    return record


def _methods() -> dict[str, Callable[[Any, int], Any]]:
    import numpy as np
    from sklearn.decomposition import PCA, FactorAnalysis
    from sklearn.mixture import GaussianMixture
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    from skvae import VAETransformer

    def searched(model: Any, grid: dict[str, Any], train: Any) -> Any:
        return GridSearchCV(model, grid, cv=5).fit(train).best_estimator_

    def components(train: Any) -> range:
        return range(1, train.shape[1])

    return {
        "skvae": lambda train, seed: VAETransformer(None, prior="vamp", random_state=seed).fit(
            train
        ),
        "skvae_normal": lambda train, seed: VAETransformer(random_state=seed).fit(train),
        "mixture": lambda train, seed: searched(
            GaussianMixture(random_state=seed), {"n_components": range(1, 17)}, train
        ),
        "factor_analysis": lambda train, seed: searched(
            FactorAnalysis(random_state=seed), {"n_components": components(train)}, train
        ),
        "pca": lambda train, seed: searched(
            PCA(random_state=seed), {"n_components": components(train)}, train
        ),
        "kernel": lambda train, seed: searched(
            KernelDensity(), {"bandwidth": np.geomspace(0.02, 1.5, 25)}, train
        ),
    }


def _stored(path: Path | None, rerun: list[str]) -> dict[tuple[str, int, str], dict[str, Any]]:
    done = {}
    if path is not None and path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if record["method"] not in rerun:
                done[record["data"], record["seed"], record["method"]] = record
    return done


def report(
    done: dict[tuple[str, int, str], dict[str, Any]], sets: list[str], names: list[str]
) -> None:
    """Means over seeds by table, the tables where skvae is best, and processor seconds."""
    import numpy as np

    def mean(data: str, name: str, what: str) -> float:
        values = [r[what] for (d, _, m), r in done.items() if (d, m) == (data, name)]
        return float(np.mean(values)) if values else float("nan")

    print(f"\nmean log-density per held-out row\n{'':15}" + "".join(f"{n:>17}" for n in names))
    for data in sets:
        print(f"{data:15}" + "".join(f"{mean(data, n, 'log_prob'):17.3f}" for n in names))
    for what in ("log_prob", "cpu_seconds"):
        averages = [np.mean([mean(data, n, what) for data in sets]) for n in names]
        print(f"{'mean ' + what:15.15}" + "".join(f"{value:17.3f}" for value in averages))
    peers = [name for name in names if not name.startswith("skvae")]
    if "skvae" in names and peers:
        ahead = sum(
            mean(data, "skvae", "log_prob") >= max(mean(data, n, "log_prob") for n in peers)
            for data in sets
        )
        print(f"skvae is at least the best peer on {ahead} of {len(sets)} tables")


if __name__ == "__main__":
    main()
