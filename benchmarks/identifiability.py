"""Would another fit find the same latents, and are they the true ones? See README.md.

python benchmarks/identifiability.py --protocol segments|sparse|linear|tables
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imputation import limit_threads

Record = dict[str, Any]
# Steps of both models on segments. Published fits take 70,000.
SEGMENT_STEPS = 16_000
BETAS, CORRELATIONS = (2, 4, 8, 16), (0.0, 0.6)
NOISES = (0.05, 0.2, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--protocol", choices=sorted(PROTOCOLS), required=True)
    add("--seeds", default="0,1,2,3,4")
    add("--out", type=Path, help="append one JSON line per fit to this file")
    args = parser.parse_args()
    limit_threads(1)

    import torch

    torch.set_num_threads(1)
    run, columns = PROTOCOLS[args.protocol]
    records = []
    for record in run([int(seed) for seed in args.seeds.split(",")]):
        records.append(record)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
        shown = "  ".join(
            f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in record.items()
        )
        print(shown, flush=True)
    report(records, columns)


def segments(seeds: list[int]) -> Iterator[Record]:
    """Segment-wise nonlinear ICA: 40 segments of 1,000 rows, 5 latents, 3 mixing layers."""
    from skvae import VAETransformer
    from skvae.datasets import make_nonstationary_sources
    from skvae.inspection import mean_correlation_coefficient

    same = {"max_iter": SEGMENT_STEPS, "likelihood": {"continuous": "gaussian"}}
    for seed in seeds:
        data = make_nonstationary_sources(modulate="both", random_state=seed)
        alone = data.data.drop(columns="segment")
        given = {"condition_on": ["segment"], "conditioning": "prior"}
        for method, X, special in (("ivae", data.data, given), ("vae", alone, {})):
            model, seconds = timed(VAETransformer(5, random_state=seed, **same, **special), X)
            Z = model.transform(X)
            yield {
                "method": method,
                "seed": seed,
                "mcc": mean_correlation_coefficient(Z, data.latents),
                "linear_mcc": mean_correlation_coefficient(Z, data.latents, linear=True),
                "seconds": seconds,
            }


def sparse(seeds: list[int]) -> Iterator[Record]:
    """Moran et al. (2022): 500 rows, 7 columns, 2 factors; 5 latents, or as many as factors."""
    from skvae import VAETransformer
    from skvae.datasets import make_sparse_factors
    from skvae.inspection import disentanglement, mean_correlation_coefficient

    methods: dict[str, Record] = {"sparse": {"decoder": "sparse"}, "vae": {}}
    methods |= {f"beta={beta}": {"beta": beta} for beta in BETAS}
    same = {"likelihood": {"continuous": "gaussian"}}
    for correlation, k, seed in itertools.product(CORRELATIONS, (2, 5), seeds):
        data = make_sparse_factors(correlation=correlation, random_state=seed)
        test = make_sparse_factors(correlation=correlation, random_state=1000 + seed)
        for method, special in methods.items():
            model, seconds = timed(
                VAETransformer(k, random_state=seed, **same, **special), data.data
            )
            Z = model.transform(data.data)
            error = ((model.reconstruct(test.data) - test.data) ** 2).mean() / test.data.var()
            record = {
                "method": method,
                "correlation": correlation,
                "latents": k,
                "seed": seed,
                "dci": disentanglement(Z, data.latents).disentanglement if alive(Z) else 0.0,
                "mcc": mean_correlation_coefficient(Z, data.latents),
                "error": float(error.mean()),
                "log_prob": model.score(test.data),
                "seconds": seconds,
            }
            if method == "sparse":
                record["f1"] = support_f1(model.loadings_.to_numpy() != 0, data.support)
            yield record


def alive(Z: Any) -> bool:
    """Whether any latent follows the rows."""
    return bool(Z.var(axis=0).max() > 0.01)


def support_f1(found: Any, truth: Any) -> float:
    """Of the entries of the support, under the best order of the latents."""
    import numpy as np

    scores = []
    for order in itertools.permutations(range(found.shape[1]), truth.shape[1]):
        expected = np.zeros_like(found)
        expected[:, list(order)] = truth
        scores.append(2 * (found & expected).sum() / (found.sum() + expected.sum()))
    return float(max(scores))


def linear(seeds: list[int]) -> Iterator[Record]:
    """Closed forms: log-likelihood of probabilistic PCA, and what a known noise must collapse."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer, load_iris, load_wine
    from sklearn.preprocessing import StandardScaler

    from skvae import VAETransformer
    from skvae.inspection import linear_report

    for load in (load_iris, load_wine, load_breast_cancer):
        X = StandardScaler().fit_transform(load().data)
        values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
        d, name = len(values), load.__name__.removeprefix("load_")
        for k in range(1, d):
            model = VAETransformer(k, hidden_layer_sizes=(), noise="isotropic").fit(X)
            rest = values[k:].mean()
            terms = np.log(values[:k]).sum() + (d - k) * np.log(rest)
            expected = -0.5 * (d * np.log(2 * np.pi) + terms + d)
            off = abs(model.score(X) - expected)
            yield {"method": "isotropic", "data": name, "latents": k, "off": float(off)}
        for noise in NOISES:
            model = VAETransformer(None, hidden_layer_sizes=(), noise=noise).fit(X)
            found = linear_report(model, X).dimensions
            must = int((values <= noise).sum())
            agrees = bool((found["collapsed"] == found["must_collapse"]).all())
            yield {
                "method": f"noise={noise}",
                "data": name,
                "latents": d,
                "must_collapse": must,
                "collapsed": int(found["collapsed"].sum()),
                "agrees": float(agrees and must == found["collapsed"].sum()),
            }


