"""Observed entries hidden from an imputer, so that what it fills in can be compared with them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skvae.inspection.fitted import check_integer
from skvae.tabular import Column
from skvae.tabular.cells import normalise_missing, read_column
from skvae.tabular.coding import code_cells
from skvae.tabular.holes import with_holes
from skvae.tabular.table import as_table


def check_imputer(imputer: Any, X: Any) -> None:
    """Raise unless `imputer` is a fitted `VAEImputer` of tables such as `X`.

    Raises
    ------
    ValueError
        If it is not a `VAEImputer`, or `X` has other columns.
    NotFittedError
        If it has not been fitted.
    """
    if not hasattr(type(imputer), "sample_imputations"):
        raise ValueError(
            f"imputer must be a fitted VAEImputer, got {str(imputer)[:80]}. Of a pipeline, pass "
            "the last step, and X as that step sees it."
        )
    check_is_fitted(imputer)
    imputer._check_input(X)


def choose_columns(imputer: Any, columns: Any) -> np.ndarray:
    """Positions of the named columns, or of all that the imputer models, in the table's order.

    Raises
    ------
    ValueError
        If a column does not exist, is named twice or is not modelled.
    """
    codec = imputer._codec
    if columns is None:
        return codec.modelled
    if isinstance(columns, str | Integral):
        columns = [columns]
    names = [column.name for column in codec.columns]
    wanted = list(columns)
    unknown = [name for name in wanted if name not in names]
    if unknown or not wanted:
        raise ValueError(
            f"columns must name columns of X, got {columns!r}; X has {_shown(names)}."
            if not unknown
            else f"columns names {unknown}, which X lacks. Its columns are {_shown(names)}."
        )
    places = [names.index(name) for name in wanted]
    if len(set(places)) < len(places):
        raise ValueError(f"columns names a column twice: {wanted}.")
    for place in places:
        column = codec.columns[place]
        if column.status != "modelled":
            what = "is constant" if column.status == "constant" else "has no observed value"
            raise ValueError(
                f"Column {column.name!r} {what} in the table at fit: there is nothing to know of "
                "it. Leave it out of columns."
            )
    return np.sort(places)


def _shown(names: list[Hashable]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def read_values(column: Column, cells: Any, sentinel: Any = None) -> np.ndarray:
    """Numbers of one column, or codes of its levels.

    Parameters
    ----------
    column : Column
        As fitted.
    cells : Series or array of shape (n_samples,)
        Of a user's table, or of a filled one.
    sentinel : object
        A value that marks holes, None where there is none.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        NaN at holes and at levels that the model does not have.
    """
    read = read_column(cells, column.name, sentinel)
    if column.is_discrete:
        codes = code_cells(column, read)[0]
        return np.where(codes >= 0, codes, np.nan)
    return np.full(read.observed.shape, np.nan) if read.numbers is None else read.numbers


def read_filled(imputer: Any, filled: Any, place: int, column: Column) -> np.ndarray:
    """Numbers or codes of the column of `filled` that stands at `place` of the imputer's table."""
    out = int(np.searchsorted(imputer._codec.kept, place))
    cells = filled.iloc[:, out] if hasattr(filled, "iloc") else filled[:, out]
    if not isinstance(cells, pd.Series | np.ndarray):  # of the libraries that set_output knows
        cells = pd.Series(cells.to_numpy()).infer_objects()
    return read_values(column, cells)


@dataclass(frozen=True, eq=False)
class Trial:
    """A table with some entries hidden, and the imputer that is to fill them.

    Attributes
    ----------
    repeat : int
    imputer : VAEImputer
        Fitted.
    table : DataFrame or ndarray of shape (n_samples, n_features)
    rows : dict of int to ndarray of int
        Positions of the hidden entries, by column's position.
    truth : dict of int to ndarray of float64
        What they were: numbers or codes.
    columns : dict of int to Column
        What codes stand for.
    """

    repeat: int
    imputer: Any
    table: Any
    rows: dict[int, np.ndarray]
    truth: dict[int, np.ndarray]
    columns: dict[int, Column]

    def read(self, filled: Any, place: int) -> np.ndarray:
        """What a filled table has at the hidden entries of a column."""
        values = read_filled(self.imputer, filled, place, self.columns[place])
        return values[self.rows[place]]


