"""Numbers and codes back to cells of the right dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from skvae.tabular.cells import dtype_sort, level_array, level_sort
from skvae.tabular.schema import Column


@dataclass(frozen=True, eq=False)
class Patch:
    """What to write into one column: `fills[i]` goes to row `rows[i]`."""

    column: Column
    rows: np.ndarray
    fills: np.ndarray
    whole: bool

    def cells(self, dtype: Any) -> Any:
        """Return the fills as a numpy or pandas array of exactly `dtype`."""
        fills = self.fills
        if dtype == np.dtype(object) and self.column.integer and fills.dtype.kind == "f":
            fills = cast_numbers(fills, np.dtype(np.int64))  # 3, not 3.0, among Python objects
        return as_dtype(fills, dtype)


def patch_from_model(column: Column, rows: np.ndarray, values: np.ndarray) -> Patch:
    """Turn the model's numbers or codes for `rows` into cells' values.

    Raises
    ------
    ValueError
        If a value is NaN.
    """
    if np.isnan(values).any():
        raise ValueError(f"Column {column.name!r}: values to decode contain NaN.")
    if column.categories is not None:
        codes = np.clip(np.rint(values), 0, column.n_categories - 1).astype(np.intp)
        return Patch(column, rows, column.categories[codes], _whole(column.categories))
    if column.integer:
        values = np.rint(values) + 0.0  # + 0.0 turns -0.0 into 0.0
    return Patch(column, rows, values, column.integer)


def patch_from_constant(column: Column, rows: np.ndarray, fill: Any) -> Patch:
    """Write the same value into all `rows`."""
    scalar = np.asarray(fill)
    if scalar.dtype.kind not in "biuf" or scalar.ndim:
        scalar = np.empty((), dtype=object)
        scalar[()] = fill
    fills = np.full(rows.shape, scalar[()], dtype=scalar.dtype)
    return Patch(column, rows, fills, _whole(scalar.reshape(1)))


def _whole(values: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return bool((values == np.rint(values)).all())
    return values.dtype.kind in "biu"


def output_dtype(dtype: Any, patch: Patch, nothing_kept: bool) -> Any:
    """Return `dtype` where it can hold the patch, else the nearest one that can."""
    if dtype == np.dtype(object) or patch.rows.size == 0:
        return dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _wider_category(dtype, patch, nothing_kept)
    if dtype_sort(dtype, patch.column.name) in ("text", "object"):
        return _wider_text(dtype, patch, nothing_kept)
    if level_sort(patch.fills[:1]) != "number":
        # Text into an all-absent column of numbers: it has no dtype of its own to defend.
        return patch.column.dtype if nothing_kept else np.dtype(object)
    return _wider_number(dtype, patch)


def _wider_category(dtype: pd.CategoricalDtype, patch: Patch, nothing_kept: bool) -> Any:
    levels = pd.Index(pd.unique(patch.fills), dtype=object)
    missing = levels[_positions(levels, dtype) < 0]
    if missing.empty:
        return dtype
    fitted = patch.column.dtype
    # The fitted dtype keeps the order of its levels, where appending can only put them last.
    if isinstance(fitted, pd.CategoricalDtype) and (_positions(levels, fitted) >= 0).all():
        kept = pd.Index(level_array(dtype.categories), dtype=object)
        if nothing_kept or (_positions(kept, fitted) >= 0).all():
            return fitted
    missing = missing.infer_objects()
    categories = missing if dtype.categories.empty else dtype.categories.append(missing)
    return pd.CategoricalDtype(categories, dtype.ordered)


def _positions(levels: pd.Index, dtype: pd.CategoricalDtype) -> np.ndarray:
    return pd.Index(level_array(dtype.categories), dtype=object).get_indexer(levels)


def _wider_text(dtype: Any, patch: Patch, nothing_kept: bool) -> Any:
    if level_sort(patch.fills[:1]) != "text":
        return patch.column.dtype if nothing_kept else np.dtype(object)
    if isinstance(dtype, np.dtype):
        return np.result_type(dtype, patch.fills.astype(str).dtype)
    return dtype


def _wider_number(dtype: Any, patch: Patch) -> Any:
    if types.is_float_dtype(dtype) or (types.is_integer_dtype(dtype) and patch.whole):
        return dtype
    if types.is_bool_dtype(dtype) and patch.fills.dtype.kind == "b":
        return dtype
    if isinstance(dtype, np.dtype):
        return np.dtype(np.float64)
    return "double[pyarrow]" if isinstance(dtype, pd.ArrowDtype) else pd.Float64Dtype()


def as_dtype(fills: np.ndarray, dtype: Any) -> Any:
    """Return the fills as a numpy or pandas array of exactly `dtype`."""
    if isinstance(dtype, pd.CategoricalDtype):
        codes = _positions(pd.Index(fills, dtype=object), dtype)
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if isinstance(dtype, np.dtype):
        return _as_numpy(fills, dtype)
    if getattr(dtype, "numpy_dtype", np.dtype(object)).kind in "biuf":
        return pd.array(cast_numbers(fills, dtype.numpy_dtype), dtype=dtype)
    return pd.array(_as_numpy(fills, np.dtype(object)), dtype=dtype)


def _as_numpy(fills: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "biuf":
        return cast_numbers(fills, dtype)
    if dtype.kind == "U":
        return fills.astype(str)
    cells = np.empty(fills.shape, dtype=object)
    cells[:] = fills.tolist()  # Python scalars, as the user's own object cells are
    return cells


def cast_numbers(fills: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast to a number dtype; what lies beyond its range becomes its end, never a wrapped value."""
    if dtype.kind == "b" or fills.dtype.kind == "b" or fills.dtype == dtype:
        return fills.astype(dtype)
    info = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    low, high = float(info.min), float(info.max)
    if fills.dtype.kind in "iu" and dtype.kind in "iu":
        return np.clip(fills, max(info.min, -(2**63)), min(info.max, 2**63 - 1)).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        high = float(np.nextafter(high, 0.0))  # float(2**63 - 1) rounds up, out of range
    return np.clip(fills.astype(np.float64), low, high).astype(dtype)


