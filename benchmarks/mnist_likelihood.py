"""Test log-likelihood of binarised MNIST by samples of the bound and layers. See README.md.

    python benchmarks/mnist_likelihood.py --data DIR --models 1x8 --minutes 30

Pixels are drawn once, with their grey value as the probability. Networks have two hidden layers
of 200 units, the first stochastic layer 50 (Burda et al. 2016), a second one 20 dimensions.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from imputation import limit_threads

TRIAL_STEPS = 300
# Published with these networks, on images binarised anew in every pass.
PUBLISHED = "published, one layer: VAE 86.8, IWAE with 50 samples 84.8 (Burda et al. 2016)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with mnist/mnist.npz")
    add("--models", default="1x1,1x8,2x1,2x8", help="LAYERSxSAMPLES, separated by commas")
    add("--minutes", type=float, default=5.0, help="of training for each model")
    add("--max-iter", type=int, help="steps for each model, instead of the minutes")
    add("--rows", type=int, default=60_000, help="training images")
    add("--test-rows", type=int, default=10_000, help="test images, the first ones")
    add("--test-samples", type=int, default=5000, help="of z for each test image")
    add("--batch-size", type=int, default=128)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=2)
    add("--out", type=Path, help="append one JSON line per model to this file")
    args = parser.parse_args()
    limit_threads(args.threads)

    import torch

    torch.set_num_threads(args.threads)
    train, test = load(args.data, args.rows, args.test_rows, args.seed)
    print(PUBLISHED)
    for name in args.models.split(","):
        layers, n_samples = map(int, name.split("x"))
        record = {"model": name, **run(train, test, layers, n_samples, args)}
        print(record, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(record | {"threads": args.threads}) + "\n")


def load(data_dir: Path, n_rows: int, n_test: int, seed: int) -> tuple[Any, Any]:
    """Binarised training and test images, bool of shape (n, 784)."""
    import numpy as np

    random = np.random.default_rng(seed)
    with np.load(data_dir / "mnist" / "mnist.npz") as file:
        images = [file[name] for name in image_keys(file)]
    flat = [image.reshape(len(image), -1) for image in images]
    train, test = (random.random(grey.shape, dtype=np.float32) < grey / 255 for grey in flat)
    return train[:n_rows], test[:n_test]


def image_keys(file: Any) -> tuple[str, str]:
    """Names of the training and the test images."""
    names = [name for name in file.files if file[name].ndim >= 2]
    train = next(name for name in names if "train" in name.lower())
    return train, next(name for name in names if "test" in name.lower())


def run(train: Any, test: Any, layers: int, n_samples: int, args: Any) -> dict[str, Any]:
    """Fit for so many steps, or for about so many minutes by a short trial."""
    steps = args.max_iter
    if steps is None:
        one, many = (timed_fit(train, layers, n_samples, n, args)[0] for n in (1, 1 + TRIAL_STEPS))
        steps = max(1, int((60 * args.minutes - one) * TRIAL_STEPS / (many - one)))
    fit_seconds, model = timed_fit(train, layers, n_samples, steps, args)
    start = time.perf_counter()
    log_prob = model.score_samples(test, n_samples=args.test_samples)
    return {
        "nll": round(-float(log_prob.mean()), 2),
        "standard_error": round(float(log_prob.std()) / len(test) ** 0.5, 2),
        "negative_elbo": round(-float(model.score_samples(test, method="elbo").mean()), 2),
        "divergences": model.layer_divergences_.round(2).tolist(),
        "n_iter": int(model.n_iter_),
        "passes": round(model.n_iter_ * args.batch_size / len(train), 1),
        "ms_per_iter": round(1000 * fit_seconds / model.n_iter_, 1),
        "fit_seconds": round(fit_seconds, 1),
        "score_seconds": round(time.perf_counter() - start, 1),
        "pixels": int(train.any(0).sum()),
    }


def timed_fit(train: Any, layers: int, n_samples: int, steps: int, args: Any) -> tuple[float, Any]:
    from skvae import VAETransformer

    model = VAETransformer(
        50 if layers == 1 else (50, 20),
        hidden_layer_sizes=(200, 200),
        n_importance_samples=n_samples,
        alpha=0.0,
        learning_rate_init=3e-3,
        batch_size=args.batch_size,
        max_iter=steps,
        validation_fraction=0.02,
        random_state=args.seed,
    )
    start = time.perf_counter()
    model.fit(train)
    return time.perf_counter() - start, model


if __name__ == "__main__":
    main()