def hide_entries(
    imputer: Any,
    X: Any,
    *,
    share: float,
    n_repeats: int,
    refit: bool,
    columns: Any,
    random_state: Any,
    numbers_only: bool = False,
) -> tuple[dict[int, Column], Iterator[Trial]]:
    """Hide a share of each column's observed entries, once or several times.

    Arguments are those of `overimpute`. They are checked here, and nothing is computed before the
    first trial is asked for.

    Returns
    -------
    columns : dict of int to Column
        Those of which entries are hidden, by position.
    trials : iterator of Trial
    """
    check_imputer(imputer, X)
    if not isinstance(share, Real) or isinstance(share, bool) or not 0 < float(share) < 1:
        raise ValueError(f"share must lie strictly between 0 and 1, got {share!r}.")
    if not isinstance(refit, bool | np.bool_):
        raise ValueError(f"refit must be True or False, got {refit!r}.")
    n_repeats = check_integer(n_repeats, "n_repeats")
    random = check_random_state(random_state)
    places = choose_columns(imputer, columns)
    if numbers_only:
        places = _numeric(imputer, places, columns is not None)
    values = _read_table(imputer, X, places)
    if columns is None:  # of a new table, some columns may be wholly absent
        values = {place: found for place, found in values.items() if not np.isnan(found).all()}
    if not values:
        raise ValueError(
            "X has no observed entry of any column that the imputer models: there is nothing to "
            "hide. Pass rows that have values, and check missing_values."
        )
    fitted = {place: imputer._codec.columns[place] for place in values}
    for place, found in values.items():
        _check_enough(fitted[place].name, int((~np.isnan(found)).sum()), float(share), bool(refit))
    trials = _trials(imputer, X, values, fitted, float(share), n_repeats, bool(refit), random)
    return fitted, trials


def _numeric(imputer: Any, places: np.ndarray, named: bool) -> np.ndarray:
    """Those of the columns that hold numbers."""
    of_levels = np.array([imputer._codec.columns[j].is_discrete for j in places])
    if named and of_levels.any():
        names = [imputer._codec.columns[j].name for j in places[of_levels]]
        raise ValueError(
            f"Columns {names} hold levels, which have no intervals: leave them out of columns."
        )
    if of_levels.all():
        raise ValueError(
            "The imputer models no numeric column, and only numbers have intervals. overimpute "
            "tells how often levels are right."
        )
    return places[~of_levels]


def _read_table(imputer: Any, X: Any, places: np.ndarray) -> dict[int, np.ndarray]:
    imputer._codec.encode(X)  # says what is wrong with cells, in the imputer's words
    table, sentinel = as_table(X), normalise_missing(imputer._codec.missing_values)
    read = imputer._codec.columns
    return {int(j): read_values(read[j], table.column(j), sentinel) for j in places}


def _n_hidden(n_observed: int, share: float) -> int:
    return max(1, round(share * n_observed))


def _check_enough(name: Hashable, n_observed: int, share: float, refit: bool) -> None:
    if not n_observed:
        raise ValueError(
            f"Column {name!r} has no observed entry in X: there is nothing to hide. Leave it out "
            "of columns."
        )
    if refit and _n_hidden(n_observed, share) == n_observed:
        raise ValueError(
            f"Column {name!r} has {n_observed} observed entries in X: hiding share={share:g} of "
            "them would leave none to fit to. Lower share, or name the other columns in columns=."
        )


def _trials(
    imputer: Any,
    X: Any,
    values: dict[int, np.ndarray],
    fitted: dict[int, Column],
    share: float,
    n_repeats: int,
    refit: bool,
    random: np.random.RandomState,
) -> Iterator[Trial]:
    shape = as_table(X).data.shape
    for repeat in range(n_repeats):
        hidden, rows = np.zeros(shape, dtype=bool), {}
        for place, found in values.items():
            seen = np.flatnonzero(~np.isnan(found))
            chosen = random.choice(seen, _n_hidden(len(seen), share), replace=False)
            rows[place] = np.sort(chosen)
            hidden[rows[place], place] = True
        table = with_holes(X, hidden)
        model = _refitted(imputer, table) if refit else imputer
        if not refit and not isinstance(table, pd.DataFrame):
            table = _named(imputer, table)
        truth = {place: values[place][where] for place, where in rows.items()}
        yield Trial(repeat, model, table, rows, truth, fitted)


def _named(imputer: Any, array: np.ndarray) -> Any:
    """Rows of another library's frame under the names that the imputer knows."""
    names = getattr(imputer, "feature_names_in_", None)
    return array if names is None else pd.DataFrame(array, columns=names)


def _refitted(imputer: Any, table: Any) -> Any:
    """The imputer's settings, fitted to another table."""
    fresh = sklearn.clone(imputer)
    # Further models are for draws only, and indicators tell nothing new.
    fresh.set_params(n_estimators=1, add_indicator=False)
    return fresh.fit(table)