def patch_series(series: pd.Series, patch: Patch) -> pd.Series:
    """Return a copy of the column with the patch written in; every other cell is untouched."""
    nothing_kept = patch.rows.size == len(series)
    dtype = output_dtype(series.dtype, patch, nothing_kept)
    if nothing_kept:
        # From scratch: the old cells may not even convert (NaN to int).
        return _series(patch, dtype, series.index)
    if dtype != series.dtype:
        series = _widened(series, patch.rows, dtype)
    array = series.array.copy()
    if patch.rows.size:
        array[patch.rows] = patch.cells(dtype)
    return pd.Series(array, index=series.index, dtype=dtype)


def new_series(patch: Patch, index: pd.Index) -> pd.Series:
    """Return a whole column from a patch over all rows, in the dtype seen at fit."""
    return _series(patch, output_dtype(patch.column.dtype, patch, nothing_kept=True), index)


def _series(patch: Patch, dtype: Any, index: pd.Index) -> pd.Series:
    return pd.Series(patch.cells(dtype), index=index, dtype=dtype)


def _widened(series: pd.Series, rows: np.ndarray, dtype: Any) -> pd.Series:
    if isinstance(dtype, pd.CategoricalDtype):
        # By categories, not by cells: keeps codes meaning what they meant.
        return pd.Series(series.array.set_categories(dtype.categories), index=series.index)
    return series.astype(dtype)


def patch_array(base: np.ndarray, patches: list[Patch]) -> np.ndarray:
    """Return a copy of a 2-D array with one patch per column written in."""
    n_rows = base.shape[0]
    dtypes = [output_dtype(base.dtype, p, p.rows.size == n_rows) for p in patches]
    out = np.array(base, dtype=_common(base.dtype, dtypes))
    for j, patch in enumerate(patches):
        if patch.rows.size:
            out[patch.rows, j] = patch.cells(out.dtype)
    return out


def _common(dtype: np.dtype, dtypes: list[Any]) -> np.dtype:
    wanted = [d if isinstance(d, np.dtype) else np.dtype(object) for d in (dtype, *dtypes)]
    # Numbers and strings side by side only fit as objects; numpy would make it all strings.
    if len({d.kind == "U" for d in wanted}) > 1:
        return np.dtype(object)
    return np.result_type(*wanted)


def join_frame(columns: list[pd.Series], names: pd.Index, index: pd.Index) -> pd.DataFrame:
    """Return a frame of columns that share an index."""
    # Series keep their dtypes in a dict, whatever pandas would infer from their cells.
    frame = pd.DataFrame(dict(enumerate(columns)), index=index)
    frame.columns = names
    return frame
