"""Numbers so far from all others of their column that a model hangs on them alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skvae.tabular.schema import Column

# In interquartile ranges: a log-normal column of any usual skew stays within.
FAR = 100.0
# Below so many values quartiles say little; above such a share far values are a tail.
FEWEST_VALUES, LARGEST_SHARE = 20, 0.02


def wild_values(values: np.ndarray, observed: np.ndarray, columns: Sequence[Column]) -> list[str]:
    """A sentence for every continuous column that has such numbers.

    Parameters
    ----------
    values : ndarray of shape (n, p)
        Encoded, anything where not observed.
    observed : bool ndarray of shape (n, p)
    columns : sequence of Column
    """
    found = []
    for j, column in enumerate(columns):
        if column.kind != "continuous":
            continue
        x = values[observed[:, j], j]
        if len(x) < FEWEST_VALUES:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = np.percentile(x, [25, 75])
            away = np.maximum(low - x, x - high)
            far = away > FAR * (high - low)
        n = int(far.sum())
        if low < high and 0 < n <= max(1, LARGEST_SHARE * len(x)):
            worst = float(x[np.where(far, away, 0).argmax()])
            found.append(
                f"Column {column.name!r} holds {worst:g}: {n} value(s) of it lie more than "
                f"{FAR:g} interquartile ranges outside of {low:g} to {high:g}, where half of "
                "the values are. The model of all rows bends to them. Where they are wrong make "
                "them absent (NaN; VAEOutlierDetector finds such cells); where they are right "
                "give the column's logarithm, or declare it 'positive' if it is."
            )
    return found
