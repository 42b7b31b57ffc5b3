"""Tables that exceed memory, part by part: what to read them with, and what to fill them with.

Every estimator's `fit` takes the same sources as `iter_chunks`, but for tables in memory, which
it takes whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skvae.tabular.chunks import CHUNK_SIZE, check_names, is_frame, iter_chunks
from skvae.tabular.writing import ParquetSink

__all__ = ["iter_chunks", "map_chunks"]


def map_chunks(
    method: Callable[[Any], Any],
    source: Any,
    *,
    chunk_size: int = CHUNK_SIZE,
    columns: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    out: str | os.PathLike | None = None,
) -> Iterator[Any] | Path:
    """Fill, score or predict a table part by part.

    Rows do not hang on one another: the parts together are what the method says of the whole
    table, up to rounding.

    Parameters
    ----------
    method : callable
        Of a fitted estimator, such as ``imputer.transform`` or ``detector.score_samples``; called
        with one part at a time.
    source : DataFrame, array-like, path, pyarrow reader, or iterable of tables
        As of `iter_chunks`.
    chunk_size : int, default=65536
        Rows of a part, at most.
    columns : sequence of str or None, default=None
        Those to read of the source; None is all of them.
    keep : sequence of str or None, default=None
        Columns that the method does not see, and that stand before its results: the numbers of
        customers, for example. Results are frames then.
    out : str, path-like or None, default=None
        A Parquet file to write results to, named so. It is there once all of it is written, in
        place of a file of that name; it has no index: `keep` a column that says which row is which.

    Returns
    -------
    iterator of results, or Path
        With `out` its path. Without, results come one by one as they are asked for.

    Raises
    ------
    ValueError, TypeError
        If there are no rows, a part is no table, or results are no table, or of types that change,
        or `out` is no Parquet file, or part of the source.
    ImportError
        If pyarrow is needed and not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEImputer
    >>> from skvae.chunks import map_chunks
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> X[::3, 0] = np.nan
    >>> imputer = VAEImputer(hidden_layer_sizes=(), random_state=0).fit(X)
    >>> [part.shape for part in map_chunks(imputer.transform, X, chunk_size=60)]
    [(60, 3), (40, 3)]
    """
    if not callable(method):
        raise TypeError(
            f"method must be a method of a fitted estimator, such as imputer.transform, got "
            f"{type(method).__name__}."
        )
    if out is not None:
        _check_target(Path(out), source)
    check_names(columns=columns, keep=keep)
    if keep is not None and columns is not None:
        columns = [*keep, *(name for name in columns if name not in keep)]
    parts = iter_chunks(source, chunk_size, columns=columns)
    results = _results(method, parts, None if keep is None else list(keep))
    return results if out is None else _write(results, method, out)


def _results(method: Callable, parts: Iterator[Any], keep: list[str] | None) -> Iterator[Any]:
    number = -1
    for number, part in enumerate(parts):
        yield method(part) if keep is None else _beside(method, part, keep, number)
    if number < 0:
        raise ValueError("The source has no rows (n_samples=0): it is empty, or was read before.")


def _beside(method: Callable, part: Any, keep: list[str], number: int) -> pd.DataFrame:
    """Results with columns of the part before them."""
    if not isinstance(part, pd.DataFrame):
        raise TypeError(
            f"keep={keep} names columns of frames of pandas, or of files; chunk {number} of X is "
            f"of type {type(part).__name__}."
        )
    missing = [name for name in keep if name not in part.columns]
    if missing:
        raise ValueError(f"Chunk {number} of X has no columns {missing}, which keep= asks for.")
    result = _as_frame(method(part.drop(columns=keep)), method)
    if not isinstance(result, pd.DataFrame):  # of set_output
        result = result.to_pandas()
    twice = [name for name in keep if name in result.columns]
    if twice:
        raise ValueError(f"The results of {_name(method)} have columns {twice} of their own.")
    return pd.concat([part[keep], result.set_axis(part.index)], axis=1)


def _check_target(out: Path, source: Any) -> None:
    """Raise ValueError where results would be written over what they are read from."""
    if out.suffix not in (".parquet", ".pq"):
        raise ValueError(f"out={str(out)!r} is written as Parquet: name it {out.stem}.parquet.")
    written = out.resolve()
    for path in source if isinstance(source, list | tuple) else [source]:
        if not isinstance(path, str | os.PathLike):
            continue
        read = Path(path).resolve()
        if read == written or read in written.parents:
            raise ValueError(
                f"out={str(out)!r} is part of the source {str(path)!r}: write elsewhere."
            )


def _write(results: Iterator[Any], method: Callable, out: str | os.PathLike) -> Path:
    with ParquetSink(out) as sink:
        for result in results:
            sink.write(_as_frame(result, method))
    return Path(out)


def _as_frame(result: Any, method: Callable) -> Any:
    """A result with names for its columns."""
    if is_frame(result):
        return result
    name = _name(method)
    if isinstance(result, np.ndarray | pd.Series) and result.ndim == 1:
        return pd.DataFrame({name: np.asarray(result)})
    if not isinstance(result, np.ndarray) or result.ndim != 2:
        raise TypeError(
            f"{name} gives a {type(result).__name__}, which is no table to write. Leave out=None "
            "and write what you need of it."
        )
    return pd.DataFrame(result, columns=_names(method, name, result.shape[1]))


def _name(method: Callable) -> str:
    return getattr(method, "__name__", "result")


def _names(method: Callable, name: str, width: int) -> list[str]:
    """Of the columns of an array, as the estimator has them where it does."""
    estimator = getattr(method, "__self__", None)
    if name == "transform" and hasattr(estimator, "get_feature_names_out"):
        return [str(one) for one in estimator.get_feature_names_out()]
    if name.startswith("predict_") and len(getattr(estimator, "classes_", ())) == width:
        return [str(one) for one in estimator.classes_]
    return [f"{name}{j}" for j in range(width)]
