"""
Find odd rows, and say why they are odd
=======================================

Which rows of a mixed table are wrong, and which of their columns? Four slips of the pen are made
in the penguins' table. The detector is fitted to all rows, slips included, finds them among the
others, and says for each which column is to blame and what it expected in its place.
"""

import matplotlib.pyplot as plt
import pandas as pd
from palmerpenguins import load_penguins

from skvae import VAEOutlierDetector
from skvae.inspection import ExplanationDisplay

# %%
# Four slips
# ----------
# Numbers, categories and a few holes stay as they are. Three of the slips are far from all other
# values; a Chinstrap that is called a Gentoo is odd only beside the bird's other columns.

slips = {
    20: ("body_mass_g", 37.0),  # hectograms
    110: ("bill_length_mm", 4.3),  # centimetres
    200: ("flipper_length_mm", 122.0),  # 221, with a slip
    300: ("species", "Gentoo"),  # a Chinstrap
}
penguins = load_penguins().drop(columns="year")
frame = penguins.astype({"species": "category", "island": "category", "sex": "category"})
for label, (column, value) in slips.items():
    frame.loc[label, column] = value

# %%
# Find them
# ---------
# ``explain`` gives a row for each cell: its value, what the rest of the row lets expect, and what
# it adds to the oddness, in nats. All four are among the rows that are called outliers, and in all
# four the first column named is the one that was changed.

detector = VAEOutlierDetector(random_state=0).fit(frame)
scores = pd.Series(detector.score_samples(frame), index=frame.index)
outliers = pd.Series(detector.predict(frame) < 0, index=frame.index)
place = scores.rank().astype(int)
print(f"{len(frame)} penguins, {outliers.sum()} outliers by contamination='auto'\n")

table = detector.explain(frame.loc[list(slips)])
for label, (column, _) in slips.items():
    blamed = table.loc[label].index[0]
    line = table.loc[(label, blamed)]
    spread = "" if pd.isna(line["std"]) else f" +- {line['std']:.1f}"
    expected = line["expected"] if spread == "" else f"{line['expected']:.1f}"
    print(
        f"row {label} is number {place[label]}: {blamed} is {line['value']}, "
        f"expected {expected}{spread} (changed: {column})"
    )

# %%
# Scores of all rows, the oddest on the left. Beyond the fence, those that are called outliers.

figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
changed = scores.index.isin(list(slips))
kinds = {"as written down": ~changed & ~outliers, "outliers": ~changed & outliers}
styles = [("o", "0.6", 4), ("s", "tab:blue", 6), ("^", "tab:orange", 8)]
for (name, which), (marker, colour, size) in zip(
    {**kinds, "slips of the pen, and their rows": changed}.items(), styles, strict=True
):
    style = {"marker": marker, "color": colour, "markersize": size, "linestyle": "none"}
    ax.plot(place[which], scores[which], label=name, **style)
ax.axhline(detector.offset_, color="0.3", linestyle=":", label="fence")
for label in slips:
    style = {"textcoords": "offset points", "ha": "center"}
    ax.annotate(label, (place[label], scores[label]), (0, -16), **style)
ax.set_ylim(scores.min() - 1.2, None)
ax.set(xscale="log", xlabel="place among the rows, oddest first", ylabel="score, higher is normal")
ax.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# What each column of a row with a slip adds: most of the oddness is in the column that was changed.

figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
for ax, label in zip(axes.flat, slips, strict=True):
    ExplanationDisplay(table.loc[label], n_columns=4).plot(ax)
    ax.set_title(f"row {label}")
plt.show()

# %%
# The oddest real penguins
# ------------------------
# What is left beyond the slips: bills that are far longer or shorter than the rest of the bird
# lets expect. Such rows are worth a look; whether they are wrong, the table cannot say.

odd = scores.drop(list(slips)).nsmallest(3).index
print("\nthe oddest real penguins")
print(frame.loc[odd].to_string())
print(detector.explain(frame.loc[odd]).groupby("row", sort=False).head(2).round(1).to_string())
