"""What the estimators share: from a user's table to a fitted ensemble."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skvae.distributions import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)
from skvae.estimators._callbacks import CallbackSupportMixin
from skvae.estimators._chunked import ChunkedFit, refuse_chunks
from skvae.estimators._fingerprint import fingerprint
from skvae.estimators._prediction import Hidden, TablePredictor, scaled_table
from skvae.estimators._saving import SavedEstimator
from skvae.inference.calibration import ErrorCalibration
from skvae.inference.session import torch_defaults
from skvae.tabular import Column, TableCodec
from skvae.tabular.callers import user_level
from skvae.tabular.scaling import TableScaler
from skvae.tabular.table import as_table
from skvae.tabular.wild import wild_values
from skvae.training import EnsembleFitter, FitSettings, Tensors
from skvae.training.checkpoint import Checkpoint
from skvae.training.run import current_run

LIKELIHOODS: dict[str, dict[str, type[Likelihood]]] = {
    "continuous": {
        "gaussian": Gaussian,
        "student_t": StudentT,
        "heteroscedastic": HeteroscedasticGaussian,
    },
    "positive": {"log_normal": LogNormal},
    "count": {"negative_binomial": NegativeBinomial, "poisson": Poisson},
}


class BaseVAE(SavedEstimator, CallbackSupportMixin, ChunkedFit):
    """Validation, encoding and fitting; the estimators add what they predict."""

    # Whether a fit says that single numbers outweigh all others of their column.
    _minds_wild_values = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "column_types": [dict, None],
        "likelihood": [dict, None],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "alpha": [StrOptions({"auto"}), "array-like", Interval(Real, 0, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "subsample": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "engine": "no_validation",
        "checkpoint": [str, PathLike, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    # From tables to numbers -----------------------------------------------------------------

    def _fit_codec(self, X: Any, sample_weight: Any, **options: Any) -> tuple[Any, np.ndarray]:
        """Learn the columns; returns the rows that count, and their weights."""
        table = as_table(X)  # says what is wrong with a container before anything else looks at it
        validate_data(self, table.data, skip_check_array=True, reset=True)
        weight = _check_sample_weight(sample_weight, table.data, dtype=np.float64)
        if (weight < 0).any() or not weight.any():
            raise ValueError("sample_weight must be non-negative and not zero everywhere.")
        weight = relative_weights(weight)
        keep = weight > 0
        if not keep.all():  # a weight of zero is a row that is not there
            table, weight = table.take(keep), weight[keep]
        codec = TableCodec(self.column_types, max_categories=self.max_categories, **options)
        self._codec = codec.fit(table)
        self._drawn = None
        if self.checkpoint is not None:
            self._identify(*self._codec.encode(table.data), weight)
        return table.data, weight

    def _identify(self, *data: np.ndarray) -> None:
        """Keep the state of the fit on these data where `checkpoint` says."""
        if not str(self.checkpoint):
            raise ValueError("checkpoint='' names no folder: give its path, or None for none.")
        name = fingerprint(self, data)
        current_run().checkpoint = Checkpoint(Path(self.checkpoint) / name)
        if self.random_state is None:  # the fit that goes on shall draw the same
            self._drawn = int(name[:7], 16)

    def _check_input(self, X: Any) -> None:
        check_is_fitted(self)
        refuse_chunks(X)
        table = as_table(X)
        validate_data(self, table.data, skip_check_array=True, reset=False)

    @property
    def _modelled_columns(self) -> list[Column]:
        return [self._codec.columns[j] for j in self._codec.modelled]

    def _chosen_likelihoods(self) -> dict[str, str]:
        """Name by kind, where the user does not say."""
        return {kind: next(iter(options)) for kind, options in LIKELIHOODS.items()}

    def _likelihoods(self) -> tuple[tuple[Likelihood, ...], tuple[Likelihood, ...]]:
        """Per modelled column: of the density, and of the regression on standardised values."""
        chosen = self._chosen_likelihoods()
        for kind, name in (self.likelihood or {}).items():
            if kind not in LIKELIHOODS or name not in list(LIKELIHOODS[kind]):
                options = {k: sorted(v) for k, v in LIKELIHOODS.items()}
                raise ValueError(
                    f"likelihood={{{kind!r}: {name!r}}} is not known; choose among {options}."
                )
            chosen[kind] = name
        density, regression = [], []
        for column in self._modelled_columns:
            if column.kind in chosen:
                density.append(LIKELIHOODS[column.kind][chosen[column.kind]]())
                regression.append(Gaussian())
                continue
            finite: Likelihood = Bernoulli()
            if column.kind == "ordinal":
                finite = Ordinal(column.n_categories)
            elif column.kind == "categorical":
                finite = Categorical(column.n_categories)
            density.append(finite)
            regression.append(finite)
        return tuple(density), tuple(regression)

    # Fit ------------------------------------------------------------------------------------

    def _fit_ensemble(self, X: Any, weight: np.ndarray) -> None:
        """Fit on the encoded table and calibrate by what was held out."""
        with torch_defaults(grad=True):
            self._fit_tensors(X, weight)

    def _fit_tensors(self, X: Any, weight: np.ndarray) -> None:
        settings = self._settings(len(weight), hidden_sizes(self.hidden_layer_sizes, len(weight)))
        encoded = self._tensors(*self._codec.encode(X), weight)
        if encoded is None:
            self._without_model()
            return
        tensors, scaler = encoded
        fitter = self._fitter(tensors, scaler, settings)
        ensemble, self._report, held_out = fitter.fit()
        hidden = self._hidden(fitter, scaler)
        # Observed entries say nothing about the errors at values that hide themselves.
        checked = scaler.numeric if hidden is None else scaler.numeric & ~hidden.columns
        calibration = ErrorCalibration(
            held_out.error, held_out.variance, held_out.held_out, checked
        )
        self._predictor = TablePredictor(ensemble, scaler, calibration, hidden)
        self._publish()

    def _fitter(
        self, tensors: Tensors, scaler: TableScaler, settings: FitSettings
    ) -> EnsembleFitter:
        """What trains the ensemble."""
        return EnsembleFitter(tensors, settings, self._seed())

    def _hidden(self, fitter: EnsembleFitter, scaler: TableScaler) -> Hidden | None:
        """Columns whose holes say something."""
        return None

    def _seed(self) -> int:
        seed = int(check_random_state(self._random_source).randint(2**31 - 1))
        return current_run().team.agree(seed)

    @property
    def _random_source(self) -> Any:
        return self._drawn if self.random_state is None else self.random_state

    def _tensors(
        self, values: np.ndarray, observed: np.ndarray, weight: np.ndarray
    ) -> tuple[Tensors, TableScaler] | None:
        """Scale the encoded training table; None where no column varies."""
        density, regression = self._likelihoods()
        if not values.shape[1]:
            return None
        if self._minds_wild_values:
            for sentence in wild_values(values, observed, self._modelled_columns):
                warnings.warn(sentence, UserWarning, stacklevel=user_level())
        scaler = TableScaler().fit(values, observed, self._modelled_columns, weight)
        slope, intercept = scaler.regression_from_targets
        table = scaled_table(scaler, values, observed)
        tensors = Tensors(
            features=table.features,
            targets=table.targets,
            regression_targets=torch.as_tensor(scaler.regression_targets(values, observed)),
            observed=table.observed,
            weight=torch.as_tensor(weight / weight.mean()).float(),
            feature_columns=table.feature_columns,
            likelihoods=density,
            regression_likelihoods=regression,
            specs=scaler.specs,
            slope=torch.as_tensor(slope).float(),
            intercept=torch.as_tensor(intercept).float(),
        )
        return tensors, scaler

    def _without_model(self) -> None:
        """Every column is constant: there is nothing to learn and everything to fill."""
        self._predictor = TablePredictor()
        self.n_components_, self.component_scores_ = 0, {}
        self.loss_curve_, self.validation_scores_, self.n_iter_ = {}, {}, 1

    def _settings(self, n_rows: int, hidden: tuple[int, ...]) -> FitSettings:
        max_iter = _auto_steps(n_rows) if self.max_iter == "auto" else int(self.max_iter)
        decays = np.atleast_1d(np.asarray(self._alpha(n_rows)))
        if (
            decays.ndim != 1
            or not decays.size
            or decays.dtype.kind not in "iuf"
            or not ((decays >= 0) & np.isfinite(decays)).all()
        ):
            raise ValueError(f"alpha must be one or several numbers >= 0, got {self.alpha!r}.")
        return FitSettings(
            n_components=self.n_components,
            hidden_layer_sizes=hidden,
            n_importance_samples=int(self.n_importance_samples),
            beta=float(self.beta),
            max_iter=max_iter,
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate_init),
            weight_decays=tuple(decays.tolist()),
            validation_fraction=float(self.validation_fraction),
            n_iter_no_change=int(self.n_iter_no_change),
            tol=float(self.tol),
            early_stopping=bool(self.early_stopping),
            inference=self.inference,
        )

    def _alpha(self, n_rows: int) -> Any:
        if not isinstance(self.alpha, str):
            return self.alpha
        # Small tables differ in how much bending they bear, and another strength costs them little.
        return (0.15, 1.0) if n_rows < 500 else 0.15

    def _publish(self) -> None:
        report = self._report
        self.n_components_ = report.n_components
        self.component_scores_ = report.component_scores
        self.loss_curve_ = {name: h.loss for name, h in report.histories.items()}
        self.validation_scores_ = {name: np.array(h.scores) for name, h in report.histories.items()}
        steps = sum(history.n_iter for history in report.histories.values())
        self.n_iter_ = steps or report.n_linear_iter
        for name, history in report.histories.items():
            if history.recovered:
                warnings.warn(
                    f"The loss of the {name} members stopped being finite after "
                    f"{history.n_iter} steps; the best state before was kept. Lower "
                    "learning_rate_init, or look for columns with extreme values.",
                    ConvergenceWarning,
                    stacklevel=user_level(),
                )


def relative_weights(weight: np.ndarray) -> np.ndarray:
    """Weights in units of the largest; zero for those that single precision takes for zero.

    Only ratios count, and sums must not overflow.
    """
    weight = weight / weight.max()
    return np.where(weight < np.finfo(np.float32).tiny, 0.0, weight)


def refuse_without_model() -> NoReturn:
    """Say that there is nothing to look into.

    Raises
    ------
    ValueError
    """
    raise ValueError(
        "No column varied over the rows that the estimator was fitted on: it has no model of rows, "
        "and no posteriors. Fit it on rows that differ."
    )


def hidden_sizes(sizes: Any, n_rows: int) -> tuple[int, ...]:
    if isinstance(sizes, str):
        # Wider where there is more to learn: 96 up to 5,000 rows, 160 from 14,000 on.
        width = 16 * round(6 * min(max(n_rows / 5000, 1.0), 2.8) ** 0.5)
        return (width, width)
    sizes = tuple(sizes) if np.ndim(sizes) else (sizes,)
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be positive integers, got {sizes!r}.")
    return tuple(int(size) for size in sizes)


def stochastic_layers(n_components: Any) -> tuple[int, ...]:
    """Latent dimensions of several layers; empty for a single one."""
    if n_components is None or isinstance(n_components, str | Integral):
        return ()
    sizes = tuple(n_components)
    if len(sizes) < 2 or not all(isinstance(s, Integral) and s > 0 for s in sizes):
        raise ValueError(
            "n_components must be a positive integer, or two or more of them for several "
            f"stochastic layers, got {n_components!r}."
        )
    return tuple(int(size) for size in sizes)


def _auto_steps(n_rows: int) -> int:
    """Few steps for few rows; beyond 2,000 more, because there is more to learn."""
    if n_rows <= 2000:
        return int(np.clip(1.85 * n_rows, 50, 1200))
    return int(min(5000, 1200 * (n_rows / 2000) ** 0.6))
