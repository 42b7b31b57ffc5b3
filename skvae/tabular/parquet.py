"""Parquet files read in parts that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

# What pyarrow offers beside tables that may not fit into memory.
_READERS = {"Dataset", "FileSystemDataset", "InMemoryDataset", "UnionDataset", "Scanner"}
_READERS |= {"ParquetFile", "RecordBatchReader"}


def is_source(X: Any) -> bool:
    """Whether `X` is a path, or an object of pyarrow that yields record batches."""
    if isinstance(X, str | os.PathLike):
        return True
    return type(X).__module__.split(".")[0] == "pyarrow" and type(X).__name__ in _READERS


def is_path(X: Any) -> bool:
    """Whether `X` is the path of a file: an object, or a string that ends like one of Parquet."""
    return isinstance(X, os.PathLike) or (isinstance(X, str) and X.endswith((".parquet", ".pq")))


def is_record_batch(X: Any) -> bool:
    """Whether `X` is one batch of pyarrow."""
    return type(X).__module__.split(".")[0] == "pyarrow" and type(X).__name__ == "RecordBatch"


def read_chunks(
    source: Any, chunk_size: int, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Rows of Parquet in their order, frames of `chunk_size` rows but for the last.

    Parameters
    ----------
    source : str, path-like, pyarrow Dataset, Scanner, ParquetFile or RecordBatchReader
        A path is that of one file, or of a folder of files with the same columns; names of its
        folders such as "year=2024" are columns too.
    chunk_size : int
    columns : sequence of str or None, default=None
        Those to read; None is all of them.

    Yields
    ------
    DataFrame
        A file with other dtypes begins a new one.
        Whole numbers and booleans are nullable in all chunks, whether a chunk has holes or not.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not Parquet, or files differ in their columns.
    ImportError
        If pyarrow is not installed.
    """
    pyarrow = import_pyarrow()
    start = 0
    try:
        for table in _joined(pyarrow, _batches(pyarrow, source, chunk_size, columns), chunk_size):
            frame = frame_of(table)
            if isinstance(frame.index, pd.RangeIndex):
                frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame
    except (pyarrow.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{_name(source)} cannot be read as Parquet: {error}. Of text files give the "
            "parts, for example pandas.read_csv(path, chunksize=100_000); of a folder with other "
            "files in it the list of its Parquet files as a pyarrow.dataset.dataset."
        ) from error


def frame_of(batch: Any) -> pd.DataFrame:
    """A batch or table of pyarrow as a pandas frame whose dtypes do not depend on its holes."""
    pyarrow = import_pyarrow()
    nullable = {getattr(pyarrow, f"u{n}")(): getattr(pd, f"U{n.title()}Dtype")() for n in _INTS}
    nullable |= {getattr(pyarrow, n)(): getattr(pd, f"{n.title()}Dtype")() for n in _INTS}
    nullable[pyarrow.bool_()] = pd.BooleanDtype()
    return batch.to_pandas(types_mapper=nullable.get)


_INTS = ("int8", "int16", "int32", "int64")


def _batches(pyarrow: Any, source: Any, size: int, columns: Sequence[str] | None) -> Iterator[Any]:
    if isinstance(source, str | os.PathLike):
        yield from _of_path(pyarrow, Path(source), size, columns)
    elif type(source).__name__ == "ParquetFile":
        _check_columns(columns, source.schema_arrow.names, source)
        yield from source.iter_batches(batch_size=size, columns=columns, use_threads=False)
    elif type(source).__name__ in ("Scanner", "RecordBatchReader"):
        if columns is not None:
            raise ValueError(
                f"columns={list(columns)} cannot be chosen of a {type(source).__name__}: choose "
                "them where it is made."
            )
        yield from source.to_batches() if hasattr(source, "to_batches") else source
    else:
        _check_columns(columns, source.schema.names, source)
        yield from source.to_batches(columns=columns, **_scan(pyarrow, size))


def _of_path(pyarrow: Any, path: Path, size: int, columns: Sequence[str] | None) -> Iterator[Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file or folder {str(path)!r}. Give the path of a Parquet file or of a "
            "folder of them; of remote ones a pyarrow.dataset.Dataset."
        )
    dataset = pyarrow.dataset.dataset(str(path), format="parquet", partitioning="hive")
    fragments = list(dataset.get_fragments())
    if not fragments:
        raise ValueError(f"The folder {str(path)!r} holds no Parquet file.")
    first = fragments[0].physical_schema
    _check_columns(columns, dataset.schema.names, path)
    # Of folders' names; each file is read as it is, so that files may differ in dtypes.
    more = [field for field in dataset.schema if field.name not in first.names]
    for fragment in fragments:
        own = fragment.physical_schema
        if own.names != first.names:
            raise ValueError(
                f"File {fragment.path!r} has the columns {own.names}, but {fragments[0].path!r} "
                f"has {first.names}: {_difference(own.names, first.names)}. Write all files with "
                "the same columns."
            )
        schema = own
        for field in more:
            schema = schema.append(field)
        yield from fragment.to_batches(schema=schema, columns=columns, **_scan(pyarrow, size))


def _check_columns(columns: Sequence[str] | None, names: list[str], source: Any) -> None:
    unknown = [name for name in columns or () if name not in names]
    if unknown:
        raise ValueError(
            f"{_name(source)} has no columns {unknown}, which columns= asks for; it has "
            f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}."
        )


def _scan(pyarrow: Any, size: int) -> dict[str, Any]:
    """One batch at a time, for memory's sake."""
    options = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
    return {
        "batch_size": size,
        "batch_readahead": 1,
        "fragment_readahead": 1,
        "use_threads": False,
        "fragment_scan_options": options,
    }


def _joined(pyarrow: Any, batches: Iterable[Any], size: int) -> Iterator[Any]:
    """Tables of `size` rows from batches of any; a new schema begins a new table."""
    held: list[Any] = []
    for batch in batches:
        if held and not held[0].schema.equals(batch.schema):
            yield _table(pyarrow, held)
            held = []
        while sum(map(len, held)) + len(batch) >= size:
            room = size - sum(map(len, held))
            yield _table(pyarrow, [*held, batch.slice(0, room)])
            held, batch = [], batch.slice(room)
        if len(batch):
            held.append(batch)
    if held:
        yield _table(pyarrow, held)


def _table(pyarrow: Any, batches: list[Any]) -> Any:
    return pyarrow.Table.from_batches(batches).unify_dictionaries()


def _difference(names: list[str], wanted: list[str]) -> str:
    """How one list of columns departs from another, in words."""
    missing = [name for name in wanted if name not in names]
    more = [name for name in names if name not in wanted]
    parts = [f"{missing} missing"] * bool(missing) + [f"{more} unknown"] * bool(more)
    return ", ".join(parts) or "another order"


def _name(source: Any) -> str:
    is_path = isinstance(source, str | os.PathLike)
    return repr(str(source)) if is_path else f"The {type(source).__name__}"


def import_pyarrow() -> Any:
    """The package with its readers and writers of Parquet."""
    try:
        import pyarrow.dataset
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow: pip install 'skvae[parquet]', or give the table as frames."
        ) from error
    return pyarrow
