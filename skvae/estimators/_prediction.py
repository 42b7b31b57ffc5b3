"""Encoded rows to conditional means, draws, bounds and log-densities in the table's own units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from skvae.inference import Ensemble, Table
from skvae.inference.calibration import ErrorCalibration
from skvae.inference.devices import CPU
from skvae.inference.scored import ScoredRows, Share
from skvae.inference.session import where_it_is
from skvae.tabular.scaling import LARGEST, TableScaler

# Rows whose features and statistics, one for every level, are held at once. A multiple of the rows
# that densities draw for together: draws do not hang on it.
ROWS_AT_ONCE = 8192


def scaled_table(scaler: TableScaler, values: np.ndarray, observed: np.ndarray) -> Table:
    """Encoded rows as the models take them.

    Parameters
    ----------
    scaler : TableScaler
    values : ndarray of shape (n, p)
        As `TableCodec.encode` returns them, 0 where not observed.
    observed : bool ndarray of shape (n, p)

    Raises
    ------
    ValueError
        If a value is too far from those seen at fit for single precision.
    """
    targets = scaler.targets(values, observed)  # first: it refuses what does not fit
    return Table(
        torch.as_tensor(scaler.features(values, observed)),
        torch.as_tensor(targets),
        torch.as_tensor(observed),
        torch.as_tensor(scaler.feature_columns),
    )


@dataclass(frozen=True, eq=False)
class Hidden:
    """Columns whose holes say something about the values that they hide.

    Attributes
    ----------
    columns : bool ndarray of shape (p,)
    low, high : ndarray of shape (p,)
        No hidden value is beyond these.
    """

    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray


class TablePredictor:
    """What a fitted ensemble says about encoded rows; `values` and `observed` are (n, p).

    Parameters
    ----------
    ensemble : Ensemble or None
        None where no column varies: then p is 0 and there is nothing to predict.
    scaler : TableScaler or None
    calibration : ErrorCalibration or None
    hidden : Hidden or None
        None where all holes are ignorable. In its columns draws and bounds are the density's own,
        and conditional means may be far from what was seen.
    """

    def __init__(
        self,
        ensemble: Ensemble | None = None,
        scaler: TableScaler | None = None,
        calibration: ErrorCalibration | None = None,
        hidden: Hidden | None = None,
    ) -> None:
        self.ensemble, self.scaler, self.calibration = ensemble, scaler, calibration
        self.hidden = hidden

    @property
    def device(self) -> torch.device:
        """Where the ensemble is."""
        return CPU if self.ensemble is None else self.ensemble.weights.device

    def uninflated(self) -> TablePredictor:
        """The same, for draws beside those of other models of the table.

        Held-out errors are wider than a model has them because it might have been another one:
        that, draws from several models show by themselves.
        """
        calibration = None if self.calibration is None else self.calibration.uninflated()
        return TablePredictor(self.ensemble, self.scaler, calibration, self.hidden)

    @where_it_is
    def points(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """`values` with conditional means and most probable codes where not observed."""
        filled = values.copy()
        for rows, table in self._parts(values, observed):
            filled[rows] = np.where(observed[rows], values[rows], self._centre(table))
        return filled

    def draws(
        self, values: np.ndarray, observed: np.ndarray, n_draws: int, random: np.random.RandomState
    ) -> Iterator[np.ndarray]:
        """Yield `values` with draws where not observed.

        Draws of the density are moved to the ensemble's conditional mean and spread as far as
        held-out errors are. None is further from its mean than the range seen at fit is wide.
        Where values repeat, draws are the nearest of those seen, unless holes hide others.
        """
        rows = _with_holes(observed)
        if not rows.size:
            for _ in range(n_draws):
                yield values.copy()
            return
        scaler, seed = self.scaler, int(random.randint(2**31 - 1))
        drawn, centre, mean = self._drawn(values, observed, n_draws, seed)
        kinds = np.array(scaler.kinds)
        # Columns with a floor are moved by a factor, so that no draw falls below it.
        floored = np.isin(kinds, ["positive", "count"])
        ratio = np.divide(centre, mean, out=np.ones_like(mean), where=floored & (mean > 0))
        ratio = np.minimum(ratio, 10.0)
        most = 2 * np.where(kinds == "count", scaler.high, 0.0)
        for place in range(n_draws):
            draw = scaler.from_targets(drawn[place].astype(np.float64))
            with np.errstate(over="ignore"):
                away = np.clip(
                    self.calibration.inflation * (draw - mean), -self._width, self._width
                )
                moved = np.where(kinds == "continuous", centre + away, draw * ratio)
            # Rounding to the nearest count would pull scaled draws to zero; this keeps the mean.
            whole = np.floor(moved + random.random_sample(moved.shape))
            whole = np.minimum(whole, most)
            moved = np.where(kinds == "count", whole, moved)
            if self.hidden is not None:
                moved = np.where(self.hidden.columns, draw, moved)
            filled = values.copy()
            moved = self._within(moved)
            filled[rows] = np.where(self._ignorable, as_seen(scaler, moved), moved)
            yield np.where(observed, values, filled)

    @where_it_is
    def _drawn(
        self, values: np.ndarray, observed: np.ndarray, n_draws: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of the density (n_draws, n, p), the ensemble's conditional means and its own.

        Of the rows with holes.
        """
        generator = torch.Generator().manual_seed(seed)
        each = [
            (
                self.ensemble.draw(table, n_draws, generator).numpy(),
                self._centre(table),
                self._raw(self.ensemble.moments(table)[0]),
            )
            for _, table in self._parts(values, observed)
        ]
        drawn, centres, means = zip(*each, strict=True)
        return np.concatenate(drawn, axis=1), np.concatenate(centres), np.concatenate(means)

    @where_it_is
    def bounds(
        self, values: np.ndarray, observed: np.ndarray, coverage: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """`values` with the lower and the upper end of an interval where not observed."""
        scaler, lower, upper = self.scaler, values.copy(), values.copy()
        for rows, table in self._parts(values, observed):
            points = self._centre(table)
            with np.errstate(over="ignore"):
                spread = self.ensemble.moments(table)[1].double().sqrt().numpy() * scaler.scale
            # What varies within a range has no larger deviation; fmin also passes over NaN.
            spread = np.where(scaler.numeric, np.fmin(spread, self._width), 0.0)
            ends = self.calibration.bounds(coverage)
            own = self._quantiles(table, (0.5 * (1 - coverage), 0.5 * (1 + coverage)))
            for bound, steps, quantile in zip((lower, upper), ends, own, strict=True):
                with np.errstate(over="ignore"):
                    end = self._within(quantile(points + steps * spread))
                bound[rows] = np.where(observed[rows], values[rows], end)
        return lower, upper

    @where_it_is
    def log_prob(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Log-density of every row's observed part in the table's units, float64 of shape (n,)."""
        if self.ensemble is None:
            return np.zeros(len(values))
        jacobian = self.scaler.log_jacobians(observed)
        scores = self._by_row(self.ensemble.log_prob, values, observed) + jacobian
        # Saying nothing is certain, unless holes say something.
        return scores if self.hidden is not None else np.where(observed.any(axis=1), scores, 0.0)

    @where_it_is
    def scored(self, values: np.ndarray, observed: np.ndarray, seed: int) -> ScoredRows:
        """Rows beside the density's members; there must be some."""
        table, density = self._table(values, observed), self.ensemble.density
        jacobian = self.scaler.log_jacobians(observed)
        jacobian = jacobian + density.log_jacobian(table).double().numpy()
        silent = ~observed.any(axis=1) & (self.hidden is None)
        return ScoredRows((Share(density.model, table),), jacobian, silent, seed)

    @where_it_is
    def effective_sample_size(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Of the samples behind every row's estimates, mean over members; float64 of shape (n,)."""
        if self.ensemble is None:
            return np.ones(len(values))
        return self._by_row(self.ensemble.effective_sample_size, values, observed)

    def _table(self, values: np.ndarray, observed: np.ndarray) -> Table:
        return scaled_table(self.scaler, values, observed)

    def _parts(
        self, values: np.ndarray, observed: np.ndarray
    ) -> Iterator[tuple[np.ndarray, Table]]:
        """Rows with holes, some at a time: their places, and as the models take them."""
        holed = _with_holes(observed)
        for start in range(0, len(holed), ROWS_AT_ONCE):
            rows = holed[start : start + ROWS_AT_ONCE]
            yield rows, self._table(values[rows], observed[rows])

    def _by_row(
        self, ask: Callable[[Table], torch.Tensor], values: np.ndarray, observed: np.ndarray
    ) -> np.ndarray:
        """One number for every row, float64."""
        out = np.empty(len(values))
        for start in range(0, len(values), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            out[rows] = ask(self._table(values[rows], observed[rows])).double().numpy()
        return out

    def _centre(self, table: Table) -> np.ndarray:
        """Conditional means, no further out than half the width of the range at fit, and codes."""
        scaler = self.scaler
        points = self._raw(self.ensemble.point(self.ensemble.statistics(table)))
        reach = np.where(scaler.numeric, 0.5 * self._width, np.inf)
        if self.hidden is not None:
            reach = np.where(self.hidden.columns, np.inf, reach)
        with np.errstate(over="ignore"):
            points = np.clip(points, scaler.low - reach, scaler.high + reach)
        return self._within(points)

    def _raw(self, means: torch.Tensor) -> np.ndarray:
        """Finite numbers in the table's units, from regression units."""
        with np.errstate(over="ignore"):
            raw = means.double().numpy() * self.scaler.scale + self.scaler.mean
        return np.clip(raw, -LARGEST, LARGEST)

    def _within(self, raw: np.ndarray) -> np.ndarray:
        """Values that the columns can have, and holes can hide."""
        known = within_domain(self.scaler, raw)
        if self.hidden is None:
            return known
        hidden = np.clip(raw, self.hidden.low, self.hidden.high)
        return np.where(self.hidden.columns, hidden, known)

    def _quantiles(
        self, table: Table, levels: tuple[float, float]
    ) -> list[Callable[[np.ndarray], np.ndarray]]:
        """By level, what puts the density's own quantiles in place of others' where holes tell."""
        if self.hidden is None:
            return [lambda bound: bound] * len(levels)
        numeric = np.flatnonzero(self.scaler.numeric)
        used = self.hidden.columns
        found = self.ensemble.density.quantiles(table, levels).double().numpy()

        def put(bound: np.ndarray, level: int) -> np.ndarray:
            own = bound.copy()
            own[:, numeric] = found[level]
            return np.where(used, self.scaler.from_targets(own), bound)

        return [partial(put, level=level) for level in range(len(levels))]

    @property
    def _ignorable(self) -> np.ndarray | bool:
        """Columns whose holes hide what is seen elsewhere, too."""
        return True if self.hidden is None else ~self.hidden.columns

    @property
    def _width(self) -> np.ndarray:
        """Of the range of each column at fit."""
        with np.errstate(over="ignore"):
            return np.minimum(self.scaler.high - self.scaler.low, LARGEST)


def within_domain(scaler: TableScaler, raw: np.ndarray) -> np.ndarray:
    """Keep numbers finite, positive columns positive, and no sign that a column never had."""
    kinds = np.array(scaler.kinds)
    # Ages and amounts are floats or integers that no dtype calls non-negative.
    never_negative = scaler.numeric & (scaler.low >= 0)
    floor = np.where((kinds == "count") | never_negative, 0.0, -LARGEST)
    floor = np.where(kinds == "positive", 0.5 * scaler.low, floor)
    return np.clip(raw, floor, LARGEST)


def as_seen(scaler: TableScaler, raw: np.ndarray) -> np.ndarray:
    """Numbers (n, p) of columns whose values repeat, moved to the nearest seen at fit.

    Counts stay: they already are drawn among whole numbers.
    """
    snapped = raw.copy()
    for j, (kind, levels) in enumerate(zip(scaler.kinds, scaler.levels, strict=True)):
        if len(levels) and kind != "count":
            between = 0.5 * levels[1:] + 0.5 * levels[:-1]
            snapped[:, j] = levels[np.searchsorted(between, raw[:, j])]
    return snapped


def _with_holes(observed: np.ndarray) -> np.ndarray:
    return np.flatnonzero(~observed.all(axis=1))
