"""One fitted column's cells to numbers or codes."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from skvae.tabular.cells import Cells, level_sort
from skvae.tabular.schema import Column, admit, match_levels, scalars

UNSEEN = -1
RARE = -2  # seen at fit, but past max_categories


def encode_cells(column: Column, cells: Cells, unseen: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers or codes, and where the model may look at them.

    Parameters
    ----------
    column : Column
    cells : Cells
    unseen : list of str
        Gets one phrase more if there are levels that were not seen at fit.

    Returns
    -------
    numbers : ndarray of float64
        Meaningless where the mask is False.
    mask : ndarray of bool
    """
    if not column.is_discrete:
        if cells.numbers is None:  # text or categories with every cell absent
            return np.zeros(cells.observed.shape), cells.observed
        return admit(column, cells.numbers), cells.observed
    codes, strange = code_cells(column, cells)
    if strange:
        shown = ", ".join(repr(level) for level in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        unseen.append(f"column {column.name!r}: {shown}{more}")
    return codes.astype(np.float64), codes >= 0


def code_cells(column: Column, cells: Cells) -> tuple[np.ndarray, list]:
    """Codes of a discrete column, and the levels never seen at fit.

    Returns
    -------
    codes : ndarray of int
        `UNSEEN` at holes and at levels never seen at fit, `RARE` at levels that were.
    strange : list
    """
    assert column.categories is not None
    local, levels = cells.factorize()
    known = match_levels(levels, column.categories)
    if column.rare is not None:
        known = np.where((known < 0) & (match_levels(levels, column.rare) >= 0), RARE, known)
    # The extra last slot is the one a hole's code -1 picks, here and below.
    present = np.zeros(len(levels) + 1, dtype=bool)
    present[local] = True  # a declared category without any cell is no news
    strange = scalars(levels[(known == UNSEEN) & present[:-1]])
    return np.append(known, UNSEEN)[local], strange


def to_fill(column: Column, cells: Cells) -> np.ndarray:
    """Where the output takes a filled value: the user's holes and unseen levels.

    In a column with more levels than are modelled, unseen ones are others of its kind, and stay.
    """
    if column.status != "modelled" or not column.is_discrete or column.rare is not None:
        return ~cells.observed
    return code_cells(column, cells)[0] == UNSEEN


def check_sort(column: Column, cells: Cells) -> None:
    """Raise TypeError where numbers became text or categories, or the other way round."""
    if column.status == "empty" or not cells.observed.any():
        return
    now = cells.level_sort
    if column.categories is None:
        fitted = "number"
        changed = cells.numbers is None
    else:
        fitted = level_sort(column.categories)
        # Categories of any other sort (intervals, ...) only count as unseen levels.
        changed = {fitted, now} == {"number", "text"}
    if changed:
        words = {"number": "numbers", "text": "text"}
        held = "categories" if cells.sort == "category" else words.get(now, "objects")
        raise TypeError(
            f"Column {column.name!r} held {words[fitted]} at fit but holds {held} now. Convert it "
            "to the same type, for example with pd.to_numeric or .astype(str), or fit again."
        )


def is_infinite(cells: Cells) -> bool:
    """Whether an observed number is infinite."""
    if cells.numbers is None or cells.sort != "float":
        return False
    return bool(np.isinf(cells.numbers).any())


def refuse_infinite(names: list[Hashable]) -> None:
    """Raise ValueError if `names`, the columns with infinite numbers, has any."""
    if names:
        raise ValueError(
            "Input X contains infinity or a value too large for dtype('float64') in column(s) "
            f"{names}. Replace it, for example with X.replace([np.inf, -np.inf], np.nan)."
        )
