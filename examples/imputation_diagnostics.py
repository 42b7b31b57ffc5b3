"""Can these fillings be trusted? Diagnostics of an imputed table of mixed columns.

Penguins, a fifth of whose measurements is hidden, from some species and islands more often than
from others, so that what is left is not like what is gone. Four pictures: which cells are absent
together, what holes are filled with beside what was observed, hidden entries beside what they were,
and whether intervals hold what they promise. They are written to `imputation_diagnostics_*.png`,
or where `--out` says.
"""

import argparse

import matplotlib
import pandas as pd
from palmerpenguins import load_penguins

from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.inspection import (
    ImputationDisplay,
    IntervalCalibrationDisplay,
    MissingnessPatternDisplay,
    OverimputationDisplay,
    interval_calibration,
    overimpute,
)

matplotlib.use("Agg")

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]


def load_frame() -> pd.DataFrame:
    """Penguins with holes that depend on what is still known of them."""
    penguins = load_penguins().drop(columns="year")
    penguins = penguins.astype(
        {
            "species": "category",
            "island": "category",
            "sex": "category",
            "flipper_length_mm": "Int64",
            "body_mass_g": "Int64",
        }
    )
    return ampute(penguins, "mar", rate=0.2, columns=MEASURES, random_state=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="imputation_diagnostics", help="beginning of file names")
    args = parser.parse_args()

    frame = load_frame()
    patterns = MissingnessPatternDisplay.from_data(frame, max_patterns=12)
    n_rows = patterns.patterns.index.to_numpy()
    whole = n_rows[~patterns.patterns.any(axis=1).to_numpy()].sum()
    print(f"{whole} of {len(frame)} penguins have no hole; share missing by column:")
    print(patterns.shares_[MEASURES].round(2).to_string())

    imputer = VAEImputer(random_state=0).fit(frame)
    filled = ImputationDisplay.from_estimator(imputer, frame, random_state=0)
    print("\nmean of what is observed, and of what holes are filled with")
    for column in filled.columns:
        if column.levels is None:
            print(f"  {column.name:18} {column.observed.mean():8.1f} {column.imputed.mean():8.1f}")

    # A copy of the imputer is fitted without the entries that it is to be asked for.
    result = overimpute(imputer, frame, columns=MEASURES, share=0.2, random_state=0)
    print("\na fifth of the observed entries hidden, filled and compared")
    print(result.summary().round(2).to_string())

    calibration = interval_calibration(imputer, frame, share=0.2, random_state=0)
    print("\ncoverage of intervals, overall")
    print(calibration.overall.round(2).to_string())
    print(f"mean distance from the promised one: {calibration.error:.3f}")

    displays = {
        "patterns": patterns,
        "fillings": filled,
        "overimputation": OverimputationDisplay(result).plot(),
        "calibration": IntervalCalibrationDisplay(calibration).plot(),
    }
    for name, display in displays.items():
        display.figure_.savefig(f"{args.out}_{name}.png", dpi=100)
    print(f"\npictures: {', '.join(f'{args.out}_{name}.png' for name in displays)}")


if __name__ == "__main__":
    main()
