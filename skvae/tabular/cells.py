"""Read one column: which cells are absent, what the others hold."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

NUMERIC_SORTS = ("integer", "float", "boolean")

# What pandas finds in the observed cells of an object column -> how it is read. Whatever is
# not listed is refused by name.
_OBJECT_SORTS = {
    "string": "text",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "float",
    "mixed-integer-float": "float",
    "empty": "void",
}
_TIME_WORDS = ("datetime", "date", "timedelta", "time", "period", "interval")


@dataclass(frozen=True, eq=False)
class Cells:
    """One column as read.

    Attributes
    ----------
    sort : {"integer", "float", "boolean", "text", "category", "void"}
        What the cells hold; "void" is an object column with every cell absent.
    observed : ndarray of bool
        False at the user's holes.
    numbers : ndarray of float64 or None
        The numbers, NaN at holes; None for text and categories.
    raw : ndarray or None
        Objects with None at holes ("text"), or the pandas codes with -1 at holes ("category").
    declared : Index or None
        The declared categories, for "category".
    ordered : bool
        Whether the declared categories are ordered.
    """

    sort: str
    observed: np.ndarray
    numbers: np.ndarray | None = None
    raw: np.ndarray | None = None
    declared: pd.Index | None = None
    ordered: bool = False

    @property
    def level_sort(self) -> str:
        """Whether the cells are a "number", "text", nothing ("void") or "other"."""
        if self.declared is not None:
            return level_sort(level_array(self.declared))
        return {"text": "text", "void": "void"}.get(self.sort, "number")

    def factorize(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes (-1 at holes) and the levels they point at.

        Levels come in declared order for categories (unused ones included), sorted otherwise.
        """
        if self.sort == "category":
            assert self.raw is not None
            assert self.declared is not None
            return self.raw, level_array(self.declared)
        if self.sort == "void":
            return np.full(self.observed.size, -1), np.empty(0, dtype=object)
        codes, levels = pd.factorize(self.raw if self.numbers is None else self.numbers, sort=True)
        return np.asarray(codes), self._typed(levels)

    def _typed(self, levels: Any) -> np.ndarray:
        dtype: type = {"integer": np.int64, "boolean": np.bool_, "float": np.float64}.get(
            self.sort, object
        )
        return np.asarray(levels).astype(dtype)


def level_array(levels: pd.Index) -> np.ndarray:
    """Levels as a plain array: typed for numbers and booleans, objects for anything else."""
    plain = isinstance(levels.dtype, np.dtype) and levels.dtype.kind in "biuf"
    return np.asarray(levels) if plain else np.asarray(levels, dtype=object)


def level_sort(levels: np.ndarray) -> str:
    """Whether levels are a "number", "text", nothing ("void") or "other"."""
    if levels.size == 0:
        return "void"
    if levels.dtype.kind in "biuf":
        return "number"
    found = types.infer_dtype(levels, skipna=False)
    return {"string": "text", "boolean": "number"}.get(found, "other")


def normalise_missing(missing_values: Any) -> Any:
    """Return the sentinel as a Python scalar, or None where NaN, None or NA is meant."""
    if np.ndim(missing_values) or isinstance(missing_values, set | dict):
        raise ValueError(
            f"missing_values must be one value, got {missing_values!r}. Replace several markers "
            "first: X = X.replace([...], pd.NA)."
        )
    if missing_values is None or missing_values is pd.NA:
        return None
    if isinstance(missing_values, np.generic):
        # A Python scalar adapts to the column's precision: 0.1 then matches a float32 0.1.
        missing_values = missing_values.item()
    if isinstance(missing_values, float) and np.isnan(missing_values):
        return None
    return missing_values


def numeric_holes(values: np.ndarray, sentinel: Any) -> np.ndarray:
    """Return where a numeric array of any shape has holes, as a new mask."""
    holes = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    # A sentinel of 0 must not swallow every False, nor one of True every 1.
    same_sort = isinstance(sentinel, bool) == (values.dtype.kind == "b")
    if isinstance(sentinel, Real) and same_sort:
        holes |= values == sentinel
    return holes


