"""
Why are values missing, and does it matter?
===========================================

Does it matter why a table has holes? A third of ten measures of breast tumours is hidden three
times: completely at random (MCAR), depending on columns that stay visible (MAR), and depending on
the hidden value itself (MNAR). The truth is known, so the errors of several imputers can be
compared, and where they come from.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skvae import VAEImputer
from skvae.datasets import ampute

# %%
# Three ways to lose a third of the values
# ----------------------------------------
# Columns are in standard deviations, so that errors of different columns can be averaged. With
# "mar" three columns are never hidden and decide over the others; with "mnar" each column hides
# its own large values, or its own small ones.

table = load_breast_cancer(as_frame=True).data.iloc[:, :10]
table = (table - table.mean()) / table.std(ddof=0)
mechanisms = ["mcar", "mar", "mnar"]
holed = {name: ampute(table, name, rate=0.3, strength=3, random_state=0) for name in mechanisms}

for name, frame in holed.items():
    hidden = frame.isna().to_numpy()
    print(f"{name:5} {hidden.sum()} entries hidden in {hidden.any(axis=0).sum()} columns")

# %%
# What is left of one column, and what is gone? Completely at random, the two are alike. At random
# they may differ, but columns that are still there tell how. Not at random they differ most, and
# nothing in the table shows the part that is gone.

column = "mean concave points"
figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
edges = np.linspace(-2, 4, 25)
for ax, (name, frame) in zip(axes, holed.items(), strict=True):
    gone = frame[column].isna()
    ax.hist(table[column][~gone], edges, color="tab:blue", alpha=0.45, label="still there")
    style = {"histtype": "step", "linewidth": 1.8, "color": "black"}
    ax.hist(table[column][gone], edges, **style, label="hidden")
    ax.set(title=name.upper(), xlabel=f"{column}, standard deviations")
axes[0].set_ylabel("tumours")
axes[0].legend()
plt.show()

# %%
# Fill all three
# --------------
# The mean, five neighbours and chained regressions beside ``VAEImputer``. All of them take holes
# for ignorable: MCAR or MAR. The last one does not; it models values and holes together, and
# finds out which columns hide what. It is fitted where that is so, and warns that no data can
# settle it; that and the ten rounds of the chained regressions, which are few but change little,
# are the warnings that are silenced here.

imputers = {
    "mean": SimpleImputer(),
    "neighbours": KNNImputer(),
    "chained ridge": IterativeImputer(random_state=0),
    "VAEImputer": VAEImputer(random_state=0),
    "VAEImputer, mnar": VAEImputer(
        mechanism="mnar", missingness_model="self_masking", max_iter=300, random_state=0
    ),
}


def errors(imputer: object, frame: pd.DataFrame) -> tuple[float, float]:
    """RMSE at the hidden entries, and how far the mean of a column's fillings is off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        filled = imputer.set_output(transform="pandas").fit_transform(frame)
    off = (filled - table).where(frame.isna())
    return float(np.sqrt(np.nanmean(off.to_numpy() ** 2))), float(off.mean().abs().mean())


found = {
    (mechanism, name): errors(imputer, holed[mechanism])
    for mechanism in mechanisms
    for name, imputer in imputers.items()
    if mechanism == "mnar" or not name.endswith("mnar")
}
measures = ["RMSE", "bias"]
scores = pd.DataFrame(found, index=measures).T.unstack(0).reindex(list(imputers))
scores = scores.reindex(columns=pd.MultiIndex.from_product([measures, mechanisms]))
print("\nin standard deviations: RMSE at hidden entries, and bias of a column's mean filling")
print(scores.round(2).to_string(na_rep=""))

# %%
# What it comes to
# ----------------
# From MCAR to MAR only the mean gets much worse: models that read the other columns are about as
# good, and little biased. Under MNAR every imputer that takes holes for ignorable is worse, and its
# fillings are off to one side. The model of values and holes is closest, though not as close as
# where holes can be ignored.
#
# No table says by itself which of the three it is. If values may be missing because of what they
# are, say so, and look at what hangs on it: ``missing_not_at_random.py`` does.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
titles = {"RMSE": "error of a filling", "bias": "error of a column's mean filling"}
marks = {"mcar": ("o", "tab:blue"), "mar": ("s", "tab:orange"), "mnar": ("^", "black")}
places = np.arange(len(scores))
for ax, (measure, title) in zip(axes, titles.items(), strict=True):
    for shift, (mechanism, (marker, colour)) in zip((-0.2, 0, 0.2), marks.items(), strict=True):
        style = {"marker": marker, "color": colour, "linestyle": "none", "markersize": 7}
        ax.plot(scores[measure, mechanism], places + shift, label=mechanism.upper(), **style)
    ax.set(title=title, xlabel="standard deviations")
    ax.hlines(places[1:] - 0.5, 0, 2, color="0.85", linewidth=0.8)
    ax.set(xlim=(0, 1.05 * scores[measure].max().max()))
axes[0].set_yticks(places, scores.index)
axes[0].invert_yaxis()
axes[0].legend(loc="lower left")
plt.show()
