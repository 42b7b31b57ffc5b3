"""Five labelled penguins of each species, holes everywhere: which species are the others?

A tenth of the entries is hidden beside the holes that the table has of its own. The classifier
takes the frame as it is, strings and holes included, and says how sure it is; birds that show less
are less certain. Then it draws birds of each species.
"""

import numpy as np
import pandas as pd
from palmerpenguins import load_penguins

from skvae import SemiSupervisedVAEClassifier

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def main() -> None:
    penguins = load_penguins().drop(columns="year").sample(frac=1, random_state=0)
    species = penguins.pop("species")
    random = np.random.default_rng(0)
    frame = penguins.mask(random.random(penguins.shape) < 0.1)

    first = species.groupby(species).head(5).index
    known = species.astype(object).where(species.index.isin(first), -1)
    classifier = SemiSupervisedVAEClassifier(random_state=0).fit(frame, known)

    others = frame.index.difference(first, sort=False)
    right = classifier.predict(frame.loc[others]) == species[others]
    print(f"{len(first)} labelled birds, {len(others)} others, {frame.isna().sum().sum()} holes")
    print(f"right on {right.mean():.1%} of the others")
    prior = dict(zip(classifier.classes_, classifier.label_prior_.round(2).tolist(), strict=True))
    truth = species.value_counts(normalize=True).sort_index().round(2)
    print("species among all birds:", prior)
    print("in truth:               ", truth.to_dict())

    sure = classifier.predict_proba(frame.loc[others]).max(axis=1)
    shown = frame.loc[others].notna().sum(axis=1)
    table = pd.DataFrame({"birds": 1, "certainty": sure, "right": right}).groupby(shown)
    print("\nby number of columns that a bird shows")
    print(table.agg({"birds": "sum", "certainty": "mean", "right": "mean"}).round(2).to_string())

    print("\nmean of drawn birds, and of real ones")
    for name in classifier.classes_:
        drawn = classifier.sample(300, y=name, random_state=0)[MEASURES].mean()
        real = penguins.loc[species == name, MEASURES].mean()
        print(
            f"  {name:9}",
            "  ".join(f"{a:6.0f} ({b:.0f})" for a, b in zip(drawn, real, strict=True)),
        )


if __name__ == "__main__":
    main()
