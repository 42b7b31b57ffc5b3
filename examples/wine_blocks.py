"""
Blocks of columns, any of which may be absent
=============================================

Four laboratories analyse wines, and each misses three bottles in ten. Which laboratory tells most
about the others' results? What would a laboratory have measured, and how sure is that? Which
cultivar is it, from whatever was measured? Answers are for bottles not seen at fit.
"""

import matplotlib.pyplot as plt
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

# %%
# Laboratories that miss bottles
# ------------------------------
# A block is the columns of one laboratory. A bottle that a laboratory misses has holes in all of
# them; no bottle is missed by all.

laboratories = {
    "must": ["alcohol", "malic_acid", "proline"],
    "minerals": ["ash", "alcalinity_of_ash", "magnesium"],
    "phenols": ["total_phenols", "flavanoids", "nonflavanoid_phenols", "proanthocyanins"],
    "colour": ["color_intensity", "hue", "od280/od315_of_diluted_wines"],
}


def miss(wines: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Every laboratory misses a bottle with probability 0.3; none is missed by all."""
    random = np.random.default_rng(seed)
    missed = random.random((len(wines), len(laboratories))) < 0.3
    saved = random.integers(len(laboratories), size=len(wines))
    missed[np.arange(len(wines)), saved] &= ~missed.all(axis=1)
    shown = wines.copy()
    for laboratory, columns in enumerate(laboratories.values()):
        shown.loc[missed[:, laboratory], columns] = np.nan
    return shown


wines, cultivar = load_wine(return_X_y=True, as_frame=True)
train, test = train_test_split(wines.index, test_size=0.4, random_state=0, stratify=cultivar)
model = MultimodalVAE(laboratories, random_state=0).fit(miss(wines, 0).loc[train])
whole = wines.loc[test]  # what the laboratories that missed a bottle would have found

# %%
# Which laboratory tells about which?
# -----------------------------------
# The share of the squared error that is saved by knowing other laboratories' results. The second
# picture has the latents on which the blocks meet: how much each block can say about each of them.

table = cross_prediction(model, whole)
print("R2 of each laboratory's results (column) from those of others (row)")
print(table.round(2).to_string())
told = table.drop("all others").mean(axis=1)
print(f"{told.idxmax()!r} tells most about the others: a mean R2 of {told.max():.2f}")

figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
CrossPredictionDisplay(table).plot(axes[0])
axes[0].set_title("each laboratory from others")
ExpertPrecisionDisplay.from_estimator(model, ax=axes[1])
axes[1].set_title("what laboratories know about the latents")
plt.show()

# %%
# What would a laboratory have measured?
# --------------------------------------
# ``predict`` gives the mean of one block given the others, ``sample_conditional`` draws of it.
# Intervals of draws hold about as often as they should.


def intervals(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ends of 90 % intervals of one laboratory's results given the others'."""
    draws = pd.concat(model.sample_conditional(whole, name, 400, random_state=0))
    by_bottle = draws.groupby(level=0)
    return by_bottle.quantile(0.05).loc[whole.index], by_bottle.quantile(0.95).loc[whole.index]


print("\nphenols of one bottle, from all but the phenols")
low, high = intervals("phenols")
guess = model.predict(whole, target="phenols")
ends = {"predicted": guess, "5 %": low, "95 %": high, "true": whole[guess.columns]}
print(pd.DataFrame({name: frame.iloc[0] for name, frame in ends.items()}).round(2).to_string())

print("\nshare of results within their 90 % intervals")
for name, columns in laboratories.items():
    lower, upper = intervals(name)
    covered = (lower <= whole[columns]) & (whole[columns] <= upper)
    print(f"  {name:8} {covered.to_numpy().mean():.1%}")

# %%
# Flavanoids of the bottles that were kept from the fit, as the phenol laboratory found them and as
# the three others let expect.

figure, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
column = "flavanoids"
true = whole[column]
inside = (low[column] <= true) & (true <= high[column])
kinds = {"truth within the interval": (inside, "o", "tab:blue")}
kinds["truth beyond it"] = (~inside, "^", "tab:orange")
for label, (at, marker, colour) in kinds.items():
    errors = [(guess - low)[column][at].clip(lower=0), (high - guess)[column][at].clip(lower=0)]
    style = {"fmt": marker, "markersize": 5, "elinewidth": 0.8, "color": colour}
    ax.errorbar(true[at], guess[column][at], errors, label=label, **style)
ax.axline((true.min(), true.min()), slope=1, color="0.3", linewidth=1)
ax.set(xlabel="flavanoids as found", ylabel="as expected, 90 % intervals")
figure.legend(loc="outside lower center", ncols=2)
plt.show()

# %%
# Which cultivar is it?
# ---------------------
# Latents from whatever is there feed a classifier that asks for complete rows. Here they are a
# little better than medians in the holes, on ten splits of the bottles.


def accuracies(seed: int) -> dict[str, float]:
    """Of logistic regression on bottles not seen at fit."""
    X, test, y, test_y = train_test_split(
        miss(wines, seed), cultivar, test_size=0.4, random_state=seed, stratify=cultivar
    )
    first = {
        "latents from whatever is there": MultimodalVAE(laboratories, random_state=0),
        "columns, holes filled by medians": SimpleImputer(strategy="median"),
    }
    return {
        name: make_pipeline(step, StandardScaler(), LogisticRegression())
        .fit(X, y)
        .score(test, test_y)
        for name, step in first.items()
    }


scores = pd.DataFrame([accuracies(seed) for seed in range(10)])
print("\naccuracy on the cultivar, 10 splits: logistic regression on")
for name, column in scores.items():
    print(f"  {name:32} {column.mean():.3f} (between splits {column.std():.3f})")
better = np.sign(scores.iloc[:, 0] - scores.iloc[:, 1])
print(f"  latents better in {(better > 0).sum()}, equal in {(better == 0).sum()} splits")
