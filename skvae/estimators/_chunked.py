"""Fitting on tables that are too long, come in parts, or grow."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pandas.api.types import is_numeric_dtype
from sklearn.base import BaseEstimator, OutlierMixin, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from skvae.estimators._labels import (
    check_one_per_row,
    known_labels,
    label_array,
    require_labels,
)
from skvae.tabular.callers import user_level
from skvae.tabular.chunks import is_chunked, is_frame, iter_tables
from skvae.tabular.reservoir import KeptRows, Reservoir
from skvae.tabular.table import Table, as_table
from skvae.training.run import current_run

Chunk = tuple[Table, "np.ndarray | None", "np.ndarray | None"]


class ChunkedFit(BaseEstimator):
    """From whatever `fit` may be given to rows in memory, and fits that go on."""

    # Of estimators that are fitted by `partial_fit`.
    _seen: Reservoir | None
    # Whether `y` has labels.
    _learns_labels = False

    def _rows_to_learn(self, X: Any, y: Any = None, sample_weight: Any = None) -> tuple:
        """X, y and weights as a table in memory with at most `subsample` rows, or little more."""
        if isinstance(X, KeptRows):  # of `partial_fit`
            return X.table, X.labels, X.weight
        vars(self).pop("_seen", None)  # a fit starts anew
        named = isinstance(sample_weight, str) or (self._learns_labels and isinstance(y, str))
        if not named and not is_chunked(X):
            X = X if is_frame(X) else as_table(X)
            n = X.n_rows if isinstance(X, Table) else len(X)
            if self.subsample is None or n <= self.subsample:
                return X, y, sample_weight
        kept = self._reservoir()
        self._see(kept, X, y, sample_weight)
        rows = kept.rows()
        return rows.table, rows.labels, rows.weight

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learn more rows, together with what was kept of all rows that earlier calls have seen.

        Afterwards the estimator is what `fit` makes of all of them, if `random_state` is an
        integer. Every call costs a fit: to learn many chunks at once give them to `fit` as a list,
        an iterator or a file. What is kept, `subsample` rows at most and those that show what they
        lack, is part of the estimator, and of its pickle. If a call fails, its rows are forgotten.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or chunks as of `fit`
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), str or None
            As of `fit`.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If the columns are not those of earlier calls, or as `fit` does.

        Warns
        -----
        UserWarning
            If the estimator was fitted by `fit`, which keeps no rows: their model is lost.
        """
        return self._fit_more(X, y, sample_weight)

    def _fit_more(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Any:
        before = dict(vars(self))
        seen = self._rows_so_far()
        if classes is not None:
            seen.announce(classes)
        try:
            self._see(seen, X, y, sample_weight, again=seen.model is not None)
            self.fit(seen.rows(), y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        self._seen = seen
        return self

    def _rows_so_far(self) -> Reservoir:
        """A copy of what earlier calls have kept."""
        seen = getattr(self, "_seen", None)
        if seen is None:
            if hasattr(self, "n_features_in_"):
                warnings.warn(
                    f"This {type(self).__name__} was fitted by fit, which keeps no rows to go on "
                    "from: partial_fit starts anew. Call it from the first rows on, or fit with "
                    "all chunks.",
                    UserWarning,
                    stacklevel=user_level(),
                )
            return self._reservoir()
        if seen.size != self.subsample:
            raise ValueError(
                f"subsample={self.subsample} was {seen.size} when partial_fit was first called. "
                "Set it back, or start anew with fit."
            )
        return seen.copy()

    def _reservoir(self) -> Reservoir:
        random, team = self.random_state, current_run().team
        if random is None and team.size > 1:  # all processes keep the same rows
            random = team.agree(int(check_random_state(None).randint(2**31 - 1)))
        return Reservoir(
            self.subsample,
            random,
            self.column_types,
            getattr(self, "missing_values", np.nan),
            self.max_categories,
        )

    # Chunks ---------------------------------------------------------------------------------

    def _see(
        self, kept: Reservoir, X: Any, y: Any, sample_weight: Any, again: bool = False
    ) -> None:
        """Show all rows to a reservoir; `again` where the columns are known."""
        for table, labels, weight in self._chunks(X, y, sample_weight):
            if again:
                validate_data(self, table.data, skip_check_array=True, reset=False)
            weight = np.ones(table.n_rows) if weight is None else weight
            known = None if labels is None else known_labels(labels)
            kept.add(table, labels, known, weight)

    def _chunks(self, X: Any, y: Any, sample_weight: Any) -> Iterator[Chunk]:
        """Parts of a table with their labels and weights."""
        if self._learns_labels:
            require_labels(y)
        else:
            y = None
        if not is_chunked(X):
            yield from self._cut(X if is_frame(X) else as_table(X), y, sample_weight)
            return
        for name, given in (("y", y), ("sample_weight", sample_weight)):
            if given is not None and not isinstance(given, str):
                raise TypeError(
                    f"X comes in chunks: {name} must be the name of one of their columns, got "
                    f"{type(given).__name__}. Add it to the chunks, for example with "
                    f"chunk.assign({name}=...), and pass {name}='{name}'."
                )
        for table in iter_tables(X):
            yield _without_named(table, y, sample_weight)

    def _cut(self, X: Any, y: Any, sample_weight: Any) -> Iterator[Chunk]:
        """Parts of a table in memory."""
        n = X.n_rows if isinstance(X, Table) else len(X)
        if y is not None and not isinstance(y, str):
            y = label_array(y)
            check_one_per_row(y, n)
        if sample_weight is not None and not isinstance(sample_weight, str):
            blank = np.empty((n, 1))
            sample_weight = _check_sample_weight(sample_weight, blank, dtype=np.float64)
            _check_weights(sample_weight)
        start = 0
        for table in iter_tables(X):
            rows = slice(start, start + table.n_rows)
            own = (v if v is None or isinstance(v, str) else v[rows] for v in (y, sample_weight))
            yield _without_named(table, *own)
            start += table.n_rows


def refuse_chunks(X: Any) -> None:
    """Raise TypeError where one table is needed, and `X` is a source of several."""
    if is_chunked(X):
        raise TypeError(
            f"X is a source of tables ({type(X).__name__}), which only fit takes. Ask part by "
            "part: skvae.chunks.map_chunks(estimator.transform, X), for example."
        )


def _of_one_table(method: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse sources of several tables before anything is learnt of them."""

    @functools.wraps(method)
    def checked(self: Any, X: Any, y: Any = None, **fit_params: Any) -> Any:
        refuse_chunks(X)
        return method(self, X, y, **fit_params)

    return checked


class FitTransform(TransformerMixin):
    """`fit_transform`, of one table."""

    fit_transform = _of_one_table(TransformerMixin.fit_transform)


class FitPredict(OutlierMixin):
    """`fit_predict`, of one table."""

    fit_predict = _of_one_table(OutlierMixin.fit_predict)


def _without_named(table: Table, y: Any, sample_weight: Any) -> Chunk:
    """A chunk without the columns that have its labels and weights, and these."""
    labels, weight = y, sample_weight
    if isinstance(y, str):
        table, column = _pop(table, y, "y")
        labels = label_array(column)
    if isinstance(sample_weight, str):
        table, column = _pop(table, sample_weight, "sample_weight")
        if not is_numeric_dtype(column.dtype):
            raise TypeError(f"sample_weight={sample_weight!r} names a column without numbers.")
        weight = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if not np.isfinite(weight).all():
            raise ValueError(
                f"sample_weight={sample_weight!r} names a column with holes or infinite weights."
            )
        _check_weights(weight)
    return table, labels, weight


def _pop(table: Table, name: str, what: str) -> tuple[Table, Any]:
    if name not in table.names:
        raise ValueError(
            f"{what}={name!r} names no column of X, which has: "
            f"{', '.join(map(str, table.names[:20]))}."
        )
    return table.without(name), table.column(table.names.index(name))


def _check_weights(weight: np.ndarray) -> None:
    if (weight < 0).any():
        raise ValueError("sample_weight must be non-negative and not zero everywhere.")
