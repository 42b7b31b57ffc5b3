"""How a detector is fitted: the rows that teach, the model, and where outliers begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from skvae.estimators._base import refuse_without_model
from skvae.estimators._density import DensityEstimator
from skvae.estimators._detection import ConstantTable, Detection
from skvae.estimators._latent import LatentModel, Rows
from skvae.inference.scored import ScoredRows
from skvae.inference.session import torch_defaults
from skvae.inference.tails import MarginalTails, lowest, smallest_above, weighted_quantiles
from skvae.training.density import DensityFitter

# Share of the rows that the model is fitted on, those with the least surprising columns.
SUPPORT_FRACTION = 0.8
# The same of the rows among which distances are local.
CORE_FRACTION = 0.9
# Gradient steps.
STEPS_PER_ROW, FEWEST_STEPS, MOST_STEPS = 2, 100, 300
# In interquartile ranges below the first quartile.
FENCE = 2.2
# Share of the training rows that the fence may call outliers: ties can leave it no width.
MOST_CALLED = 0.1
# Rows that decide on the number of latent dimensions.
COMPONENT_ROWS = 1000
# Training rows that calibrate scores.
MOST_CALIBRATION_ROWS = 10_000


class FittedDetector(DensityEstimator):
    """Fitting and scoring of encoded rows; `score` names the statistic."""

    def _fit_detector(self, rows: Rows, weight: np.ndarray, hidden: tuple[int, ...]) -> None:
        self._fitted_statistic = self._statistic
        random = np.random.RandomState(self._seed())
        known = random.permutation(len(weight))[:MOST_CALIBRATION_ROWS]
        with torch_defaults(grad=True):
            self._fit_detection(rows, weight, hidden, known, random)
        self._set_offset(rows, known, weight)

    def _fit_detection(
        self,
        rows: Rows,
        weight: np.ndarray,
        hidden: tuple[int, ...],
        known: np.ndarray,
        random: np.random.RandomState,
    ) -> None:
        nominal = [column.kind in ("binary", "categorical") for column in self._modelled_columns]
        tails = MarginalTails(rows.values, rows.observed, nominal, weight)
        self._detection = ConstantTable(tails.rare)
        self.n_components_, self.component_scores_, self.n_iter_ = 0, {}, 1
        self.loss_curve_, self.validation_scores_ = [], []
        encoded = self._tensors(rows.values, rows.observed, weight)
        if encoded is None:  # no column varies: only what breaks a constant is odd
            return
        tensors, scaler = encoded
        support = core = np.arange(len(weight))
        if self.robust:
            surprise = tails.score(rows.values, rows.observed)
            support = lowest(surprise, weight, SUPPORT_FRACTION)
            core = lowest(surprise, weight, CORE_FRACTION)
        self._check_width(self.n_components, tensors.features.shape[1])
        seed = int(random.randint(2**31 - 1))
        steps = int(np.clip(STEPS_PER_ROW * len(support), FEWEST_STEPS, MOST_STEPS))
        settings = self._density_settings(
            hidden, steps, component_rows=COMPONENT_ROWS, inference=self.inference
        )
        fitter = DensityFitter(tensors.take(torch.as_tensor(support)), settings, seed)
        model, report = fitter.fit()
        self._latent = LatentModel(model, scaler, seed, proposal=fitter.propose(model))
        self._detection = Detection(
            self._latent,
            tails,
            rows.take(random.permutation(support)),
            rows.take(random.permutation(core)),
            rows.take(known),
            weight[known],
        )
        self._publish_density(report)

    def _set_offset(self, rows: Rows, known: np.ndarray, weight: np.ndarray) -> None:
        some = self._score_rows(rows.take(known), np.zeros(len(known)))
        low, self._median, high = weighted_quantiles(some, weight[known], (0.25, 0.5, 0.75))
        if self.contamination == "auto":
            most = smallest_above(some, weight[known], MOST_CALLED)
            self.offset_ = float(min(low - FENCE * (high - low), most))
            return
        scores = self._score_rows(rows, np.zeros(len(weight)))
        self.offset_ = float(smallest_above(scores, weight, float(self.contamination)))

    def _chosen_likelihoods(self) -> dict[str, str]:
        return {**super()._chosen_likelihoods(), "continuous": "gaussian"}

    def _scored_rows(self, X: Any) -> ScoredRows:
        """Rows beside the model that they are judged by."""
        if isinstance(self._detection, ConstantTable):
            refuse_without_model()
        return self._latent.scored(self._rows(X))

    @property
    def _statistic(self) -> str:
        return self.score

    def _score_rows(self, rows: Rows, n_novel: np.ndarray) -> np.ndarray:
        return -self._detection.statistic(self._fitted_statistic, rows, n_novel)
