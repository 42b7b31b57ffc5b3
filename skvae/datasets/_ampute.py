"""Hide entries of a table completely at random, at random, or not at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import expit

Table = np.ndarray | pd.DataFrame


def ampute(
    X: Any,
    mechanism: str = "mcar",
    *,
    rate: float = 0.3,
    columns: Sequence[Any] | None = None,
    fraction_drivers: float = 0.3,
    strength: float = 2.0,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> Table:
    """Return a copy of a table with some of its entries hidden.

    Three mechanisms, in Rubin's (1976) sense. Every entry is hidden by its own coin flip;
    the mechanisms differ in what the odds depend on:

    - ``"mcar"``, completely at random: on nothing.
    - ``"mar"``, at random: some columns, the drivers, are never hidden. In every other column
      the log-odds are a random linear combination of the drivers.
    - ``"mnar"``, not at random: in each column the log-odds are linear in the column's own
      value, so that high values or low values (a coin decides, per column) tend to be absent.

    The intercept of each column's log-odds is solved for, so that its expected share of hidden
    entries is `rate`.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features)
        The table. Holes it has already (NaN, ``None``, ``pd.NA``) stay.
    mechanism : {"mcar", "mar", "mnar"}, default="mcar"
        What the odds of a hole depend on.
    rate : float, default=0.3
        Expected share of hidden entries among the observed entries of the columns that may lose
        entries, strictly between 0 and 1. Those are all columns for "mcar" and "mnar", and all
        but the drivers for "mar".
    columns : sequence of labels (DataFrame) or positions (array), default=None
        The columns that may lose entries; the others stay as they are. With "mar" the drivers
        are then all the other columns. ``None`` means every column or, for "mar", every column
        but randomly chosen drivers.
    fraction_drivers : float, default=0.3
        Share of the columns that drive the holes of the others. At least one column drives and
        at least one loses entries. Used by "mar" when `columns` is ``None``.
    strength : float, default=2.0
        Standard deviation of the log-odds over the rows; 0 makes every mechanism "mcar".
    random_state : int, RandomState, Generator or None, default=None
        Source of the coin flips. An int gives the same holes on every call. NumPy's global
        random state is neither read nor changed.

    Returns
    -------
    X_amputed : ndarray or DataFrame of shape (n_samples, n_features)
        A new table; its mask is ``pd.isna(X_amputed)``. Arrays of floats keep their dtype,
        integers and booleans become float64, anything else becomes object with NaN holes.
        Frames keep index, column names and the dtypes that can express a hole (floats,
        nullable, ``category``, strings, object); columns that lose an entry turn from plain
        integers to float64 and from plain ``bool`` to nullable ``boolean``.

    Raises
    ------
    TypeError
        If `X` is sparse, complex, or a frame of another library.
    ValueError
        If `X` is not two-dimensional or has no entries, if an option is out of range or unknown,
        or if "mar" is left without a driver.

    Notes
    -----
    Columns enter the log-odds standardised. Categories and other values that are not numbers
    enter by their code: their position among the sorted values, or among the categories of a
    ``category`` column. A hole in a driver counts as the driver's mean.

    A row that would lose its last entry takes one back, and another row, drawn with its own
    odds, loses that column's entry instead: the rate is kept and no row is empty, as long as
    the rate allows it. Each column that had an observed entry keeps at least one.

    References
    ----------
    Rubin, D. B. (1976). Inference and missing data. Biometrika 63(3), 581-592.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.datasets import ampute
    >>> X = np.arange(12.0).reshape(4, 3)
    >>> np.isnan(ampute(X, rate=0.5, random_state=0)).shape
    (4, 3)
    """
    table = _as_table(X)
    _check_options(mechanism, rate, fraction_drivers, strength)
    generator = _as_generator(random_state)
    values = _codes(table)
    observed = ~pd.isna(table) if isinstance(table, np.ndarray) else table.notna().to_numpy()
    targets = _positions(table, columns)

    drivers = np.setdiff1d(np.arange(values.shape[1]), targets)
    if mechanism == "mar":
        if columns is None:
            drivers = _choose_drivers(values.shape[1], fraction_drivers, generator)
            targets = np.setdiff1d(targets, drivers)
        elif len(drivers) == 0:
            raise ValueError(
                "mechanism='mar' has no driver left: `columns` names every column. Leave out at "
                "least one column that stays observed."
            )
    log_odds = _MECHANISMS[mechanism](values, targets, drivers, generator)
    probability = np.zeros(observed.shape)
    for j, scores in log_odds.items():
        rows = observed[:, j]
        if rows.any():
            probability[rows, j] = _calibrated(strength * scores[rows], rate)
    hidden = generator.random(observed.shape) < probability
    _keep_rows(hidden, observed, probability, generator)
    _keep_columns(hidden, observed, generator)
    return _with_holes(table, hidden)


# --------------------------------------------------------------------------------- mechanisms


def _mcar(
    values: np.ndarray, targets: np.ndarray, drivers: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    return {j: np.zeros(len(values)) for j in targets}


def _mar(
    values: np.ndarray, targets: np.ndarray, drivers: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    known = np.column_stack([_standardised(values[:, k], k) for k in drivers])
    scores = {}
    for j in targets:
        combined = known @ rng.standard_normal(len(drivers))
        spread = combined.std()
        scores[j] = combined / spread if spread > 0 else combined
    return scores


def _mnar(
    values: np.ndarray, targets: np.ndarray, drivers: np.ndarray, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    signs = rng.choice([-1.0, 1.0], size=len(targets))
    return {j: s * _standardised(values[:, j], j) for j, s in zip(targets, signs, strict=True)}


_MECHANISMS: dict[str, Callable[..., dict[int, np.ndarray]]] = {  # log-odds up to an intercept
    "mcar": _mcar,
    "mar": _mar,
    "mnar": _mnar,
}


def _choose_drivers(n_features: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    if n_features < 2:
        raise ValueError("mechanism='mar' needs at least two columns: one drives the others.")
    n_drivers = min(max(1, round(fraction * n_features)), n_features - 1)
    return np.sort(rng.permutation(n_features)[:n_drivers])


def _standardised(values: np.ndarray, column: int) -> np.ndarray:
    """Observed values to mean 0 and standard deviation 1, holes to 0."""
    if np.isinf(values).any():
        raise ValueError(
            f"Column {column} (counting from 0) has infinite values, so that its log-odds are "
            "undefined. Replace them, or use mechanism='mcar'."
        )
    seen = values[~np.isnan(values)]
    if len(seen) == 0 or np.ptp(seen) == 0:
        return np.zeros(len(values))
    scale = np.abs(seen).max()  # so that the square of a huge value stays finite
    centred = values / scale - (seen / scale).mean()
    return np.nan_to_num(centred / (seen / scale).std())


def _calibrated(log_odds: np.ndarray, rate: float) -> np.ndarray:
    """Probabilities whose mean is `rate`, the intercept being the unknown."""
    reach = 40.0 + np.abs(log_odds).max()
    intercept = brentq(lambda b: expit(log_odds + b).mean() - rate, -reach, reach)
    return expit(log_odds + intercept)


# ------------------------------------------------------------------- nothing is wholly hidden


def _keep_rows(
    hidden: np.ndarray, observed: np.ndarray, probability: np.ndarray, rng: np.random.Generator
) -> None:
    """Swap holes between rows, within columns, until no row is empty (in place)."""
    emptied = np.flatnonzero(~(observed & ~hidden).any(axis=1) & hidden.any(axis=1))
    if len(emptied) == 0:
        return
    column_given_back = np.array([rng.choice(np.flatnonzero(hidden[i])) for i in emptied])
    for j in np.unique(column_given_back):
        left = observed & ~hidden
        donors = np.flatnonzero(left[:, j] & (left.sum(axis=1) > 1) & (probability[:, j] > 0))
        rescued = rng.permutation(emptied[column_given_back == j])[: len(donors)]
        if len(rescued) == 0:
            continue
        weights = probability[donors, j] / probability[donors, j].sum()
        hidden[rescued, j] = False
        hidden[rng.choice(donors, size=len(rescued), replace=False, p=weights), j] = True


def _keep_columns(hidden: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> None:
    """Give one entry back to each column that would lose its last one (in place)."""
    for j in np.flatnonzero(~(observed & ~hidden).any(axis=0) & observed.any(axis=0)):
        hidden[rng.choice(np.flatnonzero(observed[:, j])), j] = False


# ------------------------------------------------------------------------- tables in and out


def _as_table(X: Any) -> Table:
    if sparse.issparse(X):
        raise TypeError("X is sparse; ampute needs a dense table. Use X.toarray().")
    if isinstance(X, pd.DataFrame):
        table: Table = X
    elif hasattr(X, "columns"):
        raise TypeError(
            f"X is a {type(X).__module__}.{type(X).__name__}; ampute takes arrays and pandas "
            "frames. Use X.to_pandas() or X.to_numpy()."
        )
    else:
        table = np.asarray(X)
        if table.dtype.kind == "c":
            raise TypeError("X is complex; ampute needs real numbers, categories or strings.")
        if table.dtype.kind in "biu":
            table = table.astype(np.float64)
        elif table.dtype.kind != "f":
            table = table.astype(object)
    if table.ndim != 2:
        raise ValueError(f"X must have two dimensions (rows, columns), got shape {table.shape}.")
    if 0 in table.shape:
        raise ValueError(f"X has no entries: its shape is {table.shape}.")
    return table


def _codes(table: Table) -> np.ndarray:
    """The table as floats, with NaN for holes and codes for what is not a number."""
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    return np.column_stack([_column_codes(frame.iloc[:, j]) for j in range(frame.shape[1])])


def _column_codes(column: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy(dtype=float)
        return np.where(codes < 0, np.nan, codes)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    present = column.notna().to_numpy()
    result = np.full(len(column), np.nan)
    seen = column[present]
    try:
        result[present] = pd.to_numeric(seen).to_numpy(dtype=float)
    except (ValueError, TypeError):
        result[present] = np.unique(seen.astype(str).to_numpy(dtype=str), return_inverse=True)[1]
    return result


def _positions(table: Table, columns: Sequence[Any] | None) -> np.ndarray:
    n_features = table.shape[1]
    if columns is None:
        return np.arange(n_features)
    if isinstance(columns, str) or not len(columns):
        raise ValueError(f"columns must be a non-empty sequence of columns, got {columns!r}.")
    names = list(table.columns) if isinstance(table, pd.DataFrame) else list(range(n_features))
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ValueError(f"columns names {unknown}, which X lacks. Its columns are {names}.")
    wanted = set(columns)
    return np.array([j for j, name in enumerate(names) if name in wanted])


def _with_holes(table: Table, hidden: np.ndarray) -> Table:
    result = table.copy()
    if isinstance(result, np.ndarray):
        result[hidden] = np.nan
        return result
    for j in np.flatnonzero(hidden.any(axis=0)):
        column = result.iloc[:, j]
        if column.dtype == bool:
            column = column.astype("boolean")
        elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu":
            column = column.astype(np.float64)
        result.isetitem(j, column.mask(hidden[:, j]))
    return result


# ------------------------------------------------------------------------------------ options


def _check_options(mechanism: Any, rate: Any, fraction_drivers: Any, strength: Any) -> None:
    if mechanism not in _MECHANISMS:
        raise ValueError(f"mechanism must be one of {sorted(_MECHANISMS)}, got {mechanism!r}.")
    for name, value in (("rate", rate), ("fraction_drivers", fraction_drivers)):
        if not isinstance(value, Real) or not 0 < value < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}.")
    if not isinstance(strength, Real) or not 0 <= strength < np.inf:
        raise ValueError(f"strength must be a finite number of at least 0, got {strength!r}.")


def _as_generator(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    if random_state is None or isinstance(random_state, Integral):
        return np.random.default_rng(None if random_state is None else int(random_state))
    raise ValueError(
        f"random_state must be an int, a RandomState, a Generator or None, got {random_state!r}."
    )
