"""What estimators share that fit one VAE for its density."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, NoReturn, TypeVar

from sklearn.exceptions import ConvergenceWarning

from skvae.estimators._base import BaseVAE
from skvae.estimators._latent import Rows
from skvae.tabular.callers import user_level
from skvae.training.density_settings import DensityReport, DensitySettings

Settings = TypeVar("Settings", bound=DensitySettings)


class DensityEstimator(BaseVAE):
    """From the parameters of an estimator to a fit, and from its report to fitted attributes."""

    def _rows(self, X: Any) -> Rows:
        """Check and encode a user's table."""
        self._check_input(X)
        return Rows(*self._codec.encode(X))

    def _density_settings(
        self,
        hidden: tuple[int, ...],
        steps: int,
        kind: type[Settings] = DensitySettings,
        **special: Any,
    ) -> Settings:
        """What the fitter needs; `special` is what an estimator has or does on its own."""
        return kind(
            **{
                "n_components": self.n_components,
                "hidden_layer_sizes": hidden,
                "n_importance_samples": int(self.n_importance_samples),
                "beta": self._beta,
                "weight_decay": float(self.alpha),
                "max_iter": steps if self.max_iter == "auto" else int(self.max_iter),
                "batch_size": int(self.batch_size),
                "learning_rate": float(self.learning_rate_init),
                "early_stopping": bool(self.early_stopping),
                "validation_fraction": float(self.validation_fraction),
                "n_iter_no_change": int(self.n_iter_no_change),
                "tol": float(self.tol),
                **special,
            }
        )

    @property
    def _beta(self) -> float:
        """Weight of the divergence."""
        return float(self.beta)

    def _check_width(self, n_components: Any, n_features: int) -> None:
        if isinstance(n_components, Integral) and n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} is more than the {n_features} features that the "
                "columns of X have (one per number, one per level of a category). Lower it."
            )

    def _refuse_constant_table(self, n_rows: int, purpose: str) -> NoReturn:
        names = [column.name for column in self._codec.columns]
        raise ValueError(
            f"No column of X varies over its n_samples={n_rows}: {names}. There is nothing to "
            f"{purpose}; give rows that differ."
        )

    def _publish_density(self, report: DensityReport) -> None:
        self.n_components_ = report.n_components
        self.component_scores_ = report.component_scores
        self._publish_history(report)
        if report.matching.recovered:
            warn_recovered(report.matching.n_iter)

    def _publish_history(self, report: DensityReport) -> None:
        history = report.history
        self.loss_curve_ = history.loss
        self.validation_scores_ = [scores[0] for scores in history.scores]
        self.n_iter_ = history.n_iter or max(report.n_linear_iter, 1)
        if history.recovered:
            warn_recovered(self.n_iter_)


def warn_recovered(n_iter: int) -> None:
    """Say that training ended early, and why."""
    warnings.warn(
        f"The loss stopped being finite after {n_iter} steps; the best state before was kept. "
        "Lower learning_rate_init, or look for columns with extreme values.",
        ConvergenceWarning,
        stacklevel=user_level(),
    )