def tables(seeds: list[int]) -> Iterator[Record]:
    """Refits of real tables: each on 80 % of the rows, with other seeds and starting axes."""
    from skvae import VAETransformer
    from skvae.inspection import identifiability

    methods = {
        "sparse": {"decoder": "sparse"},
        "vae": {},
        "linear": {"hidden_layer_sizes": ()},
    }
    for (name, (X, k)), seed in itertools.product(real_tables().items(), seeds):
        for method, special in methods.items():
            start = time.process_time()
            model = VAETransformer(k, random_state=seed, **special).fit(X)
            report = identifiability(model, X, n_refits=5, random_state=seed)
            yield {
                "method": method,
                "data": name,
                "latents": k,
                "seed": seed,
                "mcc": report.mcc,
                "linear_mcc": report.linear_mcc,
                "chance": report.chance_mcc,
                "stable": int((report.latents["verdict"] == "stable").sum()),
                "log_prob": model.score(X),
                "seconds": time.process_time() - start,
            }


def real_tables() -> dict[str, tuple[Any, int]]:
    """Frames and how many latents are asked of them."""
    from palmerpenguins import load_penguins
    from sklearn.datasets import load_breast_cancer, load_wine

    breast, wine = load_breast_cancer(as_frame=True).data, load_wine(as_frame=True).data
    return {"wine": (wine, 4), "breast": (breast, 4), "penguins": (load_penguins(), 3)}


def timed(model: Any, X: Any) -> tuple[Any, float]:
    start = time.process_time()
    return model.fit(X), time.process_time() - start


def report(records: list[Record], columns: tuple[str, ...]) -> None:
    """Means over seeds, and the least and largest."""
    import pandas as pd

    frame = pd.DataFrame(records)
    settings = [c for c in ("data", "correlation", "latents", "method") if c in frame]
    measures = [c for c in columns if c in frame]
    if "seed" not in frame:
        settings = ["data", "method"]
    table = frame.groupby(settings, sort=False)[measures].agg(["mean", "min", "max"])
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(table.round(6 if "off" in frame else 3).to_string())


PROTOCOLS: dict[str, tuple[Callable[[list[int]], Iterator[Record]], tuple[str, ...]]] = {
    "segments": (segments, ("mcc", "linear_mcc", "seconds")),
    "sparse": (sparse, ("dci", "mcc", "f1", "error", "log_prob", "seconds")),
    "linear": (linear, ("off", "must_collapse", "collapsed", "agrees")),
    "tables": (tables, ("mcc", "linear_mcc", "chance", "stable", "log_prob", "seconds")),
}


if __name__ == "__main__":
    main()
