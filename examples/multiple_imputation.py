"""
What may an analysis of a filled table claim?
=============================================

A regression on one filled table takes guesses for observations: its intervals are too narrow, and
its coefficients may be off. How should the holes be accounted for? Draw several tables from models
of resampled rows, analyse each by itself, and pool what they say by Rubin's rules.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from skvae import VAEImputer, pool

# %%
# Holes that depend on the outcome
# --------------------------------
# How diabetes went on, by four measures of 442 patients, in standard deviations. Body mass and
# blood pressure get holes, the more likely the worse, or the better, the disease went.

COLUMNS = ["bmi", "bp", "s3", "s5"]
table = load_diabetes(as_frame=True, scaled=False).frame
table[COLUMNS] /= table[COLUMNS].std()

random = np.random.default_rng(0)
badness = 1 / (1 + np.exp(-(table["target"] - 152) / 40))
holed = table.copy()
holed.loc[random.random(len(table)) < 0.9 * badness, "bmi"] = np.nan
holed.loc[random.random(len(table)) < 0.9 * (1 - badness), "bp"] = np.nan
print(f"holes: {holed.isna().sum()[['bmi', 'bp']].to_dict()} of {len(table)} patients")

# %%
# The analysis
# ------------
# Least squares, for what a standard deviation of each measure comes with. Of any analysis,
# ``pool`` asks for estimates and their squared standard errors.


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


# %%
# Fill, analyse, pool
# -------------------
# Twenty models, each of resampled patients, draw a table each. What the analysis explains is one
# of the columns that are filled, or its relation to the others would be lost.

imputer = VAEImputer(hidden_layer_sizes=(), n_estimators=20, random_state=0).fit(holed)
fillings = imputer.sample_imputations(holed, n_draws=20, random_state=0)
estimates, variances = zip(*map(regress, fillings), strict=True)
pooled = pool(estimates, variances, df_complete=len(table) - len(COLUMNS) - 1)

results = {
    "no holes": one_table(table),
    "whole rows": one_table(holed.dropna()),
    "one filling": one_table(imputer.set_output(transform="pandas").transform(holed)),
    "20 pooled": pooled.to_frame(),
}
for name, frame in results.items():
    print(f"\n{name}")
    shown = frame[["estimate", "std_error", "lower", "upper"]]
    shown = shown.assign(fmi=frame["fmi"]) if name == "20 pooled" else shown
    print(shown.round(2).to_string())

# %%
# Estimates and 95 % intervals; the grey line is what a table without holes says. The single filling
# is sure of a body mass effect that is half as large again. Whole rows are few, and wide. Pooled
# estimates are near the grey lines, and their intervals as wide as the holes make them: ``fmi`` is
# the fraction of the information that is missing.

figure, axes = plt.subplots(1, len(COLUMNS), figsize=(11, 3.2), layout="constrained")
marks = zip(results.items(), "osX^", ("black", "0.5", "tab:orange", "tab:blue"), strict=True)
for place, ((name, frame), marker, colour) in enumerate(marks):
    for ax, column in zip(axes, COLUMNS, strict=True):
        row = frame.loc[column]
        ax.plot([row["lower"], row["upper"]], [place, place], color=colour, linewidth=2)
        ax.plot(row["estimate"], place, marker, color=colour, markersize=8, label=name)
for ax, column in zip(axes, COLUMNS, strict=True):
    ax.axvline(results["no holes"].loc[column, "estimate"], color="0.8", zorder=0)
    names = list(results) if ax is axes[0] else []
    ax.set_yticks(range(len(results)), names or [""] * len(results))
    ax.set(title=column, ylim=(len(results) - 0.5, -0.5))
figure.supxlabel("disease progression per standard deviation of the measure, 95 % intervals")
plt.show()
