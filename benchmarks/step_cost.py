"""Where the time of fitting goes: matrix products against everything else.

    python benchmarks/step_cost.py --data DIR --masks FILE --sets banknote,breast

Fits each table twice on one thread: once undisturbed, for the seconds, and once under PyTorch's
profiler, which adds up the time inside matrix products. Profiling slows the other work most, so
that their share is taken of the undisturbed seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from imputation import limit_threads

MATRIX_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addbmm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--sets", default="banknote,breast")
    parser.add_argument("--mechanism", default="mcar")
    parser.add_argument("--seed", type=int, default=0)
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
        start = time.perf_counter()
        model = VAEImputer(random_state=args.seed).fit(Z)
        seconds = time.perf_counter() - start
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            VAEImputer(random_state=args.seed).fit(Z)
        products = 1e-6 * sum(
            event.self_cpu_time_total
            for event in profiler.key_averages()
            if event.key in MATRIX_PRODUCTS
        )
        steps = max(int(model.n_iter_), 1)
        print(
            f"{name:12}{seconds:10.2f}{steps:10d}{1000 * seconds / steps:10.2f}"
            f"{products:9.2f}s{1 - products / seconds:10.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
