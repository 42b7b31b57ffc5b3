"""`MultimodalVAE`: several blocks of columns, any of which may be absent in any row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from skvae.estimators._base import BaseVAE, hidden_sizes
from skvae.estimators._block_latent import BlockLatentModel
from skvae.estimators._block_table import BlockTable
from skvae.estimators._chunked import FitTransform
from skvae.estimators._latent import Rows
from skvae.estimators._latent_table import AGGREGATED_ROWS
from skvae.estimators._modalities import (
    BlockTables,
    Modalities,
    is_blocks,
    warn_of_empty_rows,
    warn_of_islands,
)
from skvae.estimators._session import watched
from skvae.inference.session import torch_defaults
from skvae.training.multimodal import MultimodalFitter, MultimodalSettings

# A cluster of the prior for so many rows, at most so many.
ROWS_PER_CLUSTER, MOST_CLUSTERS = 4, 256


class MultimodalVAE(ClassNamePrefixFeaturesOutMixin, FitTransform, BlockTable):
    """One latent space for several blocks of columns, any of which a row may lack.

    Assays, questionnaires, sensors, embeddings of texts: blocks of columns for the same rows, and
    most rows lack some. Every block is an expert on the latents; the experts of blocks that a row
    has are multiplied, with the prior as one more [1]_, and such products are mixed over subsets
    of the blocks. The model starts as group factor analysis [2]_ by variational Bayes and a
    mixture of Gaussians as the prior, both in closed form; networks bend the experts and the
    decoder where that makes held-out rows more likely.

    Parameters
    ----------
    modalities : dict or None, default=None
        Columns by block name: lists of names (positions of an array), slices, or boolean masks.
        None is one block of all columns, or the blocks of a mapping given to `fit`.
    n_components : int or "auto", default="auto"
        Latent dimensions that blocks share; a dimension may still serve a single block. "auto" is
        a fifth of the rows that a column has on average, at most 160 and half of the columns.
    n_private_components : int, default=0
        Further dimensions for every block that the other blocks neither see nor influence. They
        are no part of what `transform` returns.
    fusion : {"poe", "moe", "mopoe"}, default="mopoe"
        The posterior is the product of the experts of all blocks that a row has, the mixture of
        the single blocks' posteriors [3]_, or the mixture of those of all subsets of them [4]_ (of
        63 random subsets, if there are more than six blocks). The product is the model's own
        posterior, and densities always are the model's; but columns of a block share what the
        model does not know, and the product is then too sure. The mixture tells how far blocks
        agree: its intervals hold better, and what a row lacks moves its latents less.
    modality_weights : dict, "balanced" or None, default=None
        How much the likelihood of each block counts in the posterior and in training: numbers by
        block name (1 where not named), or as much for a narrow block as for a wide one. Densities
        are those of the model, without weights.
    readout : {"kernel", "decoder"}, default="kernel"
        How `predict` and `sample_conditional` get to numbers of an absent block: the average of the
        decoder's answer and of kernel ridge regressions on the blocks that a row has, which the
        model completes; held-out rows set the weights (.3 for the decoder where fewer than 30 tell;
        see `decoder_shares_`). Where four times as many rows lack the
        target, answers also follow the graph of neighbouring rows. Or the decoder alone, whose
        answers are those of the densities. Latents and densities do not change.
    prior : {"mixture", "normal"}, default="mixture"
        ``p(z)``: a mixture of Gaussians with one covariance, if it makes held-out rows more
        likely, or a standard normal.
    n_prior_components : int or "auto", default="auto"
        Of the mixture; "auto" is one for four rows, at most 256.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of each block's network and, reversed, of the decoder. ``()`` is the linear
        model with its mixture, whose densities are exact, and posteriors too if
        ``fusion="poe"``.
    n_importance_samples : int, default=1
        Samples of ``z`` for each row of a training step.
    beta : float, default=1.0
        Weight of the divergence from the prior in training.
    column_types : dict or None, default=None
        Kinds by column name (position for arrays) where the dtype does not tell: "continuous",
        "positive", "count", "binary", "ordinal" or "categorical".
    likelihood : dict or None, default=None
        Likelihood by kind: ``{"continuous": "gaussian" | "heteroscedastic" | "student_t"}``,
        ``{"count": "negative_binomial" | "poisson"}``. The first of each is the default.
    max_categories : int, default=100
        Levels of one column that are modelled, the most frequent first.
    alpha : float, default=0.3
        Weight decay of the networks, towards the linear model.
    max_iter : int or "auto", default="auto"
        Gradient steps; "auto" grows with the number of rows from 100 to 3000.
    batch_size : int, default=128
    learning_rate_init : float, default=2e-3
        Peak of a one-cycle schedule.
    early_stopping : bool, default=True
        Hold rows out that decide on networks and prior and end the training.
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
    modalities_ : dict
        Names of the columns of every block.
    n_components_ : int
        Dimensions that `transform` returns.
    n_prior_components_ : int
        Of the mixture; 1 where a normal prior is better.
    uses_networks_ : bool
        Whether networks made held-out rows more likely.
    decoder_shares_ : dict
        Weight of the decoder in what is predicted, by block name; the rest is the regressions'.
    expert_precisions_ : ndarray of shape (n_blocks, n_components)
        What a whole block says about each latent, in units of the prior's precision.
    n_iter_ : int
        Gradient steps, or rounds of variational Bayes without.
    loss_curve_ : list of float
        Negative training bound by validation, in nats per row and units of the scaled table.
    validation_scores_ : list of float
        Bound on held-out rows by validation.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for frames with string names.

    See Also
    --------
    VAETransformer : One block of columns.

    Notes
    -----
    There is no parameter `inference`: the posterior of any part of a row is the product of what the
    part has, by the rules of probability rather than by an encoder that must have seen such parts.
    It is exact where the model is linear and `fusion` is "poe".

    References
    ----------
    .. [1] Wu and Goodman (2018), Multimodal Generative Models for Scalable Weakly-Supervised
       Learning.
    .. [2] Klami, Virtanen, Leppaeaho and Kaski (2015), Group Factor Analysis.
    .. [3] Shi, Siddharth, Paige and Torr (2019), Variational Mixture-of-Experts Autoencoders for
       Multi-Modal Deep Generative Models.
    .. [4] Sutter, Daunhawer and Vogt (2021), Generalized Multimodal ELBO.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skvae import MultimodalVAE
    >>> X = load_digits().data
    >>> halves = {"top": slice(0, 32), "bottom": slice(32, 64)}
    >>> model = MultimodalVAE(halves, hidden_layer_sizes=(), random_state=0).fit(X)
    >>> model.predict(X[:2], target="bottom").shape
    (2, 32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in BaseVAE._parameter_constraints.items()
            if name != "alpha"
        },
        "modalities": [dict, None],
        "n_private_components": [Interval(Integral, 0, None, closed="left")],
        "fusion": [StrOptions({"poe", "moe", "mopoe"})],
        "modality_weights": [dict, StrOptions({"balanced"}), None],
        "readout": [StrOptions({"kernel", "decoder"})],
        "prior": [StrOptions({"mixture", "normal"})],
        "n_prior_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "alpha": BaseVAE._parameter_constraints["alpha"][2:],
    }

    def __init__(
        self,
        modalities: Mapping[Any, Any] | None = None,
        n_components: int | str = "auto",
        *,
        n_private_components: int = 0,
        fusion: str = "mopoe",
        modality_weights: Mapping[Any, float] | str | None = None,
        readout: str = "kernel",
        prior: str = "mixture",
        n_prior_components: int | str = "auto",
        hidden_layer_sizes: str | Sequence[int] = "auto",
        n_importance_samples: int = 1,
        beta: float = 1.0,
        column_types: Mapping[Any, str] | None = None,
        likelihood: Mapping[str, str] | None = None,
        max_categories: int = 100,
        alpha: float = 0.3,
        max_iter: int | str = "auto",
        batch_size: int = 128,
        learning_rate_init: float = 2e-3,
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
        self.modalities = modalities
        self.n_components = n_components
        self.n_private_components = n_private_components
        self.fusion = fusion
        self.modality_weights = modality_weights
        self.readout = readout
        self.prior = prior
        self.n_prior_components = n_prior_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.beta = beta
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
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MultimodalVAE:
        """Learn the blocks and how they go together.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), dict or chunks of them
            One table, or one for each block with the same rows, or tables of all columns in chunks:
            an iterator or a list of frames, or Parquet (a path, a folder, a
            `pyarrow.dataset.Dataset` or `ParquetFile`). A block that a row lacks is NaN in all of
            its columns; single holes are allowed too.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), str or None
            A row of weight 2 counts as two rows in likelihoods and errors, one of weight 0 is left
            out. How many latents and clusters there are hangs on the number of rows, and rows that
            stand in X twice make held-out rows and leave-one-out errors too good. Or the name of a
            column of X, as it must be for chunks.

        Returns
        -------
        MultimodalVAE
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If blocks overlap, are empty, unknown or absent everywhere, or columns cannot be
            modelled; the message names the block or the column, and the remedy.
        """
        columns, self._tables = self.modalities, None
        if is_blocks(X):
            if columns is not None:
                raise ValueError("Give either modalities or X as a mapping of blocks, not both.")
            self._tables = BlockTables(X)
            X, columns = self._tables.join(X), self._tables.columns
        X, _, sample_weight = self._rows_to_learn(X, y, sample_weight)
        X, weight = self._fit_codec(X, sample_weight, fills=False)
        if not self._codec.modelled.size:
            self._refuse_constant_table(len(weight), "embed")
        self._modalities = Modalities(columns, self._codec)
        with torch_defaults(grad=True):
            self._fit_model(X, weight)
        return self

    def _fit_model(self, X: Any, weight: np.ndarray) -> None:
        rows = Rows(*self._codec.encode(X))
        encoded = self._tensors(rows.values, rows.observed, weight)
        assert encoded is not None  # some column varies
        tensors, scaler = encoded
        modalities = self._modalities
        present = modalities.present(rows.observed)
        warn_of_empty_rows(present)
        warn_of_islands(present, modalities.names)
        self._check_width(self.n_components, tensors.features.shape[1])
        seed = self._seed()
        block_of = torch.as_tensor(modalities.block_of)[tensors.feature_columns]
        settings = self._multimodal_settings(modalities.weights(self.modality_weights), len(weight))
        fitter = MultimodalFitter(tensors, block_of, settings, seed)
        model, clusters, readout, report = fitter.fit()
        self._latent = BlockLatentModel(model, scaler, seed, clusters, readout)
        self._training_part = self._latent.table(rows).take(slice(AGGREGATED_ROWS))
        n_private = len(modalities.names) * int(self.n_private_components)
        names = [column.name for column in self._codec.columns]
        self.modalities_ = {
            name: [names[j] for j in places]
            for name, places in zip(modalities.names, modalities.places, strict=True)
        }
        self.n_components_ = self._n_features_out = report.n_components - n_private
        self.n_prior_components_ = report.n_clusters
        self.uses_networks_ = report.networks
        shares = np.ones(len(modalities.names)) if readout is None else readout.share.numpy()
        self.decoder_shares_ = dict(
            zip(modalities.names, shares.astype(float).tolist(), strict=True)
        )
        self.expert_precisions_ = self._latent.expert_precisions[:, : self.n_components_]
        self._publish_history(report)

    def transform(self, X: Any) -> np.ndarray:
        """Means of ``q(z | x_o)``, from whatever blocks a row has.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
            A dict may leave blocks out.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_components)
        """
        return self._latent.means(self._rows(X))[:, : self.n_components_]

    def _chosen_likelihoods(self) -> dict[str, str]:
        return {**super()._chosen_likelihoods(), "continuous": "gaussian"}

    def _multimodal_settings(self, weights: np.ndarray, n_rows: int) -> MultimodalSettings:
        n_clusters = self.n_prior_components
        if isinstance(n_clusters, str):
            n_clusters = np.clip(n_rows // ROWS_PER_CLUSTER, 1, MOST_CLUSTERS)
        return self._density_settings(
            hidden_sizes(self.hidden_layer_sizes, n_rows),
            int(np.clip(n_rows, 100, 3000)),
            MultimodalSettings,
            n_private_components=int(self.n_private_components),
            fusion=self.fusion,
            readout=self.readout,
            prior=self.prior,
            n_mixture=int(n_clusters),
            block_weights=tuple(weights.tolist()),
        )
