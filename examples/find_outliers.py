"""Odd rows of a mixed table with holes, and why they are odd.

Penguins with four slips of the pen: the detector finds them among the others, although all of them
trained it, and says for each which column is to blame and what it expected in its place. Then the
oddest real penguins.
"""

import pandas as pd
from palmerpenguins import load_penguins

from skvae import VAEOutlierDetector

SLIPS = {
    20: ("body_mass_g", 37.0),  # hectograms
    110: ("bill_length_mm", 4.3),  # centimetres
    200: ("flipper_length_mm", 122.0),  # 221, with a slip
    300: ("species", "Gentoo"),  # a Chinstrap
}


def main() -> None:
    penguins = load_penguins().drop(columns="year")
    penguins = penguins.astype({"species": "category", "island": "category", "sex": "category"})
    frame = penguins.copy()
    for label, (column, value) in SLIPS.items():
        frame.loc[label, column] = value

    detector = VAEOutlierDetector(random_state=0).fit(frame)
    scores = pd.Series(detector.score_samples(frame), index=frame.index)
    place = scores.rank().astype(int)
    outliers = int((detector.predict(frame) < 0).sum())
    print(f"{len(frame)} penguins, {outliers} outliers by contamination='auto'\n")

    table = detector.explain(frame.loc[list(SLIPS)])
    for label, (column, _) in SLIPS.items():
        blamed = table.loc[label].index[0]
        line = table.loc[(label, blamed)]
        spread = "" if pd.isna(line["std"]) else f" +- {line['std']:.1f}"
        expected = line["expected"] if spread == "" else f"{line['expected']:.1f}"
        print(
            f"row {label} is number {place[label]}: {blamed} is {line['value']}, "
            f"expected {expected}{spread} (changed: {column})"
        )

    print("\nthe oddest real penguins")
    odd = scores.drop(list(SLIPS)).nsmallest(3).index
    print(frame.loc[odd].to_string())
    print(detector.explain(frame.loc[odd]).groupby("row", sort=False).head(2).round(1).to_string())


if __name__ == "__main__":
    main()
