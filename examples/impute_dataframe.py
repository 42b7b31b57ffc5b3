"""
Fill a data frame of mixed columns
==================================

How do I fill the holes of a data frame that has numbers, whole numbers and categories, and how far
are the fillings from the truth? The penguins of the Palmer station have a few holes of their own;
a fifth of the remaining entries is hidden on purpose, so that fillings can be compared with what
was there.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from palmerpenguins import load_penguins

from skvae import VAEImputer
from skvae.datasets import ampute

# %%
# A table with holes
# ------------------
# The columns get the dtypes that a careful user would give them: categories, and whole numbers
# that may be absent. ``ampute`` hides entries completely at random.

truth = load_penguins().astype(
    {
        "species": "category",
        "island": "category",
        "sex": "category",
        "flipper_length_mm": "Int64",
        "body_mass_g": "Int64",
        "year": "category",
    }
)
frame = ampute(truth, rate=0.2, random_state=0)
hidden = frame.isna() & truth.notna()
rows = frame.index[frame.isna().sum(axis=1) >= 3][:5]

print(f"before: {int(truth.isna().sum().sum())} holes of its own,", end=" ")
print(f"{int(hidden.sum().sum())} entries hidden on purpose")
print(frame.loc[rows].to_string())

# %%
# Fill it
# -------
# One line. The frame comes back with its names, order, index and dtypes: whole numbers stay
# whole, categories stay categories.

imputer = VAEImputer(random_state=0).set_output(transform="pandas")
filled = imputer.fit_transform(frame)

print(f"\nafter: {int(filled.isna().sum().sum())} holes, ", end="")
print("dtypes kept" if (filled.dtypes == truth.dtypes).all() else "dtypes changed")
print(filled.loc[rows].to_string())

# %%
# How sure is a filled cell?
# --------------------------
# A filling is a guess. ``predict_interval`` says where the value lies in nine cases of ten.

lower, upper = imputer.predict_interval(frame, coverage=0.9)

print("\n90 % intervals of some filled cells")
for row in rows:
    for name in ("bill_length_mm", "flipper_length_mm", "body_mass_g"):
        if hidden.loc[row, name]:
            low, high = float(lower.loc[row, name]), float(upper.loc[row, name])
            print(
                f"  row {row:<4} {name:18} {float(filled.loc[row, name]):7.1f} "
                f"in [{low:7.1f}, {high:7.1f}], was {float(truth.loc[row, name]):7.1f}"
            )

# %%
# How far from the truth?
# -----------------------
# Species, sex and the four measures tell much about each other: errors are less than half of those
# of the mean. Of the island and of the year of the visit the other columns only hint.


def accuracy(name: str) -> dict[str, object]:
    """Error of a column's fillings at the hidden entries, beside that of the mean or the mode."""
    where = hidden[name]
    true, guess, seen = truth[name][where], filled[name][where], frame[name].dropna()
    if isinstance(true.dtype, pd.CategoricalDtype):
        right, mode = float((guess == true).mean()), float((true == seen.mode()[0]).mean())
        return {"measure": "share right", "VAEImputer": right, "mean or mode": mode}
    true, guess = true.astype(float), guess.astype(float)
    rmse = float(np.sqrt(((guess - true) ** 2).mean()))
    mean = float(np.sqrt(((seen.astype(float).mean() - true) ** 2).mean()))
    return {"measure": "RMSE", "VAEImputer": rmse, "mean or mode": mean}


table = pd.DataFrame({name: accuracy(name) for name in truth}).T.rename_axis("column")
table = table.astype({"VAEImputer": float, "mean or mode": float}).round(2)
print("\naccuracy on the entries hidden on purpose")
print(table.to_string())

# %%
# The same as a picture: every hidden measure at its true value, with its filling and interval.
# Fillings follow the diagonal, where the mean would put all of them on the dotted line. Nine
# intervals in ten should reach the diagonal; those that do not are orange.

figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
units = {"bill_length_mm": "mm", "bill_depth_mm": "mm", "flipper_length_mm": "mm"}
units["body_mass_g"] = "g"
for ax, (name, unit) in zip(axes.flat, units.items(), strict=True):
    true, guess, low, high = (
        part.loc[hidden[name], name].to_numpy(float) for part in (truth, filled, lower, upper)
    )
    inside = (low <= true) & (true <= high)
    for where, colour, marker in ((inside, "tab:blue", "o"), (~inside, "tab:orange", "^")):
        errors = np.stack([guess - low, high - guess])[:, where]
        style = {"fmt": marker, "markersize": 4, "elinewidth": 0.8, "color": colour}
        label = "truth within the interval" if where is inside else "truth beyond it"
        ax.errorbar(true[where], guess[where], errors, label=label, **style)
    ax.axline((true.min(), true.min()), slope=1, color="0.3", linewidth=1)
    mean = frame[name].astype(float).mean()
    ax.axhline(mean, color="0.3", linewidth=1, linestyle=":", label="mean of the column")
    words = name.removesuffix(f"_{unit}").replace("_", " ")
    ax.set(title=f"{words}: {inside.mean():.0%} of intervals hold", xlabel=f"true, {unit}")
    ax.set_ylabel(f"filled, {unit}")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()
