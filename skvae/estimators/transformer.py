"""`VAETransformer`: latents, density and samples of a mixed table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skvae.estimators._base import BaseVAE, hidden_sizes, torch_defaults
from skvae.estimators._latent import LatentModel
from skvae.training.density import DensityFitter, DensitySettings

# Training rows whose posteriors are kept, for draws from their average.
AGGREGATED_ROWS = 10_000


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseVAE):
    """Latent coordinates of mixed and incomplete tables, their density and new rows.

    A variational autoencoder [1]_ that starts as factor analysis, fitted in closed form, and that
    networks bend while the bound on held-out rows grows. Rows may have holes: everything observed
    counts, nothing else does.

    Parameters
    ----------
    n_components : int, "auto" or None, default="auto"
        Latent dimensions; "auto" picks those whose linear model predicts held-out entries best,
        None takes as many as there are features: the better density.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of the encoder, reversed in the decoder. ``()`` is the linear VAE: factor
        analysis, solved exactly.
    prior : {"normal", "mixture", "vamp"}, default="normal"
        ``p(z)``: standard normal, a mixture of Gaussians, or a mixture of the posteriors of
        learnt pseudo-rows [4]_. The last two need hidden layers.
    n_prior_components : int or "auto", default="auto"
        Of the mixtures; "auto" is one for 15 rows, from 8 to 128.
    n_importance_samples : int, default=8
        Samples of the training bound: 1 is the ELBO, more the IWAE [2]_.
    beta : float, default=1.0
        Weight of the divergence from the prior [3]_: 0 is an autoencoder, below 1 reconstructs
        more sharply, above 1 compresses more.
    free_bits : float, default=0.0
        With one importance sample: nats per latent dimension that cost nothing.
    kl_warmup : float, default=0.0
        Share of the steps over which the divergence's weight grows from 0 to `beta`.
    noise : {"diagonal", "isotropic"}, default="diagonal"
        Noise of the linear start: one variance per column (factor analysis) or one for all
        standardised columns (probabilistic PCA).
    column_types : dict or None, default=None
        Kinds by column name (position for arrays) where the dtype does not tell: "continuous",
        "positive", "count", "binary", "ordinal" or "categorical".
    likelihood : dict or None, default=None
        Likelihood by kind: ``{"continuous": "heteroscedastic" | "gaussian" | "student_t"}``,
        ``{"count": "negative_binomial" | "poisson"}``. The first of each is the default;
        without hidden layers "gaussian" is.
    max_categories : int, default=100
        Levels of one column that are modelled, the most frequent first.
    alpha : float, default=0.3
        Weight decay towards the linear model.
    max_iter : int or "auto", default="auto"
        Gradient steps; "auto" grows with the number of rows from 100 to 8000.
    batch_size : int, default=64
    learning_rate_init : float, default=5e-3
        Peak of a one-cycle schedule.
    early_stopping : bool, default=True
        Keep the best state by the bound on held-out rows, end when it no longer grows.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    n_iter_no_change : int, default=8
        Validations, of 20 in a full run, without progress before training ends.
    tol : float, default=1e-3
        What counts as progress, in nats per row.
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=False

    Attributes
    ----------
    n_components_ : int
    component_scores_ : dict
        Held-out mean squared error by number of components; empty unless `n_components` is "auto".
    n_iter_ : int
        Gradient steps, or rounds of expectation maximisation without hidden layers.
    loss_curve_ : list of float
        Negative training bound by validation, in nats per row and units of the scaled table.
    validation_scores_ : list of float
        Bound on held-out rows by validation.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for frames with string names.

    See Also
    --------
    sklearn.decomposition.FactorAnalysis : The linear model, complete numeric tables only.
    sklearn.mixture.GaussianMixture : Densities of complete numeric tables.

    References
    ----------
    .. [1] Kingma and Welling (2014), Auto-Encoding Variational Bayes.
    .. [2] Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders.
    .. [3] Higgins et al. (2017), beta-VAE.
    .. [4] Tomczak and Welling (2018), VAE with a VampPrior.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> X = load_iris(as_frame=True).data
    >>> model = VAETransformer(n_components=2, max_iter=100, random_state=0).fit(X)
    >>> model.transform(X).shape
    (150, 2)
    >>> model.sample(3, random_state=0).shape
    (3, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseVAE._parameter_constraints,
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), None],
        "prior": [StrOptions({"normal", "mixture", "vamp"})],
        "n_prior_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="both")],
        "noise": [StrOptions({"diagonal", "isotropic"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | str | None = "auto",
        *,
        hidden_layer_sizes: str | Sequence[int] = "auto",
        prior: str = "normal",
        n_prior_components: int | str = "auto",
        n_importance_samples: int = 8,
        beta: float = 1.0,
        free_bits: float = 0.0,
        kl_warmup: float = 0.0,
        noise: str = "diagonal",
        column_types: Mapping[Any, str] | None = None,
        likelihood: Mapping[str, str] | None = None,
        max_categories: int = 100,
        alpha: float = 0.3,
        max_iter: int | str = "auto",
        batch_size: int = 64,
        learning_rate_init: float = 5e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 8,
        tol: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.prior = prior
        self.n_prior_components = n_prior_components
        self.n_importance_samples = n_importance_samples
        self.beta = beta
        self.free_bits = free_bits
        self.kl_warmup = kl_warmup
        self.noise = noise
        self.column_types = column_types
        self.likelihood = likelihood
        self.max_categories = max_categories
        self.alpha = alpha
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    # Fit ------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VAETransformer:
        """Learn the table.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Numbers, categories and holes.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None
            A row of weight 2 counts as two rows, one of weight 0 is left out.

        Returns
        -------
        VAETransformer
            The fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If a column cannot be modelled or parameters contradict each other; the message names
            the column or the parameter, and the remedy.
        """
        X, weight = self._fit_codec(X, sample_weight)
        self._hidden = hidden_sizes(self.hidden_layer_sizes, len(weight))
        self._check_combinations()
        with torch_defaults():
            self._fit_model(X, weight)
        return self

    def _check_combinations(self) -> None:
        if not self._hidden and self.prior != "normal":
            raise ValueError(
                f"prior={self.prior!r} is learnt with the networks; hidden_layer_sizes=() has none."
            )
        if self.free_bits and self.n_importance_samples > 1:
            raise ValueError(
                "free_bits is defined for the ELBO: set n_importance_samples=1, or free_bits=0."
            )

    def _fit_model(self, X: Any, weight: np.ndarray) -> None:
        encoded = self._tensors(X, weight)
        if encoded is None:
            names = [column.name for column in self._codec.columns]
            raise ValueError(
                f"No column of X varies over its n_samples={len(weight)}: {names}. There is "
                "nothing to embed; give rows that differ."
            )
        tensors, scaler = encoded
        n_features = tensors.features.shape[1]
        if isinstance(self.n_components, Integral) and self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} is more than the {n_features} features that the "
                "columns of X have (one per number, one per level of a category). Lower it."
            )
        seed = self._seed()
        model, report = DensityFitter(tensors, self._density_settings(len(weight)), seed).fit()
        self._latent = LatentModel(model, scaler, seed)
        self._n_features_out = self.n_components_ = report.n_components
        self.component_scores_ = report.component_scores
        self.loss_curve_ = report.history.loss
        self.validation_scores_ = [scores[0] for scores in report.history.scores]
        self.n_iter_ = report.history.n_iter or max(report.n_linear_iter, 1)
        with torch.no_grad():
            some = slice(AGGREGATED_ROWS)
            seen = tensors.observed[some].index_select(1, tensors.feature_columns)
            self._aggregated = model.posterior(tensors.features[some], seen.unsqueeze(0))
        if report.history.recovered:
            warnings.warn(
                f"The loss stopped being finite after {self.n_iter_} steps; the best state before "
                "was kept. Lower learning_rate_init, or look for columns with extreme values.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _chosen_likelihoods(self) -> dict[str, str]:
        first = "heteroscedastic" if self._hidden else "gaussian"
        return {**super()._chosen_likelihoods(), "continuous": first}

    def _density_settings(self, n_rows: int) -> DensitySettings:
        steps = int(np.clip(4 * n_rows, 100, 8000))
        n_mixture = self.n_prior_components
        if isinstance(n_mixture, str):
            n_mixture = np.clip(n_rows // 15, 8, 128)
        return DensitySettings(
            n_components=self.n_components,
            hidden_layer_sizes=self._hidden,
            prior=self.prior,
            n_mixture=int(n_mixture),
            n_importance_samples=int(self.n_importance_samples),
            beta=float(self.beta),
            free_bits=float(self.free_bits),
            kl_warmup=float(self.kl_warmup),
            isotropic=self.noise == "isotropic",
            weight_decay=float(self.alpha),
            max_iter=steps if self.max_iter == "auto" else int(self.max_iter),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate_init),
            early_stopping=bool(self.early_stopping),
            validation_fraction=float(self.validation_fraction),
            n_iter_no_change=int(self.n_iter_no_change),
            tol=float(self.tol),
            verbose=bool(self.verbose),
        )

    # Latents --------------------------------------------------------------------------------

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means ``E[z | x_o]``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_components)
        """
        return self.posterior(X)[0]

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of ``q(z | x_o)``, wider where more is missing.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        mean, std : ndarray of float64, shape (n_samples, n_components)
        """
        self._check_input(X)
        return self._latent.moments(*self._codec.encode(X))

    def inverse_transform(self, Z: Any) -> Any:
        """The table that latents stand for: means and most probable categories.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features_out)
            With the names and dtypes seen at fit.
        """
        Z = self._check_latents(Z, "Z")
        return self._codec.decode_all(self._latent.decode(Z))

    def reconstruct(self, X: Any) -> Any:
        """`inverse_transform` of `transform`, under the index of `X`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features_out)
        """
        return self._codec.decode_all(self._latent.decode(self.posterior(X)[0]), like=X)

    # Density --------------------------------------------------------------------------------

    def score_samples(
        self, X: Any, *, method: str = "importance", n_samples: int = 256
    ) -> np.ndarray:
        """Log-density of every row's observed part, in the units of the columns.

        Counts and categories contribute log-masses; constant columns contribute nothing.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        method : {"importance", "prior", "elbo"}, default="importance"
            Importance sampling from the posterior [2]_, the mean likelihood under draws from the
            prior, or the lower bound. The first two estimate the same number; the second needs
            far more samples where rows say much about ``z``.
        n_samples : int, default=256
            Of ``z`` for each row.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats.
        """
        if method not in ("importance", "prior", "elbo"):
            raise ValueError(f"method must be 'importance', 'prior' or 'elbo', got {method!r}.")
        self._check_input(X)
        _check_positive(n_samples, "n_samples")
        return self._latent.log_prob(*self._codec.encode(X), method, int(n_samples))

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
            Between 1 and `n_samples`; where it is small, `score_samples` reads low.
        """
        self._check_input(X)
        _check_positive(n_samples, "n_samples")
        return self._latent.effective_sample_size(*self._codec.encode(X), int(n_samples))

    # Generation -----------------------------------------------------------------------------

    def sample(
        self,
        n_samples: int = 1,
        *,
        source: str = "prior",
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """New rows.

        Parameters
        ----------
        n_samples : int, default=1
        source : {"prior", "aggregated"}, default="prior"
            Draw ``z`` from the prior, or from the posteriors of training rows.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features_out)
            With the names, dtypes and categories seen at fit.
        """
        check_is_fitted(self)
        _check_positive(n_samples, "n_samples")
        if source not in ("prior", "aggregated"):
            raise ValueError(f"source must be 'prior' or 'aggregated', got {source!r}.")
        random = check_random_state(random_state)
        generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        with torch.no_grad():
            model = self._latent.model
            if source == "prior":
                z = model.prior.sample(int(n_samples), model, generator)
            else:
                n_rows = self._aggregated.move.shape[1]
                rows = torch.randint(n_rows, (1, int(n_samples)), generator=generator)
                z = self._aggregated.take(rows).sample(generator)
        return self._codec.decode_all(self._latent.sample(z[0], generator))

    # Walks ----------------------------------------------------------------------------------

    def interpolate(
        self, X_start: Any, X_end: Any, n_steps: int = 10, *, method: str = "linear"
    ) -> Any:
        """Rows on the way from one to another, through latent space.

        Parameters
        ----------
        X_start, X_end : DataFrame or array-like of shape (n_pairs, n_features)
        n_steps : int, default=10
            Rows per pair, both ends included.
        method : {"linear", "spherical"}, default="linear"
            Straight lines, or along great circles (White 2016), which keep the typical distance
            from the origin of a standard normal prior.

        Returns
        -------
        DataFrame or ndarray of shape (n_pairs * n_steps, n_features_out)
            Pair after pair.
        """
        if method not in ("linear", "spherical"):
            raise ValueError(f"method must be 'linear' or 'spherical', got {method!r}.")
        if not isinstance(n_steps, Integral) or n_steps < 2:
            raise ValueError(f"n_steps must be an integer of at least 2, got {n_steps!r}.")
        start, end = self.transform(X_start), self.transform(X_end)
        if len(start) != len(end):
            raise ValueError(
                f"X_start and X_end must have as many rows, got {len(start)} and {len(end)}."
            )
        t = np.linspace(0, 1, int(n_steps))[:, None]
        path = _spherical(start, end, t) if method == "spherical" else _linear(start, end, t)
        return self.inverse_transform(path.reshape(-1, path.shape[-1]))

    def attribute_direction(self, X: Any, labels: Any) -> np.ndarray:
        """Difference of the mean latents of two groups.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        labels : array-like of shape (n_samples,)
            Two distinct values; the direction leads from the smaller to the larger.

        Returns
        -------
        ndarray of shape (n_components,)
        """
        z = self.transform(X)
        labels = np.asarray(labels)
        if labels.shape != (len(z),):
            raise ValueError(f"labels must have shape ({len(z)},), got {labels.shape}.")
        groups = np.unique(labels)
        if len(groups) != 2:
            raise ValueError(
                f"labels must hold two distinct values, got {len(groups)}. For several groups, "
                "pass one against the rest: labels == value."
            )
        return z[labels == groups[1]].mean(axis=0) - z[labels == groups[0]].mean(axis=0)

    def shift(self, X: Any, direction: Any, strength: Any = 1.0) -> Any:
        """Move rows along directions of latent space.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        direction : array-like of shape (n_components,) or (n_directions, n_components)
            See `attribute_direction`; several are summed.
        strength : float or array-like of shape (n_directions,), default=1.0
            How far along each; beyond 1 extrapolates, below 0 goes back.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features_out)
            Under the index of `X`.
        """
        z = self.transform(X)
        directions = self._check_latents(np.atleast_2d(direction), "direction")
        strengths = np.asarray(strength, dtype=float)
        if strengths.shape not in ((), (len(directions),)):
            raise ValueError(
                f"strength must be a number or have one per direction ({len(directions)}), got "
                f"shape {strengths.shape}."
            )
        moved = z + np.broadcast_to(strengths, len(directions)) @ directions
        return self._codec.decode_all(self._latent.decode(moved), like=X)

    def _check_latents(self, Z: Any, name: str) -> np.ndarray:
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float64, input_name=name)
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"{name} has {Z.shape[1]} columns, but the latent space has {self.n_components_}: "
                "give what `transform` returns."
            )
        return Z


def _check_positive(value: Any, name: str) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")


def _linear(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Straight lines, (n_pairs, n_steps, k)."""
    return start[:, None] * (1 - t) + end[:, None] * t


def _spherical(start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Great circles with radii in between, (n_pairs, n_steps, k)."""
    norms = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
    cosine = (start * end).sum(axis=1) / np.maximum(norms, 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None, None]
    # Where both point the same way, or opposite ways, no great circle is singled out.
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1.0, np.sin(angle))
    arc = start[:, None] * np.sin((1 - t) * angle) / sine + end[:, None] * np.sin(t * angle) / sine
    return np.where(straight, _linear(start, end, t), arc)
