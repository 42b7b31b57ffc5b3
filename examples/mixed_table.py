"""
New rows, and rows under a condition
====================================

Can a model of a mixed table with holes draw new rows, draw them for given groups, and say what a
row would have been in another group? Two models of the penguins: one of all columns but the
species, and one of everything else given species and sex.
"""

import matplotlib.pyplot as plt
import pandas as pd
from palmerpenguins import load_penguins
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skvae import VAETransformer
from skvae.datasets import ampute
from skvae.inspection import LatentMapDisplay

# %%
# Coordinates
# -----------
# Categories, whole numbers and holes go in as they are; a tenth of the entries is hidden beside
# the holes that the table has of its own. Two coordinates tell four birds of five by species, which
# the model never saw.

penguins = load_penguins().drop(columns="year")
kinds = {"species": "category", "island": "category", "sex": "category"}
penguins = penguins.astype({**kinds, "flipper_length_mm": "Int64", "body_mass_g": "Int64"})
frame = ampute(penguins, rate=0.1, random_state=0)
measures = frame.drop(columns="species")

model = VAETransformer(2, random_state=0).set_output(transform="pandas")
coordinates = model.fit_transform(measures)
print(f"{int(measures.isna().sum().sum())} holes; coordinates of the first rows")
print(coordinates.head(3).round(2).to_string())

classifier = make_pipeline(VAETransformer(2, random_state=0), LogisticRegression())
share = cross_val_score(classifier, measures, frame["species"].astype(object).fillna("?"), cv=3)
print(f"species from two coordinates, cross-validated: {share.mean():.0%} right\n")

LatentMapDisplay.from_estimator(model, measures, penguins["species"])
plt.show()

# %%
# Densities
# ---------
# ``score_samples`` is the logarithm of the density of what is observed of a row. It finds rows that
# are unlike the others; ``VAEOutlierDetector`` also says why.

odd = measures.assign(log_density=model.score_samples(measures)).nsmallest(3, "log_density")
print("the least likely rows, by what is observed of them")
print(odd.round(2).to_string())

# %%
# New rows
# --------
# Draws have the dtypes of the table.

print("\nnew rows, with the dtypes of the table")
print(model.sample(3, random_state=0).to_string())

# %%
# Rows under a condition
# ----------------------
# A second model holds species and sex for given, and draws birds of any combination.

complete = penguins.dropna(subset=["species", "sex"])
given = VAETransformer(2, condition_on=["species", "sex"], random_state=0).fit(complete)
groups = complete.groupby(["species", "sex"], observed=True)
drawn = {
    (species, sex): given.sample(500, condition={"species": species, "sex": sex}, random_state=0)
    for species, sex in groups.groups
}
print("\nbody mass in grams: mean of real birds and of drawn ones")
for (species, sex), birds in groups:
    means = birds["body_mass_g"].mean(), drawn[species, sex]["body_mass_g"].mean()
    print(f"  {species:10}{sex:8}{means[0]:8.0f}{means[1]:8.0f}")

# %%
# Real birds over drawn ones: means, spreads and slopes follow each group's.

figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
panels = dict(zip(complete["species"].cat.categories, axes, strict=True))
pair = ["flipper_length_mm", "body_mass_g"]
marks = {"female": ("o", "tab:blue"), "male": ("^", "tab:orange")}
for (species, sex), birds in groups:
    marker, colour = marks[sex]
    style = {"marker": marker, "color": colour, "linewidths": 0}
    faint = {"s": 9, "alpha": 0.2, "label": f"drawn {sex}s"}
    panels[species].scatter(*drawn[species, sex][pair].to_numpy(float).T, **style, **faint)
    style |= {"s": 22, "label": f"real {sex}s", "zorder": 3, "edgecolors": "white"}
    panels[species].scatter(*birds[pair].to_numpy(float).T, **{**style, "linewidths": 0.4})
    panels[species].set(title=species, xlabel="flipper length, mm")
axes[0].set_ylabel("body mass, g")
handles = axes[0].get_legend_handles_labels()
for handle in figure.legend(*handles, loc="outside lower center", ncols=4).legend_handles:
    handle.set_alpha(1)
plt.show()

# %%
# The same bird as another one
# ----------------------------
# ``counterfactual`` keeps the latents of a row and changes the group. As an Adelie female the
# heaviest bird weighs hardly more than others do: two latents hold little of what sets it apart
# from its own group. Its density as a bird of another species says how wrong that label would be.

heavy = complete.loc[[complete["body_mass_g"].astype(float).idxmax()]]
adelie = given.counterfactual(heavy, {"species": "Adelie", "sex": "female"})
print("\nthe heaviest bird, and the same as an Adelie female")
print(pd.concat([heavy, adelie]).to_string())
log_density = given.score_samples(heavy.assign(species="Adelie"))
print(f"log p(measures | as an Adelie male) {log_density[0]:.1f}", end=", ")
print(f"as what it is {given.score_samples(heavy)[0]:.1f}")
