"""Values that are missing because of what they are. See README.md beside this file.

python benchmarks/mnar.py --data DIR --masks FILE --out mnar.jsonl
python benchmarks/mnar.py --data DIR --masks FILE --protocol ignorable --out mnar.jsonl
python benchmarks/mnar.py --data DIR --protocol censored --figure censored.png
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import stored
from imputation import limit_threads

KEYS = ("protocol", "data", "mechanism", "seed", "method")
SETS = ("banknote", "concrete", "wine_red", "wine_white", "yeast", "breast")
# RMSE in Table 1 of Ipsen, Mattei and Frellsen (2021): self-masking with known sign in a VAE, and
# the best of all their models.
PUBLISHED = {
    "not-MIWAE": (0.74, 1.12, 1.07, 1.04, 1.38, 0.76),
    "best published": (0.57, 1.12, 1.07, 0.99, 0.77, 0.72),
    "MIWAE": (1.19, 1.66, 1.62, 1.55, 1.72, 1.20),
}
DEFAULTS = {
    "selfmask": "skvae:high,skvae:self_masking,skvae,mean,knn,mice,missforest",
    "ignorable": "skvae,skvae:self_masking",
    "censored": "skvae:censored,half,root",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with one folder per data set")
    add("--masks", type=Path, help="masks (.npz); missing ones are made")
    add("--protocol", choices=DEFAULTS, default="selfmask")
    add("--sets", help="names, separated by commas")
    add("--seeds", default="0,1,2,3,4", help="of methods; of masks too where these are random")
    add("--methods", help="skvae, skvae:MISSINGNESS_MODEL and peers")
    add("--figure", type=Path, help="censored: draw the distributions into this file")
    add("--threads", type=int, default=2)
    add("--out", type=Path, help="append results to this file; stored ones are not run again")
    args = parser.parse_args()
    limit_threads(args.threads)

    import numpy as np
    import torch
    from _protocol import load_mask, load_table

    torch.set_num_threads(args.threads)
    masks = np.load(args.masks) if args.masks else None
    done, records = stored(args.out, KEYS), []
    methods = (args.methods or DEFAULTS[args.protocol]).split(",")
    run = {"selfmask": run_selfmask, "ignorable": run_ignorable, "censored": run_censored}
    mechanisms = {"selfmask": ("selfmask",), "ignorable": ("mcar", "mar"), "censored": ("",)}
    sets = args.sets.split(",") if args.sets else SETS
    if args.protocol == "censored" and not args.sets:
        sets = ("wine_red",)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for name in sets:
        X = load_table(args.data, name)
        for mechanism in mechanisms[args.protocol]:
            for seed in seeds[:1] if args.protocol == "censored" else seeds:
                for method in methods:
                    cell = (args.protocol, name, mechanism, seed, method)
                    # Masks of this protocol follow from the table: peers without chance run once.
                    if mechanism == "selfmask" and seed != seeds[0] and method in FIXED:
                        continue
                    if cell not in done:
                        hidden = None
                        if mechanism:
                            hidden, _ = load_mask(masks, name, mechanism, seed, X)
                        done[cell] = dict(zip(KEYS, cell, strict=True))
                        done[cell] |= run[args.protocol](X, hidden, seed, method)
                        if args.out:
                            with args.out.open("a") as file:
                                file.write(json.dumps(done[cell]) + "\n")
                        shown = {k: v for k, v in done[cell].items() if k not in ("columns", *KEYS)}
                        print(*cell, shown, flush=True)
                    records.append(done[cell])
    REPORTS[args.protocol](records)
    if args.figure:
        draw(records, args.figure)


FIXED = ("mean", "knn", "mice")


def imputer(method: str, seed: int, **settings: Any) -> Any:
    """`VAEImputer` or a peer."""
    from peers import NUMERIC

    from skvae import VAEImputer

    if not method.startswith("skvae"):
        return NUMERIC[method](seed)
    _, _, model = method.partition(":")
    if model:
        settings = {"mechanism": "mnar", "missingness_model": model} | settings
    return VAEImputer(random_state=seed, **settings)


def fitted(scaling: Any, seed: int, method: str) -> tuple[dict[str, Any], Any]:
    """Error and seconds of one fit, and the imputer's report where it has one."""
    from _protocol import Stopwatch

    Z, model = scaling.with_holes(), imputer(method, seed)
    with warnings.catch_warnings(), Stopwatch() as watch:
        warnings.simplefilter("ignore")
        filled = model.fit_transform(Z)
    result = {"rmse": scaling.rmse(filled)[0], "seconds": watch.seconds}
    return result, getattr(model, "missingness_report_", None)


def run_selfmask(X: Any, hidden: Any, seed: int, method: str) -> dict[str, Any]:
    """The protocol of not-MIWAE: columns standardised on the complete table."""
    import numpy as np
    from _protocol import Scaling

    scaling = Scaling(X, np.zeros_like(hidden))
    scaling.hidden = hidden
    result, report = fitted(scaling, seed, method)
    if report is not None:
        result["used"] = int(report["used"].sum())
        result["right"] = int((report["direction"] == "high").sum())
        result["columns_with_holes"] = int(hidden.any(axis=0).sum())
    return result


def run_ignorable(X: Any, hidden: Any, seed: int, method: str) -> dict[str, Any]:
    """Holes at random: what asking for more costs, and what the report claims."""
    from _protocol import Scaling

    result, report = fitted(Scaling(X, hidden), seed, method)
    if report is not None:
        result["used"] = int(report["used"].sum())
        result["claimed"] = int(report["verdict"].str.contains("better than the other").sum())
        result["columns_with_holes"] = len(report)
    return result


