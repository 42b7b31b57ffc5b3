"""What a user says about the holes of a table, and what if that is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from skvae.estimators._bootstrap import draws_of_all
from skvae.estimators._missingness_report import (
    CANNOT_SETTLE,
    as_feature,
    as_number,
    report_frame,
)
from skvae.estimators._prediction import LARGEST, Hidden
from skvae.estimators._samples import SampledDensity
from skvae.tabular.scaling import TableScaler
from skvae.training import EnsembleFitter, FitSettings, Tensors
from skvae.training.nonignorable import MaskReport, NonignorableFitter
from skvae.training.selection import MaskPlan

WHOLE_TABLE = ("self_masking", "high", "low", "fully_connected", "network", "latent")
BY_COLUMN = ("self_masking", "high", "low", "mar")
DIRECTIONS = {"high": 1.0, "low": -1.0, "above": 1.0, "below": -1.0}


@dataclass(frozen=True)
class Scenario:
    """Filled tables under one departure from the model.

    Attributes
    ----------
    shifts : dict
        Added to hidden values, by column, in its units.
    tables : list of DataFrame or ndarray
    """

    shifts: dict[Hashable, float]
    tables: list[Any]


class NonignorableTable(SampledDensity):
    """Tables whose holes may say something: assumptions, report and sensitivity analysis."""

    _members: list[Any]
    # Of models of samples of the rows: what the model of all rows found.
    _plan: MaskPlan | None = None
    _found_plan: MaskPlan | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SampledDensity._parameter_constraints,
        "mechanism": [StrOptions({"mar", "mnar"})],
        "missingness_model": [StrOptions(set(WHOLE_TABLE)), dict],
        "censored": [dict, None],
    }

    # Fit ------------------------------------------------------------------------------------

    def _fitter(
        self, tensors: Tensors, scaler: TableScaler, settings: FitSettings
    ) -> EnsembleFitter:
        if self.mechanism == "mnar":
            plan = self._plan or self._make_plan(tensors, scaler)
            if bool(plan.selected.any()):
                return NonignorableFitter(
                    tensors, settings, self._seed(), plan, weigh=self._plan is None
                )
        return super()._fitter(tensors, scaler, settings)

    def _check_mechanism(self) -> None:
        if self.mechanism == "mnar":
            return
        for name, plain in (("missingness_model", "self_masking"), ("censored", None)):
            if getattr(self, name) != plain:
                raise ValueError(
                    f"{name} is given, but mechanism='mar' takes holes for ignorable. Set "
                    "mechanism='mnar'."
                )

    def _make_plan(self, tensors: Tensors, scaler: TableScaler) -> MaskPlan:
        """Per modelled column, from the parameters."""
        columns = self._modelled_columns
        names = [column.name for column in columns]
        holed = (~tensors.observed).any(0).numpy()
        model, chosen = self._models_by_column(names, holed)
        limits = self._limits_by_column(names, scaler)
        selected, direction = np.zeros(len(names), bool), np.zeros(len(names))
        censored, limit = np.zeros(len(names), bool), np.full(len(names), np.nan)
        for j, column in enumerate(columns):
            wanted = chosen.get(column.name, "mar")
            if column.name in limits:
                wanted, censored[j] = limits[column.name][0], True
                limit[j] = as_feature(scaler, j, limits[column.name][1])
            if wanted in DIRECTIONS and column.kind == "categorical":
                raise ValueError(
                    f"Column {column.name!r} has levels without an order: none is high or low. "
                    "Declare it 'ordinal' in column_types, or give it 'self_masking'."
                )
            selected[j] = wanted != "mar" and holed[j]
            direction[j] = DIRECTIONS.get(wanted, 0.0)
        return MaskPlan(
            model,
            torch.from_numpy(selected),
            torch.from_numpy(direction).float(),
            torch.from_numpy(censored & selected),
            torch.from_numpy(limit).float(),
        )

    def _models_by_column(
        self, names: list[Hashable], holed: np.ndarray
    ) -> tuple[str, dict[Hashable, str]]:
        """The model, and for self-masking what each column is said to do."""
        given = self.missingness_model
        with_holes = [name for name, has in zip(names, holed, strict=True) if has]
        if isinstance(given, str):
            if given in ("fully_connected", "network", "latent"):
                if self.censored:
                    raise ValueError(f"censored has no place in missingness_model={given!r}.")
                return given, dict.fromkeys(with_holes, "self_masking")
            return "self_masking", dict.fromkeys(with_holes, given)
        self._check_columns("missingness_model", given, names)
        for name, wanted in given.items():
            if wanted not in BY_COLUMN:
                raise ValueError(
                    f"missingness_model={{{name!r}: {wanted!r}}} is not known; a column has one "
                    f"of {list(BY_COLUMN)}."
                )
            if wanted != "mar" and name not in with_holes:
                warnings.warn(
                    f"Column {name!r} has no holes at fit: its missingness_model {wanted!r} says "
                    "nothing.",
                    UserWarning,
                    stacklevel=2,
                )
        return "self_masking", dict(given)

    def _limits_by_column(
        self, names: list[Hashable], scaler: TableScaler
    ) -> dict[Hashable, tuple[str, float]]:
        """Checked `censored`; NaN for limits that are to be found."""
        given = self.censored or {}
        self._check_columns("censored", given, names)
        checked = {}
        for name, pair in given.items():
            pair = (pair, None) if isinstance(pair, str) else tuple(pair)
            if len(pair) != 2 or pair[0] not in ("below", "above"):
                raise ValueError(
                    f"censored={{{name!r}: {given[name]!r}}} is not known; give ('below', limit) "
                    "or ('above', limit), with None for a limit that is to be found."
                )
            checked[name] = (pair[0], self._check_limit(name, *pair, names, scaler))
        return checked

    def _check_limit(
        self, name: Hashable, side: str, limit: Any, names: list[Hashable], scaler: TableScaler
    ) -> float:
        j = names.index(name)
        if not scaler.numeric[j]:
            raise ValueError(f"Column {name!r} has levels: censored is for columns of numbers.")
        if limit is None:
            return np.nan
        if not isinstance(limit, Real) or not np.isfinite(limit):
            raise ValueError(f"The limit of column {name!r} must be a number, got {limit!r}.")
        low, high = scaler.low[j], scaler.high[j]
        if (side == "below" and low < limit) or (side == "above" and high > limit):
            end, what = (low, "smallest") if side == "below" else (high, "largest")
            raise ValueError(
                f"Column {name!r} is said to be censored {side} {limit:g}, but its {what} observed "
                f"value is {end:g}. Correct the limit, make such values absent (NaN), or use "
                "missingness_model instead, which needs no sharp limit."
            )
        return float(limit)

    def _check_columns(self, what: str, given: Mapping[Hashable, Any], names: list) -> None:
        known = {column.name for column in self._codec.columns}
        strange = [name for name in given if name not in known]
        if strange:
            raise ValueError(f"{what} names columns that are not in X: {strange}.")
        still = [name for name in given if name not in names]
        if still:
            raise ValueError(
                f"{what} names columns that are constant or empty at fit: {still}. Leave them out."
            )

    # Report ---------------------------------------------------------------------------------

    def _hidden(self, fitter: EnsembleFitter, scaler: TableScaler) -> Hidden | None:
        report = fitter.mask_report if isinstance(fitter, NonignorableFitter) else None
        if self.mechanism == "mnar" and self._plan is None:
            self.missingness_report_ = report_frame(report, self._modelled_columns, scaler)
            self._found_plan = None if report is None else report.found_plan
            self._warn_of_found(report)
        if report is None or not bool(report.used.any()):
            return None
        plan, used = report.plan, report.used.numpy()
        p = len(used)
        # What never was negative does not become so, however far down values hide.
        low = np.where(scaler.numeric & (scaler.low >= 0), 0.0, -LARGEST)
        high = np.full(p, LARGEST)
        limit = np.array([as_number(scaler, j, float(plan.limit[j])) for j in range(p)])
        censored, above = plan.censored.numpy(), plan.direction.numpy() > 0
        low[censored & above] = limit[censored & above]
        high[censored & ~above] = limit[censored & ~above]
        return Hidden(used, low, high)

    def _warn_of_found(self, report: MaskReport | None) -> None:
        frame = self.missingness_report_
        found = frame[frame["used"].astype(bool) & (frame["assumed"] == "self_masking")]
        if report is not None and len(found):
            warnings.warn(
                f"Values of {list(found.index)} are taken to hide because of what they are, in "
                "directions found from the table. " + CANNOT_SETTLE,
                UserWarning,
                stacklevel=6,
            )

    # What if --------------------------------------------------------------------------------

    def sensitivity(
        self,
        X: Any,
        shifts: Mapping[Hashable, float | Sequence[float]],
        n_draws: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[Scenario]:
        """Filled tables under departures from what is assumed about the holes.

        Hidden values of the given columns are drawn and shifted, then what else the row lacks is
        drawn given them: delta-adjusted multiple imputation (van Buuren 2018, section 9.2). Analyse
        the tables of each scenario and pool; how far a shift must go to change a conclusion is how
        sure of it one may be. The draws are the same in all scenarios.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        shifts : dict of column to float or sequence of float
            In units of the columns. Sequences have one length: a scenario for each place.
        n_draws : int, default=10
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        list of Scenario
            Each with its `shifts` and `tables`.

        Raises
        ------
        ValueError
            If a column is not known or not a number, or sequences differ in length.
        """
        self._check_input(X)
        if not isinstance(n_draws, Integral) or n_draws < 1:
            raise ValueError(f"n_draws must be a positive integer, got {n_draws!r}.")
        scenarios = self._check_shifts(shifts)
        places = {column.name: j for j, column in enumerate(self._modelled_columns)}
        values, observed = self._codec.encode(X)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        found = []
        for scenario in scenarios:
            shift = np.zeros(values.shape[1])
            for name, by in scenario.items():
                shift[places[name]] = by
            tables = self._shifted(values, observed, shift, int(n_draws), seed)
            found.append(Scenario(scenario, [self._decode(table, X) for table in tables]))
        return found

    def _shifted(
        self, values: np.ndarray, observed: np.ndarray, shift: np.ndarray, n_draws: int, seed: int
    ) -> list[np.ndarray]:
        """Draws with shifted columns, the rest drawn given these."""
        predictors = self._members or [self._predictor]
        shifted = np.isin(np.arange(len(shift)), np.flatnonzero(shift))
        random = np.random.RandomState(seed)
        first = list(draws_of_all(predictors, values, observed, n_draws, random))
        if not shifted.any():
            return first
        tables = []
        for place, draw in enumerate(first):
            moved = np.where(observed, values, draw + shift)
            predictor = predictors[place % len(predictors)]
            tables += predictor.draws(moved, observed | shifted, 1, random)
        return tables

    def _check_shifts(self, shifts: Any) -> list[dict[Hashable, float]]:
        if not isinstance(shifts, Mapping) or not shifts:
            raise ValueError("shifts must map columns to numbers, or to sequences of numbers.")
        names = [column.name for column in self._modelled_columns]
        self._check_columns("shifts", shifts, names)
        kinds = {column.name: column.is_discrete for column in self._modelled_columns}
        wrong = [name for name in shifts if kinds[name]]
        if wrong:
            raise ValueError(f"shifts are for columns of numbers; these have levels: {wrong}.")
        each = {name: np.atleast_1d(np.asarray(by, dtype=float)) for name, by in shifts.items()}
        sizes = {len(by) for by in each.values()}
        if len(sizes) > 1 or any(by.ndim > 1 or not np.isfinite(by).all() for by in each.values()):
            raise ValueError(
                "shifts must be finite numbers, and sequences of them of the same length, got "
                f"{dict(shifts)!r}."
            )
        return [{name: float(by[place]) for name, by in each.items()} for place in range(*sizes)]
