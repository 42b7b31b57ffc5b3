"""Methods of estimators that hold one VAE of a table: latents, density, new rows."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skvae.estimators._conditions import Conditions
from skvae.estimators._density import DensityEstimator
from skvae.estimators._latent import LatentModel, Rows
from skvae.inference import Table
from skvae.inference.scored import ScoredRows
from skvae.inference.session import torch_defaults
from skvae.tabular import Column

# Training rows that are kept, for draws from the average of their posteriors.
AGGREGATED_ROWS = 10_000


class LatentTable(DensityEstimator):
    """What a fitted `LatentModel` offers, in the user's tables."""

    _latent: LatentModel
    _conditions: Conditions | None = None
    # Training rows, for draws from the average of their posteriors.
    _training_part: Table

    # Tables and rows ------------------------------------------------------------------------

    @property
    def _modelled_columns(self) -> list[Column]:
        columns = super()._modelled_columns
        if self._conditions is None:
            return columns
        return [columns[j] for j in self._conditions.rest]

    def _rows(self, X: Any) -> Rows:
        """Check and encode a user's table."""
        self._check_input(X)
        return self._split(*self._codec.encode(X))

    def _split(self, values: np.ndarray, observed: np.ndarray) -> Rows:
        conditions = self._conditions
        if conditions is None:
            return Rows(values, observed)
        given = conditions.split(values, observed)
        rest = conditions.rest
        return Rows(values[:, rest], observed[:, rest], conditions.features(given), given)

    def _given(self, condition: Any, n: int, name: str) -> np.ndarray | None:
        """A user's conditions for n rows, encoded; None for a model without."""
        conditions = self._conditions
        if conditions is None:
            if condition is not None:
                raise ValueError(
                    "This model has no condition: it was fitted with condition_on=None."
                )
            return None
        if condition is None:
            raise ValueError(
                f"This model is conditioned on {conditions.names}: pass condition=, a frame with "
                "these columns and one row or as many as needed."
            )
        given = conditions.read(condition)
        if len(given) not in (1, n):
            raise ValueError(
                f"condition has {len(given)} rows, but {name} {n}: give one row for all, or as "
                "many."
            )
        return np.repeat(given, n, axis=0) if len(given) == 1 else given

    def _context(self, given: np.ndarray | None) -> torch.Tensor | None:
        if given is None or self._conditions is None:
            return None
        return self._conditions.features(given)

    def _decode(self, values: np.ndarray, given: np.ndarray | None, like: Any = None) -> Any:
        """A user's table of modelled and given columns."""
        if given is not None and self._conditions is not None:
            values = self._conditions.join(values, given)
        return self._codec.decode_all(values, like=like)

    def _check_finite(self, latent: LatentModel, rows: Rows, divergences: np.ndarray) -> None:
        """Refuse a model that gives no numbers, which only users' modules can make of one."""
        z = latent.means(rows)
        fine = np.isfinite(z).all() and np.isfinite(divergences).all()
        if not fine or not np.isfinite(latent.decode(z, rows.context)).all():
            raise ValueError(
                "The networks return NaN or infinity on rows of X. Look into the modules given as "
                "encoder and decoder, or lower learning_rate_init."
            )

    def _check_latents(self, Z: Any, name: str) -> np.ndarray:
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64, input_name=name)
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"{name} has {Z.shape[1]} columns, but the latent space has {self.n_components_}: "
                "give what `transform` returns."
            )
        return Z

    # Latents --------------------------------------------------------------------------------

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of ``q(z | x_o)``, wider where more is missing.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        mean, std : ndarray of float64, shape (n_samples, n_components)
        """
        rows = self._rows(X)
        return self._latent.moments(rows)

    def inverse_transform(self, Z: Any, *, condition: Any = None) -> Any:
        """The table that latents stand for: means and most probable categories.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
        condition : DataFrame, dict or array-like, optional
            For models with `condition_on`: one row for all, or one for each row of `Z`.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            With the names and dtypes seen at fit. Columns without negative values at fit stay
            at 0 or above.
        """
        Z = self._check_latents(Z, "Z")
        given = self._given(condition, len(Z), "Z has")
        return self._decode(self._latent.decode(Z, self._context(given)), given)

    def reconstruct(self, X: Any) -> Any:
        """`inverse_transform` of the posterior means, under the index of `X`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
        """
        rows = self._rows(X)
        z = self._latent.means(rows)
        return self._decode(self._latent.decode(z, rows.context), rows.given, like=X)

    # Density --------------------------------------------------------------------------------

    def score_samples(
        self, X: Any, *, method: str = "importance", n_samples: int = 256
    ) -> np.ndarray:
        """Log-density of every row's observed part, in the units of the columns.

        Counts and categories contribute log-masses; constant columns contribute nothing. With
        `condition_on`, the density of the other columns given these.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        method : {"importance", "prior", "elbo"}, default="importance"
            Importance sampling, three quarters from the row's posterior and one from the
            prior, weighed by the mixture of both (Hesterberg 1995); the mean likelihood under
            draws from the prior; or the lower bound. The first two estimate the same number;
            the second needs far more samples where rows say much about ``z``.
        n_samples : int, default=256
            Of ``z`` for each row.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats.
        """
        return self._log_prob(self._rows(X), method, n_samples)

    def _log_prob(self, rows: Rows, method: str, n_samples: int) -> np.ndarray:
        if method not in ("importance", "prior", "elbo"):
            raise ValueError(f"method must be 'importance', 'prior' or 'elbo', got {method!r}.")
        check_positive(n_samples, "n_samples")
        return self._latent.log_prob(rows, method, int(n_samples))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: larger is better, so that a grid search needs no `y`.

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

    def effective_sample_size(self, X: Any, *, n_samples: int = 256) -> np.ndarray:
        """How many independent samples the importance weights of each row are worth.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples : int, default=256

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Between 1 and `n_samples`; where it is small, `score_samples` reads low, by nats for
            rows unlike those seen at fit: raise its `n_samples`.
        """
        check_positive(n_samples, "n_samples")
        rows = self._rows(X)
        return self._latent.effective_sample_size(rows, int(n_samples))

    def layer_divergences(self, X: Any, *, n_samples: int = 64) -> np.ndarray:
        """Divergence of the posterior from the prior, layer by layer.

        The terms of the bound: ``elbo = E[log p(x | z)] - sum of these``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples : int, default=64
            Of ``z`` for each row.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_layers)
            In nats, the layer next to the data first. A layer near 0 everywhere has collapsed.
        """
        check_positive(n_samples, "n_samples")
        rows = self._rows(X)
        return self._latent.layer_divergences(rows, int(n_samples))

    def _scored_rows(self, X: Any) -> ScoredRows:
        """Rows beside what scores them."""
        return self._latent.scored(self._rows(X))

    # Generation -----------------------------------------------------------------------------

    def sample(
        self,
        n_samples: int = 1,
        *,
        condition: Any = None,
        source: str = "prior",
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """New rows.

        Parameters
        ----------
        n_samples : int, default=1
        condition : DataFrame, dict or array-like, optional
            For models with `condition_on`: one row for all, or one for each new row. By default,
            conditions of training rows drawn at random.
        source : {"prior", "aggregated"}, default="prior"
            Draw ``z`` from the prior, or from the posteriors of training rows (then whatever
            their own conditions were).
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            With the names, dtypes and categories seen at fit, given columns included. Numbers
            of columns without negative values at fit are cut at 0; declare them "positive" in
            `column_types` for draws that need no cut.
        """
        check_is_fitted(self)
        check_positive(n_samples, "n_samples")
        if source not in ("prior", "aggregated"):
            raise ValueError(f"source must be 'prior' or 'aggregated', got {source!r}.")
        n, random = int(n_samples), check_random_state(random_state)
        model, part = self._latent.model, self._training_part
        device = self._latent.device
        with torch_defaults():
            generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
            rows = torch.randint(len(part.features), (n,), generator=generator)
        if condition is None and self._conditions is not None:
            given = self._conditions.known[rows.numpy()]
        else:
            given = self._given(condition, n, "n_samples is")
        context = self._context(given)
        context = None if context is None else context.to(device)
        with torch_defaults(device=device):
            if source == "prior":
                z = model.prior.sample(n, model, generator, context)
            else:
                z = self._latent.posterior(part.take(rows)).sample(generator)
        return self._decode(self._latent.sample(z[0], generator, context), given)


def check_positive(value: Any, name: str) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
