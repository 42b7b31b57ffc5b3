"""`MultimodalVAE`: several blocks of columns, any of which may be absent in any row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skvae.estimators._base import BaseVAE, hidden_sizes
from skvae.estimators._block_latent import BlockLatentModel
from skvae.estimators._density import warn_recovered
from skvae.estimators._latent import Rows
from skvae.estimators._latent_table import LatentTable, check_positive
from skvae.estimators._modalities import BlockTables, Modalities, is_blocks, warn_of_empty_rows
from skvae.inference.session import torch_defaults
from skvae.models.fusion import MOST_MIXED_BLOCKS
from skvae.training.multimodal import MultimodalFitter, MultimodalSettings

# Training rows that are kept, for draws from the average of their posteriors.
AGGREGATED_ROWS = 10_000


class MultimodalVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, LatentTable):
    """One latent space for several blocks of columns, any of which a row may lack.

    Assays, questionnaires, sensors, embeddings of texts: blocks of columns for the same rows, and
    most rows lack some. Every block is an expert on the latents; the experts of whatever a row has
    are multiplied, with the prior as one more [1]_. The model starts as group factor analysis [2]_
    by variational Bayes and a mixture of Gaussians as the prior, both in closed form; networks
    bend the experts and the decoder where that makes held-out rows more likely.

    Parameters
    ----------
    modalities : dict or None, default=None
        Columns by block name: lists of names (positions of an array), slices, or boolean masks.
        None is one block of all columns, or the blocks of a mapping given to `fit`.
    n_components : int or "auto", default="auto"
        Latent dimensions that blocks share; a dimension may still serve a single block. "auto" is
        a fifth of the rows that a column has on average, at most 160 and the number of columns.
    n_private_components : int, default=0
        Further dimensions for every block that the other blocks neither see nor influence. They
        are no part of what `transform` returns.
    fusion : {"poe", "moe", "mopoe"}, default="poe"
        The posterior is the product of the experts of all blocks that a row has, the mixture of
        the single blocks' posteriors [3]_, or the mixture of those of all subsets [4]_.
    modality_weights : dict, "balanced" or None, default=None
        How much the likelihood of each block counts in the posterior and in training: numbers by
        block name (1 where not named), or as much for a narrow block as for a wide one. Densities
        are those of the model, without weights.
    prior : {"mixture", "normal"}, default="mixture"
        ``p(z)``: a mixture of Gaussians with one covariance, if it makes held-out rows more
        likely, or a standard normal.
    n_prior_components : int or "auto", default="auto"
        Of the mixture; "auto" is one for eight rows, at most 128.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of each block's network and, reversed, of the decoder. ``()`` is the linear
        model with its mixture, all of whose posteriors and densities are exact.
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
    random_state : int, RandomState instance or None, default=None
    verbose : bool or int, default=False

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
        "prior": [StrOptions({"mixture", "normal"})],
        "n_prior_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "alpha": BaseVAE._parameter_constraints["alpha"][2:],
    }
    _latent: BlockLatentModel

    def __init__(
        self,
        modalities: Mapping[Any, Any] | None = None,
        n_components: int | str = "auto",
        *,
        n_private_components: int = 0,
        fusion: str = "poe",
        modality_weights: Mapping[Any, float] | str | None = None,
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
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.modalities = modalities
        self.n_components = n_components
        self.n_private_components = n_private_components
        self.fusion = fusion
        self.modality_weights = modality_weights
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
        self.random_state = random_state
        self.verbose = verbose

    # Fit ------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MultimodalVAE:
        """Learn the blocks and how they go together.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of them
            One table, or one for each block with the same rows. A block that a row lacks is NaN
            in all of its columns; single holes are allowed too.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None
            A row of weight 2 counts as two rows, one of weight 0 is left out.

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
        X, weight = self._fit_codec(X, sample_weight, fills=False)
        if not self._codec.modelled.size:
            names = [column.name for column in self._codec.columns]
            raise ValueError(
                f"No column of X varies over its n_samples={len(weight)}: {names}. There is "
                "nothing to embed; give rows that differ."
            )
        self._modalities = Modalities(columns, self._codec)
        n_blocks = len(self._modalities.names)
        if self.fusion == "mopoe" and n_blocks > MOST_MIXED_BLOCKS:
            raise ValueError(
                f"fusion='mopoe' mixes all subsets of blocks, too many for {n_blocks} of them: "
                f"it takes at most {MOST_MIXED_BLOCKS}. Use fusion='poe' or 'moe'."
            )
        with torch_defaults(grad=True):
            self._fit_model(X, weight)
        return self

    def _fit_model(self, X: Any, weight: np.ndarray) -> None:
        rows = Rows(*self._codec.encode(X))
        encoded = self._tensors(rows.values, rows.observed, weight)
        assert encoded is not None  # some column varies
        tensors, scaler = encoded
        modalities = self._modalities
        warn_of_empty_rows(modalities.present(rows.observed))
        n_features = tensors.features.shape[1]
        if isinstance(self.n_components, Integral) and self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} is more than the {n_features} features that the "
                "columns of X have (one per number, one per level of a category). Lower it."
            )
        seed = self._seed()
        block_of = torch.from_numpy(modalities.block_of)[tensors.feature_columns]
        settings = self._multimodal_settings(modalities.weights(self.modality_weights), len(weight))
        model, clusters, report = MultimodalFitter(tensors, block_of, settings, seed).fit()
        self._latent = BlockLatentModel(model, scaler, seed, clusters)
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
        precisions = self._latent.expert_precisions().numpy()
        self.expert_precisions_ = precisions[:, : self.n_components_]
        self.loss_curve_ = report.history.loss
        self.validation_scores_ = [scores[0] for scores in report.history.scores]
        self.n_iter_ = report.history.n_iter or max(report.n_linear_iter, 1)
        if report.history.recovered:
            warn_recovered(self.n_iter_)

    def _chosen_likelihoods(self) -> dict[str, str]:
        return {**super()._chosen_likelihoods(), "continuous": "gaussian"}

    def _multimodal_settings(self, weights: np.ndarray, n_rows: int) -> MultimodalSettings:
        steps = int(np.clip(n_rows, 100, 3000)) if self.max_iter == "auto" else int(self.max_iter)
        return MultimodalSettings(
            n_components=self.n_components,
            n_private_components=int(self.n_private_components),
            fusion=self.fusion,
            prior=self.prior,
            n_clusters=self.n_prior_components,
            block_weights=torch.from_numpy(weights),
            hidden_layer_sizes=hidden_sizes(self.hidden_layer_sizes, n_rows),
            n_importance_samples=int(self.n_importance_samples),
            beta=float(self.beta),
            weight_decay=float(self.alpha),
            max_iter=steps,
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
        """Means of ``q(z | x_o)``, from whatever blocks a row has.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
            A dict may leave blocks out.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_components)
        """
        return self.posterior(X)[0]

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of ``q(z | x_o)``, wider where blocks are absent.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks

        Returns
        -------
        mean, std : ndarray of float64, shape (n_samples, n_components)
        """
        mean, deviation = super().posterior(X)
        return mean[:, : self.n_components_], deviation[:, : self.n_components_]

    def inverse_transform(self, Z: Any) -> Any:
        """The table that latents stand for; private latents are at their prior's mean.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)

        Returns
        -------
        DataFrame, ndarray of shape (n_samples, n_columns), or dict of blocks
            As given to fit, with its names and dtypes.
        """
        Z = self._check_latents(Z, "Z")
        n_private = self._latent.model.n_components - Z.shape[1]
        return self._decode(self._latent.decode(np.pad(Z, ((0, 0), (0, n_private)))), None)

    # Blocks from blocks ---------------------------------------------------------------------

    def predict(self, X: Any, target: Any = None) -> Any:
        """Blocks from the other blocks.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
            What it holds of the target is not looked at.
        target : str, list of them, or None, default=None
            Blocks to predict; None fills whatever is absent in X.

        Returns
        -------
        DataFrame or ndarray
            Columns of the target, or of the whole table for None (a dict of blocks where one was
            fitted): expected numbers and most probable categories, with the dtypes seen at fit.
        """
        if target is None:
            rows = self._rows(X)
            expected = self._latent.expect(rows)
            return self._decode(np.where(rows.observed, rows.values, expected), None, like=X)
        targets, rows = self._conditioned(X, target, None)
        return self._block(self._latent.expect(rows), targets, X)

    def sample_conditional(
        self,
        X: Any,
        target: Any,
        n_draws: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
    ) -> list[Any]:
        """Draws of blocks given the other blocks.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        target : str or list of them
        n_draws : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        list of DataFrame or ndarray
            One table of the target's columns for each draw.
        """
        check_positive(n_draws, "n_draws")
        targets, rows = self._conditioned(X, target, None)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        drawn = self._latent.draw(rows, int(n_draws), seed)
        return [self._block(values, targets, X) for values in drawn]

    def score_samples(
        self,
        X: Any,
        *,
        target: Any = None,
        given: Any = None,
        method: str = "importance",
        n_samples: int = 256,
    ) -> np.ndarray:
        """Log-density of what rows show, or of some blocks given others.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        target : str, list of them, or None, default=None
            ``log p(target | given)`` instead of the joint density of all that is there.
        given : str, list of them, or None, default=None
            With a target: blocks to condition on, by default all others.
        method : {"importance", "prior", "elbo"}, default="importance"
            As of `VAETransformer.score_samples`; exact, whatever `n_samples`, for "importance"
            of a model without networks whose columns are all Gaussian.
        n_samples : int, default=256
            Of ``z`` for each row.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats and the units of the columns. A row without anything of the target scores 0.
        """
        if target is None:
            if given is not None:
                raise ValueError("given= needs a target=: which blocks should be scored?")
            return super().score_samples(X, method=method, n_samples=n_samples)
        targets, rows = self._conditioned(X, target, given)
        asked = rows.observed | (self._rows(X).observed & self._modalities.columns(targets))
        joint = Rows(self._rows(X).values, asked)
        parts = [self._latent.log_prob(each, method, int(n_samples)) for each in (joint, rows)]
        return parts[0] - parts[1]

    # Tables ---------------------------------------------------------------------------------

    def _check_input(self, X: Any) -> None:
        super()._check_input(self._joined(X))

    def _rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        rows = super()._rows(self._joined(X))
        warn_of_empty_rows(self._modalities.present(rows.observed))
        return rows

    def _joined(self, X: Any) -> Any:
        """One table of blocks given as a mapping."""
        if not is_blocks(X):
            return X
        check_is_fitted(self)
        if self._tables is not None:
            return self._tables.join(X)
        raise ValueError(
            "X is a mapping of blocks, but fit was given one table: give a table with the same "
            "columns."
        )

    def _conditioned(self, X: Any, target: Any, given: Any) -> tuple[list[int], Rows]:
        """Numbers of the target's blocks, and rows that show what is conditioned on."""
        check_is_fitted(self)
        modalities = self._modalities
        targets = modalities.numbers(target)
        others = [b for b in range(len(modalities.names)) if b not in targets]
        if given is not None:
            others = modalities.numbers(given)
            both = [modalities.names[b] for b in others if b in targets]
            if both:
                raise ValueError(f"Blocks {both} are both target and given.")
        if not others:
            raise ValueError(
                f"There is nothing to condition on: target={target!r} leaves no other block."
            )
        rows = super()._rows(self._joined(X))
        shown = self._latent.shown(rows, modalities.columns(others))
        warn_of_empty_rows(modalities.present(shown.observed)[:, others])
        return targets, shown

    def _block(self, values: np.ndarray, targets: list[int], X: Any) -> Any:
        """The columns of blocks, of encoded rows, in their own order."""
        like = None if is_blocks(X) else X
        index = self._joined(X).index if is_blocks(X) else None
        table = self._codec.decode_all(values, index=index, like=like)
        if self._tables is not None:
            blocks = self._tables.split(table)
            names = [self._modalities.names[b] for b in targets]
            return {n: blocks[n] for n in names} if len(names) > 1 else blocks[names[0]]
        kept = {int(j): place for place, j in enumerate(self._codec.kept)}
        places = [kept[j] for b in targets for j in self._modalities.places[b] if j in kept]
        return table.iloc[:, places] if hasattr(table, "iloc") else table[:, places]

    def _decode(self, values: np.ndarray, given: Any, like: Any = None) -> Any:
        if self._tables is None:
            return super()._decode(values, given, like=like)
        index = self._joined(like).index if is_blocks(like) else None
        return self._tables.split(self._codec.decode_all(values, index=index))
