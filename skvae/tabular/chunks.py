"""Tables that come in parts: files, batches, lists and iterators of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.natives import is_native_frame, refuse_lazy
from skvae.tabular.parquet import frame_of, is_path, is_record_batch, is_source, read_chunks
from skvae.tabular.table import Table, as_table

CHUNK_SIZE = 65_536


def is_frame(X: Any) -> bool:
    """Whether `X` is a frame of pandas or polars, or a table of pyarrow."""
    return isinstance(X, pd.DataFrame) or is_native_frame(X)


def is_chunked(X: Any) -> bool:
    """Whether `X` is no table but a source of tables.

    That is a path, a reader of pyarrow, an iterator, or a list of frames or paths. Lists of
    anything else are array-likes.
    """
    if isinstance(X, list | tuple):
        return bool(X) and (is_frame(X[0]) or is_record_batch(X[0]) or is_path(X[0]))
    return is_source(X) or isinstance(X, Iterator)


def iter_chunks(
    source: Any, chunk_size: int = CHUNK_SIZE, *, columns: Sequence[str] | None = None
) -> Iterator[Any]:
    """Read a table part by part, in the order of its rows.

    Parameters
    ----------
    source : DataFrame, array-like, path, pyarrow reader, or iterable of tables
        A table in memory (of pandas, polars or pyarrow, or an array) is cut. A path is that of a
        Parquet file, or of a folder of such files; `pyarrow.dataset.Dataset`, `Scanner`,
        `pyarrow.parquet.ParquetFile` and `RecordBatchReader` are read batch by batch. Tables of an
        iterable come as they are, long ones cut; paths in it are read.
    chunk_size : int, default=65536
        Rows of a chunk, at most.
    columns : sequence of str or None, default=None
        Those to read; None is all of them.

    Yields
    ------
    DataFrame or ndarray of shape (n_rows, n_columns)
        Frames of pandas from files and batches, otherwise of the kind that was given.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If there is no such file, it cannot be read as Parquet, or a chunk is no table.
    ImportError
        If pyarrow is needed and not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvae.chunks import iter_chunks
    >>> frame = pd.DataFrame({"a": range(5)})
    >>> [len(chunk) for chunk in iter_chunks(frame, 2)]
    [2, 2, 1]
    """
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, int | np.integer):
        raise TypeError(f"chunk_size must be a whole number of rows, got {chunk_size!r}.")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size!r}.")
    check_names(columns=columns)
    return _cut(_parts(source, int(chunk_size), columns), int(chunk_size))


def check_names(**lists: Any) -> None:
    """Raise TypeError where one name is given for a list of them."""
    for argument, given in lists.items():
        if isinstance(given, str):
            raise TypeError(f"{argument} must be a list of names, got {given!r}: pass [{given!r}].")


def _cut(parts: Iterable[Any], size: int) -> Iterator[Any]:
    for part in parts:
        for start in range(0, len(part), size):
            rows = slice(start, start + size)
            yield part.iloc[rows] if isinstance(part, pd.DataFrame) else part[rows]


def _parts(source: Any, size: int, columns: Sequence[str] | None) -> Iterator[Any]:
    """Frames and arrays as they come."""
    refuse_lazy(source)
    if is_source(source):
        yield from read_chunks(source, size, columns)
        return
    for number, given in enumerate(source if is_chunked(source) else [source]):
        if is_chunked(source) and is_path(given):
            yield from read_chunks(given, size, columns)
            continue
        refuse_lazy(given)
        part = given
        if is_record_batch(given):
            part = frame_of(given)
        elif not is_frame(given):
            part = _as_array(given, number) if is_chunked(source) else as_table(given).data
        yield part if columns is None else _columns_of(part, list(columns), number)


def _as_array(given: Any, number: int) -> np.ndarray:
    try:
        return as_table(given).data
    except (ValueError, TypeError) as error:
        raise type(error)(
            f"Chunk {number} of X is no table but of type {type(given).__name__}; give frames or "
            f"2-D arrays. {error}"
        ) from error


def _columns_of(chunk: Any, columns: list[str], number: int) -> Any:
    missing = [name for name in columns if not is_frame(chunk) or name not in names_of(chunk)]
    if missing:
        raise ValueError(f"Chunk {number} of X has no columns {missing}.")
    return chunk.select(columns) if is_native_frame(chunk) else chunk[columns]


def names_of(frame: Any) -> list[Any]:
    """Labels of the columns of a frame."""
    return list(frame.column_names if hasattr(frame, "column_names") else frame.columns)


def iter_tables(X: Any) -> Iterator[Table]:
    """Chunks of a table or of a source of tables, checked, and all with the same columns.

    Raises
    ------
    ValueError
        If there are no rows, or chunks differ in their columns; says which chunk it is.
    """
    names: list[Any] | None = None
    framed = False
    for number, part in enumerate(_parts(X, CHUNK_SIZE, None)):
        for piece in _cut([part], CHUNK_SIZE):
            table = as_table(piece)
            if names is None:
                names, framed = table.names, table.is_frame
            elif table.is_frame != framed:
                raise ValueError(
                    f"Chunk {number} of X is {_kind(table.is_frame)}, the first is "
                    f"{_kind(framed)}. Give all alike."
                )
            elif table.names != names:
                raise ValueError(f"Chunk {number} of X {_departure(table.names, names)}.")
            yield table
    if names is None:
        raise ValueError(
            "X has no rows (n_samples=0): the source of chunks is empty, or was read before. An "
            "iterator gives its rows once only."
        )


def _kind(is_frame: bool) -> str:
    return "a frame" if is_frame else "an array"


def _departure(names: list[Any], wanted: list[Any]) -> str:
    """How the columns of a chunk differ from those of the first."""
    missing = [name for name in wanted if name not in names]
    more = [name for name in names if name not in wanted]
    if not missing and not more:
        return (
            f"has its columns in another order than the first: {names}, not {wanted}. Give "
            "chunk[names] with the same names for all"
        )
    parts = [f"lacks the columns {missing}"] * bool(missing)
    parts += [f"has the columns {more}"] * bool(more)
    return (
        f"{' and '.join(parts)}, unlike the first. Give all chunks the same columns; those without "
        "values are filled with NaN by chunk.reindex(columns=names)"
    )
