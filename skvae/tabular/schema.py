"""What each column is: its kind, its levels and what fills it."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.callers import user_level
from skvae.tabular.cells import NUMERIC_SORTS, Cells, level_array

LARGEST_COUNT = 100  # past it, whole numbers are amounts rather than counts
KINDS = ("continuous", "positive", "count", "binary", "ordinal", "categorical")
NUMERIC_KINDS = ("continuous", "positive", "count")
DISCRETE_KINDS = ("binary", "ordinal", "categorical")

# Whole numbers beyond this are no longer told apart by float64.
_EXACT = 2**53


@dataclass(frozen=True, eq=False)
class Column:
    """One fitted column.

    Attributes
    ----------
    name : hashable
        Label in the frame, or integer position for arrays.
    kind : str
        One of `KINDS`.
    dtype : numpy dtype or pandas ExtensionDtype
        Of the column at fit.
    categories : ndarray or None
        Modelled levels in code order for binary, ordinal and categorical columns.
    status : {"modelled", "constant", "empty"}
        Constant and empty columns are not modelled.
    fill : object
        What fills the holes of a constant or empty column; None for modelled ones.
    integer : bool
        Whether filled values are rounded.
    rare : ndarray or None
        Levels seen at fit but past `max_categories`: absent for the model, kept in the output.
    declared : bool
        Whether the user named the kind of a number: values outside it then are errors.
    """

    name: Hashable
    kind: str
    dtype: Any
    categories: np.ndarray | None
    status: str
    fill: Any
    integer: bool
    rare: np.ndarray | None = None
    declared: bool = False

    @property
    def n_categories(self) -> int:
        """Number of modelled levels, 0 for numeric kinds."""
        return 0 if self.categories is None else len(self.categories)

    @property
    def is_discrete(self) -> bool:
        """Whether the column is coded by levels."""
        return self.kind in DISCRETE_KINDS


def learn_column(
    cells: Cells,
    name: Hashable,
    dtype: Any,
    declared: str | None = None,
    max_categories: int = 100,
    sentinel: Any = None,
) -> Column:
    """Infer, or check, what a column is.

    Parameters
    ----------
    cells : Cells
        The column as read.
    name : hashable
    dtype : numpy dtype or pandas ExtensionDtype
    declared : str or None
        The user's kind; inferred from the cells' sort where None.
    max_categories : int
        At most this many levels are modelled, the most frequent ones.
    sentinel : object
        Never chosen as a fill.

    Returns
    -------
    Column

    Raises
    ------
    ValueError
        If the declared kind does not suit the values.
    """
    if declared is not None:
        _check_declared(declared, cells, name)
    if not cells.observed.any():
        return _learn_empty(cells, name, dtype, declared, sentinel)
    if declared in NUMERIC_KINDS or (declared is None and cells.sort in ("integer", "float")):
        return _learn_numeric(cells, name, dtype, declared)
    return _learn_discrete(cells, name, dtype, declared, max_categories)


def default_fill(cells: Cells, declared: str | None = None, sentinel: Any = None) -> Any:
    """Return what fills a column without any observed value: 0, False, a category or a word."""
    if cells.sort == "boolean":
        return False
    if cells.sort == "category":
        levels = [] if cells.declared is None else scalars(level_array(cells.declared))
        usable = [level for level in levels if sentinel is None or level != sentinel]
        return usable[0] if usable else "missing_value"
    if cells.sort in NUMERIC_SORTS or declared in NUMERIC_KINDS:
        return 0
    return "missing_value"


def check_domain(kind: str, name: Hashable, numbers: np.ndarray) -> None:
    """Raise ValueError where numbers (NaN at holes) are outside what `kind` allows."""
    if kind == "positive":
        wrong, rule = numbers <= 0, "numbers greater than 0"
    elif kind == "count":
        wrong, rule = (numbers < 0) | (numbers % 1 > 0), "non-negative whole numbers"
    else:
        return
    if wrong.any():
        example = float(numbers[np.argmax(wrong)])
        of_logarithm = ""
        if kind == "positive" and not (numbers < 0).any():
            of_logarithm = ", and numpy.log1p of its values if they are skewed"
        raise ValueError(
            f"Column {name!r} is of kind {kind!r}, which needs {rule}, but holds {example:g} "
            f"({int(wrong.sum())} such value(s)). Correct them, or pass "
            f"column_types={{{name!r}: 'continuous'}} at fit{of_logarithm}."
        )


def admit(column: Column, numbers: np.ndarray) -> np.ndarray:
    """Numbers as the model of their column takes them.

    A kind that the user declared is a promise, and breaking it an error. A count that was only
    inferred from whole numbers is not: the model then reads the nearest count below.
    """
    if column.kind == "count" and not column.declared:
        return np.floor(np.maximum(numbers, 0.0))
    check_domain(column.kind, column.name, numbers)
    return numbers


def looks_like_counts(numbers: np.ndarray, low: float, high: float) -> bool:
    """Whether whole numbers (NaN at holes) behave as a Poisson or negative binomial might.

    Small, from about zero, and spread at least as widely as their mean: years, lengths in
    millimetres or amounts of money are whole numbers too, and no counts.
    """
    if low < 0 or high > LARGEST_COUNT:
        return False
    mean = float(np.nanmean(numbers))
    return low <= 0.5 * mean and float(np.nanvar(numbers)) >= 0.8 * mean


def check_column_types(column_types: Any, names: list[Hashable]) -> dict[Hashable, str]:
    """Check that overrides name known columns and kinds."""
    if not isinstance(column_types, (Mapping, type(None))):
        raise TypeError(
            "column_types must map column names (positions for arrays) to kinds, such as "
            f"{{'income': 'positive'}}; got {type(column_types).__name__}."
        )
    wanted = dict(column_types or {})
    known = set(names)
    for name, kind in wanted.items():
        if name not in known:
            shown = ", ".join(repr(n) for n in names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"column_types names an unknown column {name!r}; X has: {shown}.")
        if kind not in KINDS:
            raise ValueError(
                f"column_types gives column {name!r} the unknown kind {kind!r}; "
                f"the kinds are: {', '.join(KINDS)}."
            )
    return wanted


def warn_of_columns(
    columns: Sequence[Column], max_categories: int, keep_empty: bool, fills: bool
) -> None:
    """Say which columns have no values, and which more levels than are modelled."""
    empty = [column.name for column in columns if column.status == "empty"]
    keep = "; set keep_empty_features=True to keep them" if fills else ""
    if empty and not keep_empty:
        text = f"Skipping features without any observed values: {empty}. They are left out of"
        warnings.warn(f"{text} the output{keep}.", UserWarning, stacklevel=user_level())
    many = [column.name for column in columns if column.rare is not None]
    if many:
        others = "stay where given but are never filled in" if fills else "count as absent"
        warnings.warn(
            f"Columns with more than max_categories={max_categories} levels: {many}. Only "
            f"the most frequent levels are modelled, the others {others}. Raise "
            "max_categories, group rare levels or drop the column.",
            UserWarning,
            stacklevel=user_level(),
        )


def _check_declared(kind: str, cells: Cells, name: Hashable) -> None:
    if kind in NUMERIC_KINDS and cells.sort in ("text", "category", "boolean"):
        what = {"text": "strings", "category": "categories", "boolean": "booleans"}[cells.sort]
        raise ValueError(
            f"Column {name!r} is declared {kind!r} but holds {what}. Convert it first with "
            f"pd.to_numeric or .astype(float), or declare it one of: {', '.join(DISCRETE_KINDS)}."
        )
    unordered = cells.sort == "text" or (cells.sort == "category" and not cells.ordered)
    if kind == "ordinal" and unordered:
        raise ValueError(
            f"Column {name!r} is declared 'ordinal' but its levels have no order. Give them "
            "one: .astype(pd.CategoricalDtype([lowest, ..., highest], ordered=True))."
        )


def _learn_empty(
    cells: Cells, name: Hashable, dtype: Any, declared: str | None, sentinel: Any
) -> Column:
    numeric = cells.sort in ("integer", "float")
    whole = cells.sort == "integer"
    inferred = ("count" if whole else "continuous") if numeric else "categorical"
    if cells.sort == "boolean":
        inferred = "binary"
    kind = declared or inferred
    categories = np.empty(0, dtype=object) if kind in DISCRETE_KINDS else None
    fill = default_fill(cells, declared, sentinel)
    return Column(name, kind, dtype, categories, "empty", fill, whole or kind == "count")


def _learn_numeric(cells: Cells, name: Hashable, dtype: Any, declared: str | None) -> Column:
    numbers = cells.numbers
    assert numbers is not None
    # fmin and fmax pass over NaN, without a copy of the observed part and without warnings.
    low, high = float(np.fmin.reduce(numbers)), float(np.fmax.reduce(numbers))
    whole = cells.sort == "integer"
    counts = whole and looks_like_counts(numbers, low, high)
    kind = declared or ("count" if counts else "continuous")
    check_domain(kind, name, numbers)
    if low < high:
        integer = whole or kind == "count"
        promised = declared is not None
        return Column(name, kind, dtype, None, "modelled", None, integer, declared=promised)
    fill: float = int(low) if whole else low
    return Column(name, kind, dtype, None, "constant", fill, whole or kind == "count")


def _learn_discrete(
    cells: Cells, name: Hashable, dtype: Any, declared: str | None, max_categories: int
) -> Column:
    _check_exact(cells, name)
    codes, levels = cells.factorize()
    counts = np.bincount(codes[cells.observed], minlength=len(levels))
    seen = np.flatnonzero(counts)
    kind = declared or _inferred_discrete(cells, len(seen))
    if kind == "binary" and len(seen) > 2:
        raise ValueError(
            f"Column {name!r} is declared 'binary' but holds {len(seen)} levels, such as "
            f"{scalars(levels[seen[:3]])}. Declare it 'categorical' or 'ordinal' instead."
        )
    if len(seen) == 1:
        only = levels[seen]
        return Column(name, kind, dtype, only, "constant", scalars(only)[0], False)
    # A stable sort breaks ties by level order, so the choice does not depend on row order.
    frequent = seen[np.argsort(-counts[seen], kind="stable")]
    kept = np.sort(frequent[:max_categories])
    rare = levels[np.sort(frequent[max_categories:])] if len(frequent) > max_categories else None
    return Column(name, kind, dtype, levels[kept], "modelled", None, False, rare)


def _inferred_discrete(cells: Cells, n_seen: int) -> str:
    if cells.sort == "category" and cells.ordered:
        return "ordinal"
    return "binary" if n_seen == 2 or cells.sort == "boolean" else "categorical"


def _check_exact(cells: Cells, name: Hashable) -> None:
    if cells.numbers is None or np.fmax.reduce(np.abs(cells.numbers)) <= _EXACT:
        return
    if cells.sort == "integer":
        raise ValueError(
            f"Column {name!r} holds whole numbers beyond 2**53, which cannot be told apart as "
            "levels. Convert it with .astype('category') in a frame and leave it undeclared."
        )


def scalars(levels: Any) -> list:
    """Levels as Python objects."""
    return levels.tolist() if isinstance(levels, np.ndarray) else list(levels)


def match_levels(levels: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Position of each level in `categories`, -1 where it is not there."""
    if levels.dtype.kind in "biuf" and categories.dtype.kind in "biuf":
        if levels.dtype == categories.dtype:
            return pd.Index(categories).get_indexer(pd.Index(levels))
        # As floats, 1, 1.0 and True are one level: int at fit and float at transform is normal.
        known = pd.Index(categories.astype(np.float64))
        return known.get_indexer(pd.Index(levels.astype(np.float64)))
    known = pd.Index(categories, dtype=object)
    return known.get_indexer(pd.Index(levels, dtype=object))
