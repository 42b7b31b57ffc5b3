"""Parquet files written part by part."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import pandas as pd

from skvae.tabular.parquet import import_pyarrow


class ParquetSink:
    """A file that is there when all of it is written, and else is not.

    Parts go to a file beside it, which takes its place at the end of the `with` block, or is
    removed after an error.

    Parameters
    ----------
    path : str or path-like
        In a folder that exists. A file of that name is replaced.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"There is no folder {str(self.path.parent)!r} to write {self.path.name!r} to. "
                "Make it first."
            )
        if self.path.is_dir():
            raise IsADirectoryError(f"out={str(self.path)!r} is a folder: name a file in it.")
        self._pyarrow = import_pyarrow()
        # Readers of folders pass over names that begin with a dot.
        self._draft = self.path.with_name(f".{self.path.name}.{uuid4().hex}")
        self._writer: Any = None
        self._n_parts = 0

    def __enter__(self) -> ParquetSink:
        return self

    def write(self, frame: Any) -> None:
        """Append rows; columns have the names and types of the first.

        Parameters
        ----------
        frame : DataFrame of pandas or polars, or Table of pyarrow

        Raises
        ------
        ValueError
            If the columns are not those of the first part, or values do not fit into their types.
        """
        part = self._arrow(frame)
        if self._writer is None:
            self._writer = self._pyarrow.parquet.ParquetWriter(self._draft, part.schema)
        self._writer.write_table(self._like_first(part))
        self._n_parts += 1

    def _arrow(self, frame: Any) -> Any:
        pyarrow = self._pyarrow
        if isinstance(frame, pd.DataFrame):
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        else:
            table = frame.to_arrow() if hasattr(frame, "to_arrow") else frame
        for j, field in enumerate(table.schema):
            if pyarrow.types.is_dictionary(field.type):
                # How wide codes are hangs on how many levels a part has.
                kind = field.type
                wide = pyarrow.dictionary(pyarrow.int32(), kind.value_type, kind.ordered)
                table = table.set_column(j, field.with_type(wide), table.column(j).cast(wide))
        return table

    def _like_first(self, part: Any) -> Any:
        schema = self._writer.schema
        if part.schema.equals(schema):
            return part
        if part.schema.names != schema.names:
            raise ValueError(
                f"Part {self._n_parts} has the columns {part.schema.names}, the first "
                f"{schema.names}. Give all parts the same."
            )
        columns = []
        for name, wanted in zip(schema.names, schema.types, strict=True):
            try:
                columns.append(part.column(name).cast(wanted))
            except (self._pyarrow.ArrowInvalid, self._pyarrow.ArrowNotImplementedError) as error:
                raise ValueError(
                    f"Column {name!r} of part {self._n_parts} is of type "
                    f"{part.schema.field(name).type}, of the first {wanted}: {error}. Cast the "
                    "source's parts to the same dtypes, for example with chunk.astype({...})."
                ) from error
        return self._pyarrow.Table.from_arrays(columns, schema=schema)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None and self._writer is not None:
            os.replace(self._draft, self.path)
        else:
            self._draft.unlink(missing_ok=True)