def read_column(column: Any, name: Hashable, sentinel: Any = None) -> Cells:
    """Read a Series or a 1-D array.

    Parameters
    ----------
    column : Series or ndarray of shape (n_samples,)
    name : hashable
        For the error messages.
    sentinel : object
        A value that marks holes besides NaN, None and NA; None where there is none.

    Returns
    -------
    Cells

    Raises
    ------
    TypeError
        If the column holds times, complex numbers, bytes, or a mix of strings, numbers and others.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _read_category(column, sentinel)
    sort = dtype_sort(dtype, name)
    if sort in NUMERIC_SORTS:
        return _read_numbers(column, sort, sentinel)
    return _read_objects(column, name, sentinel)


def dtype_sort(dtype: Any, name: Hashable) -> str:
    """Return the sort of a dtype other than category; "object" where only the cells can tell."""
    kind = getattr(dtype, "kind", "O")
    if isinstance(dtype, (pd.PeriodDtype, pd.IntervalDtype)) or kind in "mM":
        raise _refusal(name, f"times or intervals ({dtype})", _TIME_REMEDY)
    if isinstance(dtype, pd.SparseDtype):
        raise _refusal(name, f"sparse values ({dtype})", "convert it with .sparse.to_dense()")
    if kind == "c":
        raise _refusal(name, "complex numbers", _COMPLEX_REMEDY)
    if kind in "SV":
        raise _refusal(name, f"bytes ({dtype})", "decode it to strings first")
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_integer_dtype(dtype):
        return "integer"
    if types.is_float_dtype(dtype):
        return "float"
    return "text" if kind == "U" or isinstance(dtype, pd.StringDtype) else "object"


_TIME_REMEDY = "turn it into numbers first (days since a date, year, month, ...) or drop it"
_COMPLEX_REMEDY = "give its real and imaginary parts as two columns"


def _refusal(name: Hashable, what: str, remedy: str) -> TypeError:
    return TypeError(f"Column {name!r} holds {what}, which cannot be modelled: {remedy}.")


def _read_category(column: pd.Series, sentinel: Any) -> Cells:
    codes = column.cat.codes.to_numpy()
    if sentinel is not None:
        absent = [k for k, level in enumerate(column.cat.categories) if _same(level, sentinel)]
        if absent:
            codes = np.where(np.isin(codes, absent), codes.dtype.type(-1), codes)
    dtype = column.dtype
    return Cells("category", codes >= 0, None, codes, dtype.categories, bool(dtype.ordered))


def _same(level: Any, sentinel: Any) -> bool:
    return isinstance(level, bool) == isinstance(sentinel, bool) and bool(level == sentinel)


def _read_numbers(column: Any, sort: str, sentinel: Any) -> Cells:
    if isinstance(column.dtype, np.dtype):
        values = np.asarray(column)
    else:  # nullable and arrow-backed: the mask becomes NaN
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if sort == "boolean" and isinstance(sentinel, bool):
            sentinel = int(sentinel)
        elif sort == "boolean":
            sentinel = None
    holes = numeric_holes(values, sentinel)
    observed = np.logical_not(holes)
    if values.dtype != np.float64:
        values = values.astype(np.float64)
    # Holes that are NaN already need no copy of the column.
    if sentinel is not None and holes.any():
        values = np.where(holes, np.nan, values)
    return Cells(sort, observed, values)


def _read_objects(column: Any, name: Hashable, sentinel: Any) -> Cells:
    raw = column.to_numpy(dtype=object) if isinstance(column, pd.Series) else column.astype(object)
    observed = np.logical_not(pd.isna(raw))
    if sentinel is not None:
        # Cells that refuse comparison (lists, arrays) are named just below.
        with contextlib.suppress(TypeError, ValueError):
            observed[observed] = raw[observed] != sentinel
    seen = raw[observed]
    found = types.infer_dtype(seen, skipna=False)
    if found not in _OBJECT_SORTS:
        raise _object_refusal(name, found, seen)
    sort = _OBJECT_SORTS[found]
    if sort in NUMERIC_SORTS:
        numbers = np.full(raw.size, np.nan)
        numbers[observed] = seen.astype(np.float64)
        return Cells(sort, observed, numbers)
    if not observed.all():
        raw = raw.copy()
        raw[~observed] = None
    return Cells(sort, observed, None, raw)


def _object_refusal(name: Hashable, found: str, seen: np.ndarray) -> TypeError:
    if found.startswith(_TIME_WORDS):
        return _refusal(name, f"times ({found})", _TIME_REMEDY)
    if found == "complex":
        return _refusal(name, "complex numbers", _COMPLEX_REMEDY)
    kinds = sorted({type(cell).__name__ for cell in seen[:1000]} or {found})
    # "argument must be a string or a number" is the sentence scikit-learn's checks look for.
    return TypeError(
        f"Column {name!r} has dtype object and mixes or holds unsupported types "
        f"({', '.join(kinds)}): every cell's argument must be a string or a number, and of one "
        "sort in a column. Convert it to strings with .astype(str), or to numbers with "
        "pd.to_numeric(..., errors='coerce')."
    )
