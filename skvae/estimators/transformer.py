"""`VAETransformer`: latents, density and samples of a mixed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skvae.estimators._base import BaseVAE, hidden_sizes, stochastic_layers
from skvae.estimators._chunked import FitTransform
from skvae.estimators._combinations import (
    check_combinations,
)
from skvae.estimators._session import watched
from skvae.estimators._transformer import FittedTransformer
from skvae.inference.session import torch_defaults
from skvae.training.proposals import INFERENCE

# Rows over which `layer_divergences_` is averaged.
DIVERGENCE_ROWS = 1000


class VAETransformer(ClassNamePrefixFeaturesOutMixin, FitTransform, FittedTransformer):
    """Latent coordinates of mixed and incomplete tables, their density and new rows.

    A variational autoencoder [1]_ that starts as factor analysis, fitted in closed form, and that
    networks bend while the bound on held-out rows grows. Rows may have holes: everything observed
    counts, nothing else does.

    Parameters
    ----------
    n_components : int, "auto", None or tuple of int, default="auto"
        Latent dimensions; "auto" picks those whose linear model predicts held-out entries best,
        None takes as many as there are features: the better density. A tuple like ``(16, 8)``
        means several stochastic layers, the one next to the data first.
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
        more sharply, above 1 compresses more. Unless it is 1, the bound is the ELBO. Without
        networks it needs a known `noise`: dimensions then have to rise above ``beta * noise``.
    free_bits : float, default=0.0
        With one importance sample: nats per latent dimension that cost nothing.
    kl_warmup : float, default=0.0
        Share of the steps over which the divergence's weight grows from 0 to `beta`.
    noise : {"diagonal", "isotropic"} or float, default="diagonal"
        Noise of the linear start: one variance per column (factor analysis), one for all
        standardised columns (probabilistic PCA), or a known one for all of them. Without networks,
        dimensions that do not rise above it collapse [12]_: see `skvae.inspection.linear_report`.
    rotation : {"auto", "principal", "varimax", "random"}, default="auto"
        Axes of the linear start, which fits the table equally well under all. "principal" has
        independent posteriors, most informative first: those of the linear VAE by default.
        "varimax" lets columns hang on few latents [9]_. "random" shows how far a fit depends on
        where it starts.
    condition_on : list or None, default=None
        Columns of `X` (names, or positions of an array) that are given rather than modelled:
        everything is then about the other columns given these [5]_. They must have no holes.
    conditioning : {"decoder", "prior", "both"}, default="decoder"
        What the condition c drives: ``p(x | z, c) p(z)``, ``p(x | z) p(z | c)`` or both. With
        "prior", latents are independent given c, which identifies them where c takes enough
        different values with many rows each, ``2 * n_components + 1`` at least [10]_: an
        identifiable VAE.
    hierarchy : {"markov", "skip"}, default="markov"
        With several layers: each sees the layer above it, ``p(z_1 | z_2) p(x | z_1)``, or all
        layers above, ``p(x | z_1, z_2)``.
    layer_inference : {"top_down", "bottom_up", "both"}, default="top_down"
        With several layers: ``q(z_2 | x) q(z_1 | z_2, x)``, ``q(z_1 | x) q(z_2 | z_1)``, or
        experts found from the row times the prior from above [6]_.
    inference : {"amortized", "posterior_matching", "adaptive"}, default="amortized"
        How a row gets ``q(z | x_o)``. From the encoder, which knows such holes as `X` had at fit.
        From an extra encoder that learns, on parts of the complete rows of `X`, what the first one
        says of the whole [7]_: for encoders that saw no holes. Or each row its own, optimised from
        the encoder's on with the decoder as it is, until the row's bound no longer grows [8]_: the
        most precise, and by far the slowest; rows whose samples are worth half their number stay
        as they are. Importance weights correct all three.
    encoder, decoder : torch.nn.Module, "sparse" (the decoder alone) or None, default=None
        "sparse" lets every column hang on few latents, through masks under a spike-and-slab lasso
        prior and a network of its own [11]_; see `loadings_`. It learns how latents correlate, and
        takes one stochastic layer and ``prior="normal"``.
        Modules are networks of your own in place of the hidden layers; copies are trained. The
        encoder is called with two tensors of shape (batch, n_inputs): standardised features, 0
        where absent, and their mask of zeros and ones; the decoder with latents (batch,
        n_components). Numbers of the condition come after the features (with ones in the mask)
        and, where the decoder sees it, after the latents. Either returns a tensor (batch, any
        width); a linear layer that leads on from there is added.
    column_types : dict or None, default=None
        Kinds by column name (position for arrays) where the dtype does not tell: "continuous",
        "positive", "count", "binary", "ordinal" or "categorical".
    likelihood : dict or None, default=None
        Likelihood by kind: ``{"continuous": "heteroscedastic" | "gaussian" | "student_t"}``,
        ``{"count": "negative_binomial" | "poisson"}``. The first of each is the default;
        without hidden layers and with a sparse decoder "gaussian" is.
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
    subsample : int or None, default=200_000
        Rows, drawn at random, that a longer table is learnt from, with those that show levels, ends
        and holes which the sample lacks; None takes all of them.
    device : str, default="cpu"
        Where networks are trained and asked: "cpu", "cuda", "mps", a name that torch knows, or
        "auto", the first of "cuda", "mps" and "cpu" that is here. Parallel jobs each have a copy
        of table and models there.
    engine : skvae.FabricEngine or None, default=None
        Trains in several processes, or in mixed precision.
    checkpoint : str, path-like or None, default=None
        Folder in which a long fit keeps its state; the same fit, killed, goes on from there.
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=False
        1 shows progress bars, 2 a line for every validation.

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
    matching_scores_ : list of float
        Of posterior matching: ``E_q(z | x) log q'(z | x_o)`` on held-out rows by validation.
    layer_divergences_ : ndarray of shape (n_layers,)
        Mean divergence of the encoder's posterior from the prior over training rows, by stochastic
        layer.
    loadings_ : DataFrame of shape (n_columns, n_components)
        How far every latent moves every column, in standard deviations of the column.
    anchor_columns_ : dict
        Columns that hang on a single latent, by latent.
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
    .. [5] Sohn, Lee and Yan (2015), Learning Structured Output Representation using Deep
       Conditional Generative Models.
    .. [6] Soenderby et al. (2016), Ladder Variational Autoencoders.
    .. [7] Strauss and Oliva (2022), Posterior Matching for Arbitrary Conditioning.
    .. [8] Agarwal, Hope, Younis and Sudderth (2023), A Decoder Suffices for Query-Adaptive
       Variational Inference.
    .. [9] Kaiser (1958), The varimax criterion for analytic rotation in factor analysis.
    .. [10] Khemakhem, Kingma, Monti and Hyvarinen (2020), Variational Autoencoders and Nonlinear
       ICA: A Unifying Framework.
    .. [11] Moran, Sridhar, Wang and Blei (2022), Identifiable Deep Generative Models via Sparse
       Decoding.
    .. [12] Lucas, Tucker, Grosse and Norouzi (2019), Don't Blame the ELBO!

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
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            "array-like",
            None,
        ],
        "prior": [StrOptions({"normal", "mixture", "vamp"})],
        "n_prior_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="both")],
        "noise": [
            StrOptions({"diagonal", "isotropic"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "rotation": [StrOptions({"auto", "principal", "varimax", "random"})],
        "condition_on": ["array-like", None],
        "conditioning": [StrOptions({"decoder", "prior", "both"})],
        "hierarchy": [StrOptions({"markov", "skip"})],
        "layer_inference": [StrOptions({"top_down", "bottom_up", "both"})],
        "inference": [StrOptions(set(INFERENCE))],
        "encoder": [nn.Module, None],
        "decoder": [nn.Module, StrOptions({"sparse"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | str | Sequence[int] | None = "auto",
        *,
        hidden_layer_sizes: str | Sequence[int] = "auto",
        prior: str = "normal",
        n_prior_components: int | str = "auto",
        n_importance_samples: int = 8,
        beta: float = 1.0,
        free_bits: float = 0.0,
        kl_warmup: float = 0.0,
        noise: str | float = "diagonal",
        rotation: str = "auto",
        condition_on: Sequence[Any] | None = None,
        conditioning: str = "decoder",
        hierarchy: str = "markov",
        layer_inference: str = "top_down",
        inference: str = "amortized",
        encoder: nn.Module | None = None,
        decoder: nn.Module | str | None = None,
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
        subsample: int | None = 200_000,
        device: str = "cpu",
        engine: Any = None,
        checkpoint: Any = None,
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
        self.rotation = rotation
        self.condition_on = condition_on
        self.conditioning = conditioning
        self.hierarchy = hierarchy
        self.layer_inference = layer_inference
        self.inference = inference
        self.encoder = encoder
        self.decoder = decoder
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
        self.subsample = subsample
        self.device = device
        self.engine = engine
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    # Fit ------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    @watched
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VAETransformer:
        """Learn the table.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or chunks of them
            Numbers, categories and holes. Chunks are an iterator or a list of frames, or Parquet:
            a path, a folder, a `pyarrow.dataset.Dataset` or `ParquetFile`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), str or None
            A row of weight 2 counts as two rows, one of weight 0 is left out. Or the name of a
            column of X, as it must be for chunks.

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
        X, _, sample_weight = self._rows_to_learn(X, y, sample_weight)
        X, weight = self._fit_codec(X, sample_weight, fills=False)
        self._hidden = hidden_sizes(self.hidden_layer_sizes, len(weight))
        self._layers = stochastic_layers(self.n_components)
        check_combinations(self, self._hidden, self._layers)
        with torch_defaults(grad=True):
            self._fit_model(X, weight)
        return self

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
