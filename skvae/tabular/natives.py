"""Frames of polars and pyarrow to pandas frames, and back with the dtypes that they had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

# Package and class of the frames that are read.
_FRAMES = {("polars", "DataFrame"), ("pyarrow", "Table")}


@dataclass(frozen=True, eq=False)
class Native:
    """How a frame of another library became a pandas frame, and the way back.

    Attributes
    ----------
    backend : narwhals.Implementation
        The library.
    schema : dict of str to narwhals dtype
    dtypes : dict of str to numpy dtype or pandas ExtensionDtype
        Of the pandas frame.
    """

    backend: Any
    schema: dict[str, Any]
    dtypes: dict[str, Any]

    def restore(self, frame: pd.DataFrame) -> Any:
        """A pandas frame as a frame of the library; columns that kept their dtype have theirs."""
        nw = _narwhals(self.backend)
        columns = {name: self._column(nw, str(name), frame[name]) for name in frame.columns}
        return nw.from_dict(columns).to_native()

    def _column(self, nw: Any, name: str, column: pd.Series) -> Any:
        kept = name in self.schema and column.dtype == self.dtypes[name]
        dtype = self.schema[name] if kept and self.schema[name] != nw.Unknown else None
        if not kept and isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
            dtype = nw.Enum(column.dtype.categories.to_list())  # with more levels than it had
        return nw.new_series(name, _plain(column), dtype, backend=self.backend)


def is_native_frame(X: Any) -> bool:
    """Whether `X` is a frame of polars or a table of pyarrow; imports neither."""
    return _package_and_class(X) in _FRAMES


def read_native(X: Any) -> tuple[pd.DataFrame, Native]:
    """A frame of another library as a pandas frame.

    Whole numbers and booleans become nullable ones, an `Enum` an ordered category, other text
    objects. Cells that cannot be modelled are left to those who read columns to name.

    Raises
    ------
    ImportError
        If narwhals, by which frames are read, is not installed.
    """
    nw = _narwhals(_package_and_class(X)[0])
    given = nw.from_native(X, eager_only=True)
    index = pd.RangeIndex(len(given))
    columns = {name: pd.Series(_cells(nw, given[name]), index=index) for name in given.columns}
    frame = pd.DataFrame(columns, index=index)
    return frame, Native(given.implementation, dict(given.schema), dict(frame.dtypes))


def refuse_lazy(X: Any) -> None:
    """Say what to do with a query that has not been run.

    Raises
    ------
    TypeError
        If `X` is a polars LazyFrame.
    """
    if _package_and_class(X) == ("polars", "LazyFrame"):
        raise TypeError(
            "X is a polars LazyFrame, a query without rows. Collect it first: X.collect(), or "
            "X.collect(engine='streaming'); write one that exceeds memory to a file with "
            "X.sink_parquet(path), and give the path."
        )


def _package_and_class(X: Any) -> tuple[str, str]:
    return type(X).__module__.split(".")[0], type(X).__name__


def _cells(nw: Any, series: Any) -> Any:
    """The cells of one column for pandas, in the narrowest dtype that loses none."""
    dtype = series.dtype
    if isinstance(dtype, (nw.Float32, nw.Float64)):
        return series.to_numpy()
    small = not isinstance(dtype, (nw.Int128, nw.UInt128))
    if dtype.is_integer() and small:
        return _nullable(pd.arrays.IntegerArray, series, np.dtype(str(dtype).lower()))
    if isinstance(dtype, nw.Boolean):
        return _nullable(pd.arrays.BooleanArray, series, np.dtype(bool))
    if isinstance(dtype, nw.Enum):
        return pd.Categorical(series.to_list(), categories=list(dtype.categories), ordered=True)
    cells = np.empty(len(series), dtype=object)
    cells[:] = series.to_list()
    return cells


def _nullable(kind: Any, series: Any, dtype: np.dtype) -> Any:
    absent = np.array(series.is_null().to_numpy(), dtype=bool)
    filled = series.fill_null(False if dtype.kind == "b" else 0)
    return kind(np.array(filled.to_numpy(), dtype=dtype), absent)


def _plain(column: pd.Series) -> Any:
    """Cells as numpy has them where there is a number in each, else a list with None at holes."""
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and not column.hasnans:
        return column.to_numpy(dtype=dtype)
    return column.to_numpy(dtype=object, na_value=None).tolist()


def _narwhals(library: Any) -> Any:
    try:
        import narwhals
    except ImportError as error:
        raise ImportError(
            f"Reading a frame of {library} needs narwhals: pip install 'skvae[polars]', or convert "
            "the frame to pandas first."
        ) from error
    return narwhals
