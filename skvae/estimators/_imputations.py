"""What a fitted imputer says beside its fillings: draws, intervals and densities."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skvae.estimators._bootstrap import draws_of_all
from skvae.estimators._missingness import NonignorableTable


class ImputedTable(NonignorableTable):
    """Draws, intervals and log-densities of incomplete rows."""

    def sample_imputations(
        self, X: Any, n_draws: int = 10, random_state: int | np.random.RandomState | None = None
    ) -> list[Any]:
        """Filled tables drawn from ``p(x_m | x_o)``, for multiple imputation.

        `skvae.pool` combines what is then estimated on each. Draw at least as many tables as there
        are models (`n_estimators`), and more than one model where rows are few.

        Numbers of a column that repeats itself, as zeros and readings on a scale do, are drawn
        among those seen at fit, where most hidden values can be expected to be among them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_draws : int, default=10
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        list of DataFrame or ndarray
            Without indicator columns.
        """
        self._check_input(X)
        if not isinstance(n_draws, Integral) or n_draws < 1:
            raise ValueError(f"n_draws must be a positive integer, got {n_draws!r}.")
        values, observed = self._codec.encode(X)
        random = check_random_state(random_state)
        draws = draws_of_all(
            self._members or [self._predictor], values, observed, int(n_draws), random
        )
        return [self._decode(draw, X) for draw in draws]

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[Any, Any]:
        """Bounds between which hidden numbers lie with the given probability.

        The density's standard deviation, scaled so that held-out entries of the training table
        are covered as often as asked.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        coverage : float, default=0.9

        Returns
        -------
        lower, upper : DataFrame or ndarray of shape (n_samples, n_features_out)
            Observed cells hold their value and categories the most probable one, in both.
        """
        self._check_input(X)
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(f"coverage must lie between 0 and 1, got {coverage!r}.")
        values, observed = self._codec.encode(X)
        lower, upper = self._predictor.bounds(values, observed, float(coverage))
        # Whole numbers are rounded outwards: to the nearest, intervals would cover too little.
        whole = np.array([column.integer for column in self._modelled_columns], dtype=bool)
        lower[:, whole], upper[:, whole] = np.floor(lower[:, whole]), np.ceil(upper[:, whole])
        return self._decode(lower, X), self._decode(upper, X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of every row's observed part, in the units of the columns.

        Importance-sampling estimate under the mixture of generative members. Counts and
        categories contribute log-masses; constant columns contribute nothing. Where holes say
        something (`missingness_model`), their log-mass is included, and counts have densities.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats.
        """
        self._check_input(X)
        return self._predictor.log_prob(*self._codec.encode(X))
