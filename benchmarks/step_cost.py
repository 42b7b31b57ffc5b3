"""Where the time of fitting goes: matrix products against everything else.

    python benchmarks/step_cost.py --data DIR --masks FILE --sets banknote,breast

Fits each table three times on one thread: with the default number of steps, for seconds and
milliseconds per step; with few steps; and with these few under PyTorch's profiler, which adds up
the time inside matrix products. Profiling slows the other work most, so that their share is taken
of the undisturbed seconds of as many steps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from imputation import limit_threads

MATRIX_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addbmm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--sets", default="banknote,breast")
    parser.add_argument("--mechanism", default="mcar")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profiled-steps", type=int, default=100)
    args = parser.parse_args()
    limit_threads(1)

    import numpy as np
    import torch
    from _protocol import Scaling, load_mask, load_table
    from torch.profiler import ProfilerActivity, profile

    from skvae import VAEImputer

    torch.set_num_threads(1)
    masks = np.load(args.masks) if args.masks else None
    print(f"{'':12}{'seconds':>10}{'steps':>10}{'ms/step':>10}{'products':>10}{'outside':>10}")
    for name in args.sets.split(","):
        X = load_table(args.data, name)
        Z = Scaling(X, load_mask(masks, name, args.mechanism, args.seed, X)[0]).with_holes()
        seconds, model = timed_fit(VAEImputer(random_state=args.seed), Z)
        few = VAEImputer(random_state=args.seed, max_iter=args.profiled_steps)
        undisturbed, _ = timed_fit(few, Z)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            few.fit(Z)
        products = 1e-6 * sum(
            event.self_cpu_time_total
            for event in profiler.key_averages()
            if event.key in MATRIX_PRODUCTS
        )
        steps = max(int(model.n_iter_), 1)
        share = products / undisturbed
        print(
            f"{name:12}{seconds:10.2f}{steps:10d}{1000 * seconds / steps:10.2f}"
            f"{share:10.0%}{1 - share:10.0%}",
            flush=True,
        )


def timed_fit(model: Any, Z: Any) -> tuple[float, Any]:
    """Seconds of a fit, and the fitted model."""
    start = time.perf_counter()
    model.fit(Z)
    return time.perf_counter() - start, model


if __name__ == "__main__":
    main()