def run_censored(X: Any, hidden: Any, seed: int, method: str) -> dict[str, Any]:
    """Every column in turn hides what lies below its 30th percentile."""
    import numpy as np
    from _protocol import Stopwatch
    from scipy.stats import wasserstein_distance

    columns = []
    with Stopwatch() as watch:
        for j in range(X.shape[1]):
            limit = float(np.quantile(X[:, j], 0.3))
            below = X[:, j] < limit
            if not below.any():
                continue
            truth, table = X[below, j], X.copy()
            table[below, j] = np.nan
            if method == "skvae:censored":
                model = imputer(method, seed, missingness_model={}, censored={j: ("below", limit)})
                filled = model.fit_transform(table)[below, j]
                drawn = model.sample_imputations(table, 1, random_state=seed)[0][below, j]
            else:
                filled = np.full(below.sum(), limit / {"half": 2, "root": np.sqrt(2)}[method])
                drawn = filled
            unit = X[:, j].std()
            columns.append(
                {
                    "column": j,
                    "limit": limit,
                    "above": float(max(filled.max(), drawn.max()) - limit),
                    "rmse": float(np.sqrt(np.mean((filled - truth) ** 2)) / unit),
                    "distance": float(wasserstein_distance(drawn, truth) / unit),
                    "truth": truth.tolist(),
                    "drawn": drawn.tolist(),
                }
            )
    means = {
        key: float(np.mean([column[key] for column in columns])) for key in ("rmse", "distance")
    }
    highest = max(column["above"] for column in columns)
    return means | {"above": highest, "columns": columns, "seconds": watch.seconds}


# Reports ------------------------------------------------------------------------------------


def report_selfmask(records: list[dict[str, Any]]) -> None:
    """RMSE by method and set, seeds' spread, and the ratio to the published not-MIWAE."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(records)
    table = frame.pivot_table(index="method", columns="data", values="rmse", sort=False)
    table = table[[name for name in SETS if name in table]]
    for name, figures in PUBLISHED.items():
        table.loc[name] = pd.Series(dict(zip(SETS, figures, strict=True)))
    ratio = np.log(table / table.loc["not-MIWAE"]).mean(axis=1)
    table["ratio to not-MIWAE"] = np.exp(ratio)
    seconds = frame.groupby("method")["seconds"].max()
    table["seconds, at most"] = seconds
    print("RMSE, mean over seeds\n" + table.round(3).to_string())
    spread = frame.groupby(["method", "data"], sort=False)["rmse"].std().unstack()
    print("\nStandard deviation over seeds\n" + spread.round(4).to_string())
    if "used" in frame:
        asked = frame.dropna(subset=["used"]).groupby(["method", "data"], sort=False)
        counts = asked[["used", "right", "columns_with_holes"]].mean().unstack()
        print("\nColumns taken to hide values, directions right\n" + counts.round(1).to_string())


def report_ignorable(records: list[dict[str, Any]]) -> None:
    """Ratio of errors with and without a model of the mask, and what the reports claim."""
    import pandas as pd

    frame = pd.DataFrame(records)
    cells = frame.pivot_table(
        index=["data", "mechanism", "seed"], columns="method", values="rmse", sort=False
    )
    cost = (cells["skvae:self_masking"] / cells["skvae"]).groupby(["data", "mechanism"]).mean()
    print("RMSE with a model of the mask over RMSE without\n" + cost.unstack().round(4).to_string())
    print(f"largest {(cells['skvae:self_masking'] / cells['skvae']).max():.4f}")
    asked = frame[frame["method"] == "skvae:self_masking"]
    counts = asked.groupby(["data", "mechanism"])[["columns_with_holes", "used", "claimed"]].sum()
    print("\nColumns with holes, used, and claimed, over seeds\n" + counts.unstack().to_string())


def report_censored(records: list[dict[str, Any]]) -> None:
    """Error and distance of the distributions in standard deviations, means over columns."""
    import pandas as pd

    frame = pd.DataFrame(records).set_index(["data", "method"])
    print(frame[["distance", "rmse", "above", "seconds"]].round(4).to_string())
    by_column = {
        (record["data"], record["method"]): {c["column"]: c["distance"] for c in record["columns"]}
        for record in records
    }
    table = pd.DataFrame(by_column)
    table.loc["median"] = table.median()
    print("\nDistance by column\n" + table.round(3).to_string())


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Hidden values and draws of the columns, against what substitution puts there."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = next(r["columns"] for r in records if r["method"] == "skvae:censored")
    figure, axes = plt.subplots(3, 4, figsize=(13, 8), layout="constrained")
    for ax, column in zip(axes.flat, columns, strict=False):
        truth, drawn, limit = column["truth"], column["drawn"], column["limit"]
        bins = np.linspace(min(min(truth), min(drawn), limit / 2), limit, 25)
        ax.hist(truth, bins, color="0.75", label="hidden values")
        ax.hist(drawn, bins, histtype="step", color="C0", lw=1.8, label="draws")
        ax.axvline(limit, color="k", lw=1)
        for share, style in ((0.5, ":"), (0.5**0.5, "--")):
            ax.axvline(limit * share, color="C3", ls=style, lw=1.2)
        ax.set_title(f"column {column['column']}", fontsize=9)
    axes.flat[0].legend(fontsize=8)
    for ax in axes.flat[len(columns) :]:
        ax.set_axis_off()
    figure.suptitle("Below the limit (black): red lines are limit / 2 and limit / sqrt(2)")
    figure.savefig(path, dpi=110)


REPORTS: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "selfmask": report_selfmask,
    "ignorable": report_ignorable,
    "censored": report_censored,
}


if __name__ == "__main__":
    main()
