"""Three ways to obtain q(z | x_o), side by side on held-out rows. See README.md.

    python benchmarks/inference.py --data DIR

A VAE is trained on complete rows ("plain") and keeps its weights. Of held-out rows 30, 50 and 80 %
are hidden completely at random; what is asked of every way is the same.

- amortized: the plain encoder, which saw no holes.
- mask-trained: the same decoder with an encoder that training shows parts of rows, by the
  importance-weighted bound of each part.
- posterior matching: the same decoder with an extra encoder, `inference="posterior_matching"`.
- adaptive: the same decoder, each row its own posterior, `inference="adaptive"`.
- holes: another model, encoder and decoder trained on rows that lost a share of their entries,
  uniform up to 90 %.
- limit: what the first four have in common, with so many samples that the way no longer matters.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imputation import limit_threads

SETS = ("breast", "concrete", "wine_red")
SHARES = (0.3, 0.5, 0.8)
COLUMNS = ("rmse", "log_o", "log_x", "log_m", "predictive", "ess", "seconds", "fit")
HEADS = ("RMSE", "log p(o)", "log p(x)", "log p(m|o)", "predictive", "ESS", "seconds", "fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--sets", default=",".join(SETS))
    add("--seeds", default="0,1,2", help="seeds of splits, holes and models")
    add("--samples", type=int, default=1024, help="of z for each row")
    add("--limit", type=int, default=8192, help="samples of the limit")
    add("--out", type=Path, help="append one JSON line per cell to this file")
    args = parser.parse_args()
    limit_threads(1)

    import torch
    from density import split

    torch.set_num_threads(1)
    for data in args.sets.split(","):
        records: list[dict[str, Any]] = []
        for seed in map(int, args.seeds.split(",")):
            train, test = split(args.data, data, seed)
            models = fitted(train, seed)
            for share in SHARES:
                for name, (latent, seconds) in models.items():
                    n_samples = args.limit if name == "limit" else args.samples
                    result = measure(latent, test, share, seed, n_samples)
                    cell = {"data": data, "seed": seed, "share": share, "way": name}
                    records.append(cell | result | {"fit": seconds})
                    if args.out:
                        with args.out.open("a") as file:
                            file.write(json.dumps(records[-1]) + "\n")
        report(data, records)


def fitted(train: Any, seed: int) -> dict[str, tuple[Any, float]]:
    """What answers for rows, and the processor seconds of fitting it."""
    import numpy as np

    from skvae import VAETransformer

    random = np.random.default_rng(seed)
    holed = train.copy()
    holed[random.random(train.shape) < 0.9 * random.random((len(train), 1))] = np.nan
    plain, took = timed(lambda: VAETransformer(random_state=seed).fit(train))
    matched, longer = timed(
        lambda: VAETransformer(inference="posterior_matching", random_state=seed).fit(train)
    )
    adaptive = VAETransformer(inference="adaptive", random_state=seed).fit(train)
    masked, more = timed(lambda: mask_trained(plain, train, seed))
    holes, all_of_it = timed(lambda: VAETransformer(random_state=seed).fit(holed))
    return {
        "amortized": (plain._latent, took),
        "mask-trained": (masked, took + more),
        "posterior matching": (matched._latent, longer),
        "adaptive": (adaptive._latent, took),
        "holes": (holes._latent, all_of_it),
        "limit": (adaptive._latent, took),
    }


def timed(run: Any) -> tuple[Any, float]:
    start = time.process_time()
    return run(), time.process_time() - start


@dataclass(frozen=True)
class MaskedBound:
    """`ImportanceWeightedBound` of random parts of rows, as large as posterior matching's."""

    bound: Any
    most: float

    def __call__(self, model: Any, table: Any, batch: Any, generator: Any) -> Any:
        import torch

        share = self.most * torch.rand(len(batch.features), 1, generator=generator)
        hidden = torch.rand(batch.observed.shape, generator=generator) < share
        shown = replace(batch, visible=batch.visible & ~hidden)
        return self.bound(model, table, shown, generator)


