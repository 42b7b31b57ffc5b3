"""
Learn from few labels, and from rows with holes
===============================================

Five penguins of each species are labelled: which species are the other 329? A tenth of the entries
is hidden beside the holes that the table has of its own. The classifier takes the frame as it is,
learns from birds without a label too, and says how sure it is.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from palmerpenguins import load_penguins

from skvae import SemiSupervisedVAEClassifier

# %%
# Strings, numbers and holes go in as they are; ``-1`` stands for a label that is not known.

penguins = load_penguins().drop(columns="year").sample(frac=1, random_state=0)
species = penguins.pop("species")
random = np.random.default_rng(0)
frame = penguins.mask(random.random(penguins.shape) < 0.1)

first = species.groupby(species).head(5).index
known = species.astype(object).where(species.index.isin(first), -1)
classifier = SemiSupervisedVAEClassifier(random_state=0).fit(frame, known)

others = frame.index.difference(first, sort=False)
predicted = pd.Series(classifier.predict(frame.loc[others]), others)
right = predicted == species[others]
print(f"{len(first)} labelled birds, {len(others)} others, {frame.isna().sum().sum()} holes")
print(f"right on {right.mean():.1%} of the others")

# %%
# Five labels of each species say nothing about how frequent it is. The shares of the species are
# learnt from the birds without a label, and lie between a third and the truth.

prior = dict(zip(classifier.classes_, classifier.label_prior_.round(2).tolist(), strict=True))
truth = species.value_counts(normalize=True).sort_index().round(2)
print("species among all birds:", prior)
print("in truth:               ", truth.to_dict())

# %%
# Two of the columns, for the birds that show both. Four of the eleven mistakes are among them,
# ringed, where two species meet; the other seven have holes in these columns.

figure, ax = plt.subplots(figsize=(7.5, 5), layout="constrained")
pair = ["bill_length_mm", "flipper_length_mm"]
colours = ("tab:blue", "tab:orange", "0.35")
for name, marker, colour in zip(classifier.classes_, "osv", colours, strict=True):
    style = {"marker": marker, "color": colour, "linestyle": "none"}
    at = frame.loc[others[predicted == name], pair]
    ax.plot(*at.to_numpy().T, markersize=5, alpha=0.5, label=f"taken for {name}", **style)
    at = frame.loc[first[species[first] == name], pair]
    style |= {"markersize": 11, "markeredgecolor": "black"}
    ax.plot(*at.to_numpy().T, label=f"labelled {name}", **style)
wrong = frame.loc[others[~right], pair].to_numpy().T
ax.plot(*wrong, "o", markersize=15, markerfacecolor="none", color="black", label="mistakes")
ax.set(xlabel="bill length, mm", ylabel="flipper length, mm")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
# How sure is it?
# ---------------
# Holes are averaged over, not guessed and forgotten: birds that show one or two columns are less
# certain than the others.

sure = classifier.predict_proba(frame.loc[others]).max(axis=1)
shown = frame.loc[others].notna().sum(axis=1)
table = pd.DataFrame({"birds": 1, "certainty": sure, "right": right}).groupby(shown)
print("\nby number of columns that a bird shows")
print(table.agg({"birds": "sum", "certainty": "mean", "right": "mean"}).round(2).to_string())

# %%
# Birds of a species
# ------------------
# The classifier is a generative model: it draws birds of each species, here 300 of each, and their
# means are close to those of real ones.

measures = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
print("\nmean of drawn birds, and of real ones")
for name in classifier.classes_:
    drawn = classifier.sample(300, y=name, random_state=0)[measures].mean()
    real = penguins.loc[species == name, measures].mean()
    pairs = (f"{a:6.0f} ({b:.0f})" for a, b in zip(drawn, real, strict=True))
    print(f"  {name:9}", "  ".join(pairs))
