"""Fill a data frame of mixed columns: penguins, measured with real gaps.

The frame has numbers, integers and categories. It has a few holes of its own, and a fifth of the
remaining entries is hidden on purpose, so that the fillings can be compared with the truth.
"""

import numpy as np
import pandas as pd
from palmerpenguins import load_penguins

from skvae import VAEImputer
from skvae.datasets import ampute


def load_frame() -> pd.DataFrame:
    """The penguins, with the dtypes a careful user would give them."""
    penguins = load_penguins()
    return penguins.astype(
        {
            "species": "category",
            "island": "category",
            "sex": "category",
            "flipper_length_mm": "Int64",
            "body_mass_g": "Int64",
            "year": "category",
        }
    )


def accuracy(truth: pd.DataFrame, filled: pd.DataFrame, hidden: pd.DataFrame) -> pd.DataFrame:
    """Error of the fillings at the hidden entries, beside that of the mean or the mode."""
    rows = []
    for name in truth:
        where, seen = hidden[name], truth[name][~hidden[name]].dropna()
        if isinstance(truth[name].dtype, pd.CategoricalDtype):
            right = float((filled[name][where] == truth[name][where]).mean())
            mode = float((truth[name][where] == seen.mode()[0]).mean())
            rows.append((name, "share right", right, mode))
        else:
            wanted = truth[name][where].astype(float)
            rmse = float(np.sqrt(((filled[name][where].astype(float) - wanted) ** 2).mean()))
            mean = float(np.sqrt(((seen.astype(float).mean() - wanted) ** 2).mean()))
            rows.append((name, "RMSE", rmse, mean))
    table = pd.DataFrame(rows, columns=["column", "measure", "VAEImputer", "mean or mode"])
    return table.set_index("column").round(2)


def main() -> None:
    truth = load_frame()
    frame = ampute(truth, rate=0.2, random_state=0)
    hidden = frame.isna() & truth.notna()

    imputer = VAEImputer(random_state=0).set_output(transform="pandas")
    filled = imputer.fit_transform(frame)
    lower, upper = imputer.predict_interval(frame, coverage=0.9)

    rows = frame.index[frame.isna().sum(axis=1) >= 3][:5]
    with pd.option_context("display.width", 120, "display.max_columns", 20):
        print(f"before: {int(truth.isna().sum().sum())} holes of its own,", end=" ")
        print(f"{int(hidden.sum().sum())} entries hidden on purpose")
        print(frame.loc[rows])
        print(f"\nafter: {int(filled.isna().sum().sum())} holes, ", end="")
        print("dtypes kept" if (filled.dtypes == truth.dtypes).all() else "dtypes changed")
        print(filled.loc[rows])

        print("\n90 % intervals of some filled cells")
        for row in rows:
            for name in ("bill_length_mm", "flipper_length_mm", "body_mass_g"):
                if hidden.loc[row, name]:
                    low, high = float(lower.loc[row, name]), float(upper.loc[row, name])
                    print(
                        f"  row {row:<4} {name:18} {float(filled.loc[row, name]):7.1f} "
                        f"in [{low:7.1f}, {high:7.1f}], was {float(truth.loc[row, name]):7.1f}"
                    )

        print("\naccuracy on the entries hidden on purpose")
        print(accuracy(truth, filled, hidden))


if __name__ == "__main__":
    main()
