"""What a user says about the holes of a table, and what if that is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    has_order,
    report_frame,
)
from skvae.estimators._missingness_shifts import scenarios_of, shifted_draws
from skvae.estimators._prediction import LARGEST, Hidden
from skvae.estimators._samples import SampledDensity
from skvae.inference.selection import REACH
from skvae.tabular.callers import user_level
from skvae.tabular.scaling import LINKS, TableScaler
from skvae.training import EnsembleFitter, FitSettings, Tensors
from skvae.training.missingness import CLEAR
from skvae.training.nonignorable import NonignorableFitter
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
    # Of censored columns, in the table's units; NaN elsewhere.
    _limits: np.ndarray

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SampledDensity._parameter_constraints,
        "mechanism": [StrOptions({"mar", "mnar"})],
        "missingness_model": [StrOptions(set(WHOLE_TABLE)), dict, None],
        "censored": [dict, None],
    }

    # Fit ------------------------------------------------------------------------------------

    def _fitter(
        self, tensors: Tensors, scaler: TableScaler, settings: FitSettings
    ) -> EnsembleFitter:
        if self.mechanism == "mnar":
            if self._plan is None:
                plan = self._found_plan = self._make_plan(tensors, scaler)
            else:  # other rows have other units of features
                plan = replace(self._plan, limit=self._limits_as_features(scaler))
            if bool(plan.selected.any()):
                return NonignorableFitter(
                    tensors, settings, self._seed(), plan, weigh=self._plan is None
                )
        return super()._fitter(tensors, scaler, settings)

    def _without_model(self) -> None:
        super()._without_model()
        if self.mechanism == "mnar":
            for what in ("missingness_model", "censored"):
                given = getattr(self, what)
                self._check_columns(what, given if isinstance(given, Mapping) else {}, [])
            self.missingness_report_ = report_frame(None, [])

    def _check_mechanism(self) -> None:
        vars(self).pop("missingness_report_", None)  # of another fit
        if self.mechanism == "mnar":
            return
        for name in ("missingness_model", "censored"):
            if getattr(self, name):
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
        self._warn_of_complete(names, holed, {**chosen, **limits})
        selected, direction = np.zeros(len(names), bool), np.zeros(len(names))
        censored, self._limits = np.zeros(len(names), bool), np.full(len(names), np.nan)
        for j, column in enumerate(columns):
            wanted = chosen.get(column.name, "mar")
            if column.name in limits:
                wanted, self._limits[j] = limits[column.name]
                censored[j] = True
            if wanted in DIRECTIONS and not has_order(column):
                raise ValueError(
                    f"Column {column.name!r} has levels without an order: none is high or low. "
                    "Make it an ordered categorical (pd.CategoricalDtype), or name columns in "
                    "missingness_model and give it 'self_masking'."
                )
            selected[j] = wanted != "mar" and holed[j]
            direction[j] = DIRECTIONS.get(wanted, 0.0)
        return MaskPlan(
            model,
            torch.as_tensor(selected),
            torch.as_tensor(direction).float(),
            torch.as_tensor(censored & selected),
            self._limits_as_features(scaler),
        )

    def _limits_as_features(self, scaler: TableScaler) -> torch.Tensor:
        limits = [as_feature(scaler, j, limit) for j, limit in enumerate(self._limits)]
        return torch.tensor(limits, dtype=torch.float32)

    def _warn_of_complete(
        self, names: list[Hashable], holed: np.ndarray, wanted: Mapping[Hashable, Any]
    ) -> None:
        complete = [name for name, has in zip(names, holed, strict=True) if not has]
        idle = [name for name in complete if wanted.get(name, "mar") != "mar"]
        if idle:
            warnings.warn(
                f"Columns {idle} have no holes at fit: what is said about them has no effect, and "
                "holes in new rows are taken for ignorable.",
                UserWarning,
                stacklevel=user_level(),
            )

    def _models_by_column(
        self, names: list[Hashable], holed: np.ndarray
    ) -> tuple[str, dict[Hashable, str]]:
        """The model, and for self-masking what each column is said to do."""
        given = self.missingness_model
        if given is None:  # who names limits says where holes come from
            given = {} if self.censored else "self_masking"
        with_holes = [name for name, has in zip(names, holed, strict=True) if has]
        if isinstance(given, str):
            if given in ("fully_connected", "network", "latent"):
                if self.censored:
                    raise ValueError(
                        f"censored has no place in missingness_model={given!r}, in which all "
                        "columns have one law. Use 'self_masking', or leave censored out."
                    )
                return given, dict.fromkeys(with_holes, "self_masking")
            return "self_masking", dict.fromkeys(with_holes, given)
        self._check_columns("missingness_model", given, names)
        for name, wanted in given.items():
            if wanted not in BY_COLUMN:
                raise ValueError(
                    f"missingness_model={{{name!r}: {wanted!r}}} is not known; a column has one "
                    f"of {list(BY_COLUMN)}."
                )
            if name in (self.censored or {}):
                raise ValueError(
                    f"Column {name!r} is in both missingness_model and censored, which are two "
                    "laws for its holes. Leave it out of one."
                )
        return "self_masking", dict(given)

    def _limits_by_column(
        self, names: list[Hashable], scaler: TableScaler
    ) -> dict[Hashable, tuple[str, float]]:
        """Checked `censored`, with the outermost value seen where no limit is given."""
        given = self.censored or {}
        self._check_columns("censored", given, names)
        checked = {}
        for name, pair in given.items():
            pair = (pair, None) if isinstance(pair, str) else pair
            known = isinstance(pair, Sequence) and len(pair) == 2
            if not known or pair[0] not in ("below", "above"):
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
        low, high = scaler.low[j], scaler.high[j]
        end, what = (low, "smallest") if side == "below" else (high, "largest")
        limit = end if limit is None else limit
        if not isinstance(limit, Real) or isinstance(limit, bool) or not np.isfinite(limit):
            raise ValueError(
                f"The limit of column {name!r} must be a finite number, got {limit!r}; None takes "
                f"the {what} value seen."
            )
        if (side == "below" and low < limit) or (side == "above" and high > limit):
            raise ValueError(
                f"Column {name!r} is said to be censored {side} {limit:g}, but its {what} observed "
                f"value is {end:g}. Correct the limit, make such values absent (NaN), or use "
                "missingness_model instead, which needs no sharp limit."
            )
        if side == "below" and limit <= 0 and scaler.kinds[j] in LINKS:
            raise ValueError(
                f"Column {name!r} is of kind {scaler.kinds[j]!r}: no value of it is below "
                f"{limit:g}. Correct the limit, leave the column out of censored, or declare it "
                "'continuous' in column_types."
            )
        if abs(limit - end) > REACH * (high - low):
            raise ValueError(
                f"Column {name!r} is said to be censored {side} {limit:g}, but its observed values "
                f"go from {low:g} to {high:g}, too far from there to say what is beyond. Correct "
                "the limit, in the units of the column."
            )
        return float(limit)

    def _check_columns(self, what: str, given: Mapping[Hashable, Any], names: list) -> None:
        known = [column.name for column in self._codec.columns]
        strange = [name for name in given if name not in known]
        if strange:
            shown = ", ".join(map(str, known))
            raise ValueError(f"{what} names columns that are not in X: {strange}; X has: {shown}.")
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
            if report is not None:
                self._threshold_is_the_limit()
                self._found_plan = report.found_plan
                self._warn_of_found()
        if report is None or not bool(report.used.any()):
            return None
        plan, used = report.plan, report.used.numpy()
        p = len(used)
        # What never was negative does not become so, however far down values hide.
        low = np.where(scaler.numeric & (scaler.low >= 0), 0.0, -LARGEST)
        high = np.full(p, LARGEST)
        censored, above = plan.censored.numpy(), plan.direction.numpy() > 0
        whole = np.array([column.integer for column in self._modelled_columns], dtype=bool)
        # The limit itself can be seen: whole numbers are hidden from the next one on.
        up, down = np.floor(self._limits) + 1, np.ceil(self._limits) - 1
        low = np.where(censored & above, np.where(whole, up, self._limits), low)
        high = np.where(censored & ~above, np.where(whole, down, self._limits), high)
        return Hidden(used, low, high)

    def _threshold_is_the_limit(self) -> None:
        """Limits as they were given, not as single precision has them."""
        frame = self.missingness_report_
        for column, limit in zip(self._modelled_columns, self._limits, strict=True):
            if column.name in frame.index and np.isfinite(limit):
                frame.loc[column.name, "threshold"] = limit

    def _warn_of_found(self) -> None:
        frame = self.missingness_report_
        found = frame[frame["used"].astype(bool) & (frame["assumed"] == "self_masking")]
        if len(found):
            warnings.warn(
                f"Values of {list(found.index)} are taken to hide because of what they are, in "
                "directions found from the table. " + CANNOT_SETTLE,
                UserWarning,
                stacklevel=user_level(),
            )
        against = frame["likelihood_ratio"] < -CLEAR * frame["likelihood_ratio_error"]
        doubtful = list(frame.index[against & frame["used"].astype(bool)])
        if doubtful:
            warnings.warn(
                f"Held-out rows speak against what is assumed about the holes of {doubtful} (see "
                "missingness_report_). Look at the direction; columns of amounts may need to be "
                "declared 'positive' in column_types.",
                UserWarning,
                stacklevel=user_level(),
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
        sure of it one may be. The draws are the same in all scenarios, and those of
        `sample_imputations` where nothing is shifted. No value is shifted out of its column's kind.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        shifts : dict of column to float or sequence of float
            In units of the columns, whole numbers for counts. Sequences have one length: a scenario
            for each place; a single number holds in all of them.
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
        if not isinstance(shifts, Mapping) or not shifts:
            raise ValueError("shifts must map columns to numbers, or to sequences of numbers.")
        columns = self._modelled_columns
        names = [column.name for column in columns]
        self._check_columns("shifts", shifts, names)
        scenarios = scenarios_of(shifts, columns)
        values, observed = self._codec.encode(X)
        predictors = self._members or [self._predictor]
        random = check_random_state(random_state)
        first = list(draws_of_all(predictors, values, observed, int(n_draws), random))
        found, named = [], np.array([name in shifts for name in names])
        for scenario in scenarios:
            shift = np.array([scenario.get(name, 0.0) for name in names])
            tables = shifted_draws(
                predictors, columns, values, observed, shift, named, first, random
            )
            found.append(Scenario(scenario, [self._decode(table, X) for table in tables]))
        return found
