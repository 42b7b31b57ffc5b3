"""What regressions on filled tables may claim: several fillings, pooled by Rubin's rules.

Diabetes: how the disease went on, by four measures of 442 patients. Body mass and blood pressure
get holes where the disease did badly or well. A regression on one filled table takes guesses for
observations: its intervals are too narrow. Draws from models of resampled rows, each analysed by
itself and pooled, say how much the holes cost. The picture is written to
`multiple_imputation.png`, or where `--out` says.
"""

import argparse

import matplotlib
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skvae import VAEImputer, pool

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLUMNS = ["bmi", "bp", "s3", "s5"]


def hide(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Holes in two measures, more likely the worse or the better the disease went."""
    random = np.random.default_rng(seed)
    badness = 1 / (1 + np.exp(-(table["target"] - 152) / 40))
    holed = table.copy()
    holed.loc[random.random(len(table)) < 0.9 * badness, "bmi"] = np.nan
    holed.loc[random.random(len(table)) < 0.9 * (1 - badness), "bp"] = np.nan
    return holed


def regress(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Least squares: coefficients and their squared standard errors."""
    design = np.column_stack([np.ones(len(table)), table[COLUMNS]])
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ table["target"].to_numpy()
    left = table["target"].to_numpy() - design @ found
    variance = np.diag(inverse) * (left @ left) / (len(table) - design.shape[1])
    return pd.Series(found[1:], COLUMNS), pd.Series(variance[1:], COLUMNS)


def one_table(table: pd.DataFrame) -> pd.DataFrame:
    """An ordinary regression."""
    estimate, variance = regress(table)
    df = len(table) - len(COLUMNS) - 1
    return pool([estimate] * 2, [variance] * 2, df_complete=df).to_frame()


def draw_picture(results: dict[str, pd.DataFrame], path: str) -> None:
    """Estimates and their intervals, side by side."""
    figure, axes = plt.subplots(1, len(COLUMNS), figsize=(11, 3.2), layout="constrained")
    for ax, column in zip(axes, COLUMNS, strict=True):
        for place, frame in enumerate(results.values()):
            row = frame.loc[column]
            ax.plot([row["lower"], row["upper"]], [place, place], color=f"C{place}", lw=2)
            ax.plot(row["estimate"], place, "o", color=f"C{place}")
        ax.axvline(next(iter(results.values())).loc[column, "estimate"], color="0.7", zorder=0)
        ax.set(title=column, yticks=range(len(results)), ylim=(len(results) - 0.5, -0.5))
        ax.set_yticklabels(list(results) if ax is axes[0] else [])
    figure.supxlabel("disease progression per standard deviation, 95 % intervals")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="multiple_imputation.png")
    args = parser.parse_args()

    table = load_diabetes(as_frame=True, scaled=False).frame
    table[COLUMNS] /= table[COLUMNS].std()
    holed = hide(table, seed=0)
    print(f"holes: {holed.isna().sum()[['bmi', 'bp']].to_dict()} of {len(table)} patients")

    imputer = VAEImputer(hidden_layer_sizes=(), n_estimators=20, random_state=0).fit(holed)
    fillings = imputer.sample_imputations(holed, n_draws=20, random_state=0)
    estimates, variances = zip(*map(regress, fillings), strict=True)
    pooled = pool(estimates, variances, df_complete=len(table) - len(COLUMNS) - 1)

    filled = imputer.set_output(transform="pandas").transform(holed)
    results = {
        "no holes": one_table(table),
        "whole rows": one_table(holed.dropna()),
        "one filling": one_table(filled),
        "20 pooled": pooled.to_frame(),
    }
    for name, frame in results.items():
        print(f"\n{name}")
        shown = frame[["estimate", "std_error", "lower", "upper"]]
        shown = shown.assign(fmi=frame["fmi"]) if name == "20 pooled" else shown
        print(shown.round(2).to_string())
    draw_picture(results, args.out)
    print(f"picture: {args.out}")


if __name__ == "__main__":
    main()
