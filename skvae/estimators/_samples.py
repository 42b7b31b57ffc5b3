"""How far a density's samples can be relied upon."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from skvae.estimators._base import BaseVAE, refuse_without_model
from skvae.estimators._prediction import TablePredictor
from skvae.inference.scored import ScoredRows


class SampledDensity(BaseVAE):
    """What an estimator says about the importance samples behind its answers."""

    _predictor: TablePredictor
    # Of the noise of draws.
    _draw_seed: int

    @abstractmethod
    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of every row's observed part, shape (n_samples,)."""

    def effective_sample_size(self, X: Any) -> np.ndarray:
        """How many independent samples the importance weights of each row are worth.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Between 1 and 32, the samples that draws, intervals and `score_samples` take for each
            row, or 128 where holes are modelled; mean over generative members (Kong 1992). Where
            it is near 1, draws of a row repeat themselves and its score reads low:
            `inference="adaptive"` helps.
        """
        self._check_input(X)
        return self._predictor.effective_sample_size(*self._codec.encode(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: larger is better, so that a grid search needs no `y`.

        Not to be compared between mechanisms: where holes are modelled, they are scored too.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(X)))

    def _scored_rows(self, X: Any) -> ScoredRows:
        """Rows beside the members of the density."""
        self._check_input(X)
        if self._predictor.ensemble is None:
            refuse_without_model()
        return self._predictor.scored(*self._codec.encode(X), self._draw_seed)
