"""A mixed table with holes: coordinates, densities, new rows, rows under another condition.

Penguins have categories, integers and gaps. One model embeds them and says which rows are odd,
another draws them given species and sex, and answers what a bird would measure as another one.
"""

import pandas as pd
from palmerpenguins import load_penguins
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skvae import VAETransformer
from skvae.datasets import ampute


def load_frame() -> pd.DataFrame:
    """The penguins, with the dtypes a careful user would give them."""
    penguins = load_penguins().drop(columns="year")
    return penguins.astype(
        {
            "species": "category",
            "island": "category",
            "sex": "category",
            "flipper_length_mm": "Int64",
            "body_mass_g": "Int64",
        }
    )


def main() -> None:
    penguins = load_frame()
    frame = ampute(penguins, rate=0.1, random_state=0)  # more holes than its own
    measures = frame.drop(columns="species")

    model = VAETransformer(2, random_state=0).set_output(transform="pandas")
    coordinates = model.fit_transform(measures)
    print(f"{int(measures.isna().sum().sum())} holes; coordinates of the first rows")
    print(coordinates.head(3).round(2))

    classifier = make_pipeline(VAETransformer(2, random_state=0), LogisticRegression())
    share = cross_val_score(classifier, measures, frame["species"].astype(object).fillna("?"), cv=3)
    print(f"species from two coordinates, cross-validated: {share.mean():.0%} right\n")

    odd = measures.assign(log_density=model.score_samples(measures)).nsmallest(3, "log_density")
    print("the least likely rows, by what is observed of them")
    print(odd.round(2))

    print("\nnew rows, with the dtypes of the table")
    print(model.sample(3, random_state=0))

    complete = penguins.dropna(subset=["species", "sex"])
    given = VAETransformer(2, condition_on=["species", "sex"], random_state=0).fit(complete)
    print("\nbody mass in grams: mean of real birds and of drawn ones")
    for (species, sex), birds in complete.groupby(["species", "sex"], observed=True):
        drawn = given.sample(500, condition={"species": species, "sex": sex}, random_state=0)
        means = birds["body_mass_g"].mean(), drawn["body_mass_g"].mean()
        print(f"  {species:10}{sex:8}{means[0]:8.0f}{means[1]:8.0f}")

    heavy = complete.loc[[complete["body_mass_g"].astype(float).idxmax()]]
    print("\nthe heaviest bird, and the same as an Adelie female")
    print(pd.concat([heavy, given.counterfactual(heavy, {"species": "Adelie", "sex": "female"})]))
    log_density = given.score_samples(heavy.assign(species="Adelie"))
    print(f"log p(measures | as an Adelie male) {log_density[0]:.1f}", end=", ")
    print(f"as what it is {given.score_samples(heavy)[0]:.1f}")


if __name__ == "__main__":
    with pd.option_context("display.width", 120, "display.max_columns", 20):
        main()
