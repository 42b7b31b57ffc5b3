"""Wines from four laboratories, each of which missed three bottles in ten.

Which laboratory tells most about the others' results? What would a laboratory have measured, and
how sure is that? Which cultivar is it, from whatever was measured? Answers are for bottles not
seen at fit. The picture is written to `wine_blocks.png`, or where `--out` says.
"""

import argparse

import matplotlib
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import MultimodalVAE
from skvae.inspection import CrossPredictionDisplay, ExpertPrecisionDisplay, cross_prediction

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LABORATORIES = {
    "must": ["alcohol", "malic_acid", "proline"],
    "minerals": ["ash", "alcalinity_of_ash", "magnesium"],
    "phenols": ["total_phenols", "flavanoids", "nonflavanoid_phenols", "proanthocyanins"],
    "colour": ["color_intensity", "hue", "od280/od315_of_diluted_wines"],
}


def miss(wines: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every laboratory misses a bottle with probability 0.3; none is missed by all."""
    random = np.random.default_rng(seed)
    missed = random.random((len(wines), len(LABORATORIES))) < 0.3
    saved = random.integers(len(LABORATORIES), size=len(wines))
    missed[np.arange(len(wines)), saved] &= ~missed.all(axis=1)
    shown = wines.copy()
    for laboratory, columns in enumerate(LABORATORIES.values()):
        shown.loc[missed[:, laboratory], columns] = np.nan
    return shown


def intervals(model: MultimodalVAE, wines: pd.DataFrame, name: str) -> tuple[pd.DataFrame, ...]:
    """Ends of 90 % intervals of one laboratory's results given the others'."""
    draws = pd.concat(model.sample_conditional(wines, name, 400, random_state=0))
    by_bottle = draws.groupby(level=0)
    return by_bottle.quantile(0.05).loc[wines.index], by_bottle.quantile(0.95).loc[wines.index]


def accuracies(wines: pd.DataFrame, cultivar: pd.Series, seed: int) -> dict[str, float]:
    """Of logistic regression on bottles not seen at fit."""
    X, test, y, test_y = train_test_split(
        miss(wines, seed), cultivar, test_size=0.4, random_state=seed, stratify=cultivar
    )
    first = {
        "latents from whatever is there": MultimodalVAE(LABORATORIES, random_state=0),
        "columns, holes filled by medians": SimpleImputer(strategy="median"),
    }
    return {
        name: make_pipeline(step, StandardScaler(), LogisticRegression())
        .fit(X, y)
        .score(test, test_y)
        for name, step in first.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="wine_blocks.png")
    parser.add_argument("--splits", type=int, default=10, help="that accuracies are averaged over")
    args = parser.parse_args()

    wines, cultivar = load_wine(return_X_y=True, as_frame=True)
    train, test = train_test_split(wines.index, test_size=0.4, random_state=0, stratify=cultivar)
    model = MultimodalVAE(LABORATORIES, random_state=0).fit(miss(wines, 0).loc[train])
    whole = wines.loc[test]  # what the laboratories that missed a bottle would have found

    table = cross_prediction(model, whole)
    print("R2 of each laboratory's results (column) from those of others (row)")
    print(table.round(2).to_string())
    told = table.drop("all others").mean(axis=1)
    print(f"{told.idxmax()!r} tells most about the others: a mean R2 of {told.max():.2f}")

    print("\nphenols of one bottle, from all but the phenols")
    low, high = intervals(model, whole, "phenols")
    guess = model.predict(whole.iloc[:1], target="phenols")
    ends = {"predicted": guess, "5 %": low, "95 %": high, "true": whole[guess.columns]}
    print(pd.DataFrame({name: frame.iloc[0] for name, frame in ends.items()}).round(2).to_string())

    print("\nshare of results within their 90 % intervals")
    for name, columns in LABORATORIES.items():
        low, high = intervals(model, whole, name)
        covered = (low <= whole[columns]) & (whole[columns] <= high)
        print(f"  {name:8} {covered.to_numpy().mean():.1%}")

    print(f"\naccuracy on the cultivar, {args.splits} splits: logistic regression on")
    scores = pd.DataFrame([accuracies(wines, cultivar, seed) for seed in range(args.splits)])
    for name, column in scores.items():
        print(f"  {name:32} {column.mean():.3f} (between splits {column.std():.3f})")
    better = np.sign(scores.iloc[:, 0] - scores.iloc[:, 1])
    print(f"  latents better in {(better > 0).sum()}, equal in {(better == 0).sum()} splits")

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    CrossPredictionDisplay(table).plot(axes[0])
    axes[0].set_title("each laboratory from others")
    ExpertPrecisionDisplay.from_estimator(model, ax=axes[1])
    axes[1].set_title("what laboratories know about the latents")
    figure.savefig(args.out, dpi=110)
    print(f"picture: {args.out}")


if __name__ == "__main__":
    main()
