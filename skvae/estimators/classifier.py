"""`SemiSupervisedVAEClassifier`: few labels, many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skvae.estimators._base import BaseVAE, hidden_sizes
from skvae.estimators._class_density import RowDensity
from skvae.estimators._classification import FittedClassifier
from skvae.estimators._latent_table import check_positive
from skvae.estimators._session import watched
from skvae.inference.session import torch_defaults


class SemiSupervisedVAEClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, FittedClassifier
):
    """Classify mixed tables of which few rows are labelled.

    A variational autoencoder with a latent class, ``p(y) p(z) p(x | y, z)``, learns from all rows;
    its encoder ``q(y | x)`` is the classifier. Unlabelled rows (``y == -1``) enter by the bound on
    their density, with every class in turn and the entropy of ``q(y | x)`` [1]_. Training starts
    from logistic regressions and from what the nearest rows make of them; members that went
    without a fifth of the labels each, held-out labels that weigh and calibrate, and class
    frequencies learnt from all rows make `predict_proba` usable as it is. On latents ("m1" and
    "m1+m2") networks last learn from all rows what is believed about them [5]_. Rows with holes
    are averaged over what may stand there.

    Parameters
    ----------
    model : {"m2", "m1", "m1+m2", "auxiliary", "skip_auxiliary"}, default="m2"
        The generative story. "m2" is ``p(x | y, z)`` [1]_, on the columns; "m1" a classifier on
        the latents of an autoencoder without classes; "m1+m2" the former on the latter's latents,
        for images and other tables of many like columns; "auxiliary" and "skip_auxiliary" add a
        latent ``a`` that the classifier sees, ``p(a | x, y, z)`` or ``p(x | a, y, z)`` [2]_.
    n_components : int or "auto", default="auto"
        Latent dimensions; "auto" picks by held-out observed entries. With "m1" and "m1+m2", those
        of M1, half the features and at most 24 by default; M2 has one less, and at most 10.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Of every network; "auto" is two, of 96 to 160 units as rows grow from 5,000 to 14,000, and
        up to 480 in M1 where its latents are what classes are told by. ``()`` leaves logistic
        regression, its neighbours, and linear densities.
    classifier_weight : float, default=1.0
        Weight of the labels' cross-entropy against the bound of a row. The alpha of [1]_, scaled
        by rows over labelled rows, is this.
    label_prior : {"learned", "empirical", "uniform"}, default="learned"
        ``p(y)`` among the rows to predict: learnt from all rows, for labels that were not drawn
        at random but, say, balanced by class [3]_ (the labels' frequencies weigh as much as 100
        rows for each class); that of the labels; or equal.
    class_weight : dict, "balanced" or None, default=None
        Factors of the classes' odds, by label; "balanced" is one over the labels' frequencies.
    n_neighbors : int, default=10
        Rows that a row's probabilities are averaged with, where held-out labels say that it helps.
    n_importance_samples : int, default=1
        Samples of the training bounds: 1 is the ELBO.
    beta : float or "auto", default="auto"
        Weight of the divergence from the prior: "auto" is 1, and 0.5 for M1 where its latents are
        what classes are told by.
    column_types, likelihood, max_categories
        As in `VAETransformer`.
    alpha : float, default=0.3
        Weight decay of the autoencoders towards linear models.
    max_iter : int or "auto", default="auto"
        Gradient steps of each phase; "auto" grows with rows and labels, from 100 to 8000 for M1
        and from 500 to 4000 for the classifier.
    batch_size : int, default=128
        Labelled rows of a step, and at most so many unlabelled ones.
    learning_rate_init : float, default=5e-3
        Peak of a one-cycle schedule.
    early_stopping : bool, default=True
        Keep the classifier's best state by held-out labels, the autoencoder's by the bound on
        held-out rows, and end when neither improves.
    validation_fraction : float, default=0.1
        Share of the unlabelled rows held out.
    n_iter_no_change : int, default=8
        Validations, of 20 in a full run, without progress before training ends.
    tol : float, default=1e-3
        What counts as progress, in nats per row.
    subsample : int or None, default=200_000
        Rows, drawn at random, that a longer table is learnt from, with those that show levels, ends
        and holes which the sample lacks; None takes all of them. Where few rows have labels these
        come first, up to half of the sample.
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
    classes_ : ndarray of shape (n_classes,)
        Without -1.
    transduction_ : ndarray of shape (n_samples,)
        Labels of the training rows: as given, else inferred. Rows of weight 0 are left out, and
        those of a long table that are not in the sample.
    label_prior_ : ndarray of shape (n_classes,)
    n_components_ : int
    component_scores_ : dict
        Held-out mean squared error by number of components; empty unless "auto".
    n_iter_ : int
        Gradient steps of the classifier; without any, those of M1 or rounds of its linear start.
    loss_curve_ : list of float
        Training loss by validation, summed over members.
    validation_scores_ : list of list of float
        Bound on held-out rows (not for "m1") and log-likelihood of held-out labels, by validation.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for frames with string names.

    See Also
    --------
    sklearn.semi_supervised.SelfTrainingClassifier : Any classifier, taught by its own predictions.
    VAETransformer : Latents and densities without labels.

    Notes
    -----
    Labels are assumed to be drawn by class: ``p(x | y)`` is the same in labelled and other rows.
    A fitted classifier keeps up to 60,000 encoded training rows. `transduction_` knows a row's own
    place among its neighbours, `predict` takes every row for a new one: they may differ.

    `score` and `cross_val_score` compare with all of `y`: leave rows without a label out of what
    is scored.

    References
    ----------
    .. [1] Kingma, Rezende, Mohamed and Welling (2014), Semi-Supervised Learning with Deep
       Generative Models.
    .. [2] Maaloe, Soenderby, Soenderby and Winther (2016), Auxiliary Deep Generative Models.
    .. [3] Saerens, Latinne and Decaestecker (2002), Adjusting the Outputs of a Classifier to New a
       Priori Probabilities.
    .. [4] Zhou et al. (2004), Learning with Local and Global Consistency.
    .. [5] Xie, Luong, Hovy and Le (2020), Self-Training with Noisy Student Improves ImageNet
       Classification.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from skvae import SemiSupervisedVAEClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> known = np.where(np.arange(len(y)) % 6 == 0, y, -1)  # one row in six is labelled
    >>> classifier = SemiSupervisedVAEClassifier(random_state=0).fit(X, known)
    >>> bool(classifier.score(X[known == -1], y[known == -1]) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseVAE._parameter_constraints,
        "model": [StrOptions({"m1", "m2", "m1+m2", "auxiliary", "skip_auxiliary"})],
        "classifier_weight": [Interval(Real, 0, None, closed="neither")],
        "label_prior": [StrOptions({"uniform", "empirical", "learned"})],
        "beta": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        model: str = "m2",
        *,
        n_components: int | str = "auto",
        hidden_layer_sizes: str | Sequence[int] = "auto",
        classifier_weight: float = 1.0,
        label_prior: str = "learned",
        class_weight: Mapping[Any, float] | str | None = None,
        n_neighbors: int = 10,
        n_importance_samples: int = 1,
        beta: float | str = "auto",
        column_types: Mapping[Any, str] | None = None,
        likelihood: Mapping[str, str] | None = None,
        max_categories: int = 100,
        alpha: float = 0.3,
        max_iter: int | str = "auto",
        batch_size: int = 128,
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
        self.model = model
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.classifier_weight = classifier_weight
        self.label_prior = label_prior
        self.class_weight = class_weight
        self.n_neighbors = n_neighbors
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

    @_fit_context(prefer_skip_nested_validation=True)
    @watched
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SemiSupervisedVAEClassifier:
        """Learn from all rows and the labels of some.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or chunks of them
            Numbers, categories and holes. Chunks are an iterator or a list of frames, or Parquet:
            a path, a folder, a `pyarrow.dataset.Dataset` or `ParquetFile`.
        y : array-like of shape (n_samples,), or str
            Labels; -1, NaN, None and `pd.NA` mean none. Strings need dtype object beside -1. Or
            the name of the column of X that has them, as it must be for chunks.
        sample_weight : array-like of shape (n_samples,), str or None
            A row of weight 2 counts as two rows on average, one of weight 0 is left out; only
            ratios count. Or the name of a column of X.

        Returns
        -------
        SemiSupervisedVAEClassifier
            The fitted classifier.

        Raises
        ------
        ValueError, TypeError
            If labels are no classes or of fewer than two, or a column cannot be modelled; the
            message says what to do.
        """
        X, y, sample_weight = self._rows_to_learn(X, y, sample_weight)
        rows, codes, weight = self._read(X, y, sample_weight)
        self._hidden = hidden_sizes(self.hidden_layer_sizes, len(weight))
        if not self._hidden and "auxiliary" in self.model:
            raise ValueError(
                f"model={self.model!r} is made of networks; hidden_layer_sizes=() has none."
            )
        self._factors = self._class_factors()
        with torch_defaults(grad=True):
            self._fit_classifier(rows, codes, weight)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Latent coordinates of rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_components)
            Of "m1" and "m1+m2", the means of M1's posterior, which classes can be told by; of the
            others, ``E[z | x_o]`` over classes: what of a row its class does not say.
        """
        rows = self._rows(X)
        if isinstance(self._density, RowDensity) or self._density.on_latents:
            return self._latent.moments(rows)[0]
        return self._density.latents(rows, self._probabilities(rows))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities ``q(y | x_o)``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        rows = self._rows(X)
        return self._probabilities(rows)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
        """
        return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Most probable classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def score_samples(self, X: Any, *, n_samples: int = 256) -> np.ndarray:
        """Log-density of every row's observed part, in the units of the columns.

        ``log sum_y p(y) p(x_o | y)``, every factor by importance sampling; of "m1", that of the
        autoencoder.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples : int, default=256
            Of the latents for each row and class; fewer read high by tenths of a nat.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In nats.
        """
        check_positive(n_samples, "n_samples")
        rows = self._rows(X)
        return self._density.log_prob(rows, int(n_samples))

    def sample(
        self,
        n_samples: int = 1,
        y: Any = None,
        *,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """New rows of a class.

        Parameters
        ----------
        n_samples : int, default=1
        y : label, array-like of shape (n_samples,) or None, default=None
            Class of all rows, or of each; by default drawn from `label_prior_`.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            With the names, dtypes and categories seen at fit. "m1" has no model of a class: it
            draws around training rows in proportion to their probability of it.
        """
        check_is_fitted(self)
        check_positive(n_samples, "n_samples")
        random = check_random_state(random_state)
        if y is None:
            codes = random.choice(len(self.classes_), int(n_samples), p=self.label_prior_)
        else:
            codes = self._codes_of(y, int(n_samples))
        with torch_defaults():
            generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        return self._codec.decode_all(self._density.sample(codes, generator))

    def _codes_of(self, y: Any, n: int) -> np.ndarray:
        labels = np.atleast_1d(np.asarray(y))
        if labels.ndim != 1 or len(labels) not in (1, n):
            raise ValueError(f"y must be one label or {n}, got shape {labels.shape}.")
        known = self.classes_.tolist()
        unknown = [label for label in labels.tolist() if label not in known]
        if unknown:
            raise ValueError(f"y names the class {unknown[0]!r}, unknown at fit: {known[:20]}.")
        return np.resize([known.index(label) for label in labels.tolist()], n)