def mask_trained(plain: Any, train: Any, seed: int) -> Any:
    """The plain model's decoder with an encoder that learns from parts of rows."""
    import torch

    from skvae.inference.proposals import Matched
    from skvae.training.data import TrainingTable
    from skvae.training.loop import train as run
    from skvae.training.objectives import ImportanceWeightedBound
    from skvae.training.posterior_matching import MOST_HIDDEN

    latent, settings = plain._latent, plain._fit_settings(len(train))
    twin = copy.deepcopy(latent.model)
    twin.encoder.requires_grad_(True)
    rows = latent.table(plain._rows(train))
    n_held_out = settings.n_held_out(len(train))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))

    def table(some: Any) -> Any:
        part = rows.take(some)
        fold = torch.full_like(part.observed, -1, dtype=torch.int8)
        weight = torch.ones(len(some))
        parts = (part.features, part.targets, part.observed, fold, weight)
        return TrainingTable(*parts, part.feature_columns, 1)

    objective = MaskedBound(ImportanceWeightedBound(settings.n_importance_samples), MOST_HIDDEN)
    held_out = table(order[:n_held_out])
    batch = held_out.batch(torch.arange(n_held_out))

    def validate(model: Any) -> Any:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            each = [objective(model, held_out, batch, generator).mean(1) for _ in range(8)]
        return torch.stack(each).mean(0)

    loop = replace(settings.loop, weight_decay=torch.zeros(1))
    generator = torch.Generator().manual_seed(seed)
    run(twin, table(order[n_held_out:]), objective, validate, loop, generator)
    twin.eval().requires_grad_(False)
    return replace(latent, proposal=Matched(twin))


def measure(latent: Any, test: Any, share: float, seed: int, n_samples: int) -> dict[str, float]:
    """Means over held-out rows; logarithms in nats per row."""
    import numpy as np
    import torch

    from skvae.estimators._latent import Rows

    hidden = np.random.default_rng(100 + seed).random(test.shape) < share
    hidden &= ~hidden.all(axis=1, keepdims=True)
    rows, whole = Rows(test, ~hidden), Rows(test, np.ones_like(hidden))
    model, jacobian = latent.model, torch.from_numpy(latent.scaler.log_jacobian)
    complete = latent.table(whole)
    means, predictive, log_o, sizes, start = [], [], [], [], 0
    began = time.process_time()
    with torch.no_grad():
        for sample in latent._defensive_samples(rows, n_samples):
            some = slice(start, start := start + sample.driven.shape[1])
            free = model.free_parameters
            means.append(sample.expect(model.likelihoods.mean(sample.driven, free))[0])
            mask = torch.from_numpy(hidden[some])[None]
            entries = model.log_likelihood(sample.driven, complete.targets[some], mask).sum(-1)
            weighted = sample.weights.log() + entries.double()
            predictive.append((weighted.logsumexp(-1)[0] + (jacobian * mask[0]).sum(-1)).numpy())
            log_o.append(sample.log_prob[0].numpy())
            sizes.append(sample.effective_sample_size[0].numpy())
    seconds = time.process_time() - began
    log_o = np.concatenate(log_o) + np.where(hidden, 0.0, jacobian.numpy()).sum(axis=1)
    log_x = latent.log_prob(whole, "importance", n_samples)
    error = (latent._raw(torch.cat(means)) - test)[hidden]
    values = {
        "rmse": math.sqrt(float((error**2).mean())),
        "log_o": log_o.mean(),
        "log_x": log_x.mean(),
        "log_m": (log_x - log_o).mean(),
        "predictive": np.concatenate(predictive).mean(),
        "ess": np.concatenate(sizes).mean(),
        "seconds": seconds,
    }
    return {name: float(value) for name, value in values.items()}


def report(data: str, records: list[dict[str, Any]]) -> None:
    """Means over seeds, and every difference of adaptive and amortized."""
    import numpy as np

    print(f"\n{data}\nhidden way                " + "".join(f"{head:>11}" for head in HEADS))
    for share in SHARES:
        for way in dict.fromkeys(record["way"] for record in records):
            cells = [r for r in records if (r["share"], r["way"]) == (share, way)]
            means = [float(np.mean([cell[column] for cell in cells])) for column in COLUMNS]
            print(f"{share:5.0%}  {way:19}" + "".join(f"{value:11.3f}" for value in means))
    gains = {
        column: [
            b[column] - a[column]
            for a in records
            for b in records
            if (a["way"], b["way"]) == ("amortized", "adaptive")
            and (a["seed"], a["share"]) == (b["seed"], b["share"])
        ]
        for column in ("log_o", "log_x", "log_m", "predictive")
    }
    smallest = ", ".join(f"{name} {min(values):+.3f}" for name, values in gains.items())
    print(f"smallest gain of adaptive over amortized by cell: {smallest}", flush=True)


if __name__ == "__main__":
    main()
