"""`VAEOutlierDetector`: rows that their own table finds odd, and the columns to blame."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from skvae.estimators._base import BaseVAE, hidden_sizes
from skvae.estimators._chunked import FitPredict
from skvae.estimators._detection import SCORES, ConstantTable
from skvae.estimators._detector import FittedDetector
from skvae.estimators._explanation import broken_constants, entries_given_rest, explanation_table
from skvae.estimators._latent import Rows
from skvae.estimators._latent_table import check_positive
from skvae.estimators._session import watched
from skvae.tabular.callers import user_level
from skvae.tabular.novelty import novel_cells
from skvae.training.proposals import INFERENCE


class VAEOutlierDetector(FitPredict, FittedDetector):
    """Find rows that a table's own density finds unlikely, and the columns that make them odd.

    A variational autoencoder [1]_ that starts as factor analysis is fitted to the rows whose
    columns, each by itself, surprise least; what it says of a row, how far the row and what it is
    rebuilt as lie from training rows, and its columns alone are then weighed together. Mixed
    columns and holes are welcome, at fit and at predict.

    Parameters
    ----------
    score : str, default="ensemble"
        What rows are ranked by; all but the first are single statistics:

        - "ensemble": mean surprise ``-log P(a training row scores at least as odd)`` over
          "elbo", "latent", "neighbours", "marginal" and "local", the last also among the nine
          tenths of the training rows with the least surprising columns (after [2]_, with tails in
          place of densities);
        - "log_likelihood": ``log p(x)`` by importance sampling;
        - "elbo": its lower bound;
        - "reconstruction": expected log-likelihood under the posterior, ``E_q[log p(x | z)]``;
        - "typicality": minus the distance of ``log p(x)`` from its mean over training rows [3]_;
        - "likelihood_regret": minus what the bound gains when the row's own posterior is
          optimised [4]_; by far the slowest;
        - "latent": distance in the aggregated posterior, measured where the decoder maps it: from
          what the row is rebuilt as to the nearest of what training rows are rebuilt as;
        - "neighbours": distance from the row, holes filled, to the nearest training rows;
        - "local": the same, relative to the neighbours' own distances [5]_;
        - "marginal": tail probabilities of the columns one by one [6]_.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of training rows to call outliers; "auto" calls those that score below the lower
        fence of the training scores, ``Q1 - 2.2 (Q3 - Q1)`` [7]_, a tenth of them at most.
    robust : bool, default=True
        Fit the model to four fifths of the rows, leaving out those with the most surprising
        columns, as outliers among training rows otherwise teach it what they look like. False
        fits it to all rows.
    n_components : int, "auto" or None, default="auto"
        Latent dimensions; "auto" picks those whose linear model predicts held-out entries best,
        None takes as many as there are features.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of the encoder, reversed in the decoder. ``()`` is the linear VAE, factor
        analysis.
    n_importance_samples : int, default=4
        Samples of the training bound: 1 is the ELBO, more the IWAE.
    beta : float, default=1.0
        Weight of the divergence from the prior. Unless it is 1, the bound is the ELBO.
    column_types : dict or None, default=None
        Kinds by column name (position for arrays) where the dtype does not tell: "continuous",
        "positive", "count", "binary", "ordinal" or "categorical".
    likelihood : dict or None, default=None
        Likelihood by kind: ``{"continuous": "gaussian" | "student_t" | "heteroscedastic"}``,
        ``{"count": "negative_binomial" | "poisson"}``. The first of each is the default.
    max_categories : int, default=100
        Levels of one column that are modelled, the most frequent first.
    inference : {"amortized", "posterior_matching", "adaptive"}, default="amortized"
        How rows get their posteriors, see `VAETransformer`; "adaptive" takes many times longer.
        ("likelihood_regret" always is over the encoder's.)
    alpha : float, default=0.3
        Weight decay towards the linear model.
    max_iter : int or "auto", default="auto"
        Gradient steps; "auto" is two per row, from 100 to 300.
    batch_size : int, default=128
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
    offset_ : float
        Rows that score below it are outliers.
    n_components_ : int
    component_scores_ : dict
        Held-out mean squared error by number of components; empty unless `n_components` is "auto".
    n_iter_ : int
        Gradient steps, or rounds of expectation maximisation without hidden layers.
    loss_curve_ : list of float
        Negative training bound by validation, in nats per row.
    validation_scores_ : list of float
        Bound on held-out rows by validation.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for frames with string names.

    Notes
    -----
    Absent entries count as much as an observed entry of their column does on average, so that rows
    with and without holes are comparable. A level that was never seen at fit, and another value in
    a column that was constant, is a rare event: as surprising as a value that none of the training
    rows has. (Distances alone, by "latent", "neighbours" and "local", do not see it.) All
    statistics are in the units of the standardised table.

    As `score` is a parameter, the detector has no method of that name: meta-estimators like
    `GridSearchCV` need `scoring`.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Complete numeric tables, no density.
    VAETransformer : Log-densities in the units of the columns.

    References
    ----------
    .. [1] Kingma and Welling (2014), Auto-Encoding Variational Bayes.
    .. [2] Morningstar et al. (2021), Density of States Estimation for Out-of-Distribution
       Detection.
    .. [3] Nalisnick et al. (2019), Detecting Out-of-Distribution Inputs to Deep Generative Models
       Using Typicality.
    .. [4] Xiao, Yan and Amit (2020), Likelihood Regret.
    .. [5] Breunig, Kriegel, Ng and Sander (2000), LOF: Identifying Density-Based Local Outliers.
    .. [6] Li et al. (2022), ECOD: Unsupervised Outlier Detection Using Empirical Cumulative
       Distribution Functions.
    .. [7] Hoaglin and Iglewicz (1987), Fine-Tuning Some Resistant Rules for Outlier Labeling.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEOutlierDetector
    >>> X = load_iris(as_frame=True).data
    >>> X.loc[0, "petal width (cm)"] = 25.0  # millimetres
    >>> detector = VAEOutlierDetector(random_state=0).fit(X)
    >>> int(detector.score_samples(X).argmin())
    0
    >>> detector.explain(X.iloc[:1]).index[0][1]
    'petal width (cm)'
    """

    _minds_wild_values = False  # finding them is what it is for
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseVAE._parameter_constraints,
        "n_components": [*BaseVAE._parameter_constraints["n_components"], None],
        "score": [StrOptions(set(SCORES))],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "robust": ["boolean"],
        "inference": [StrOptions(set(INFERENCE))],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        score: str = "ensemble",
        *,
        contamination: float | str = "auto",
        robust: bool = True,
        n_components: int | str | None = "auto",
        hidden_layer_sizes: str | Sequence[int] = "auto",
        n_importance_samples: int = 4,
        beta: float = 1.0,
        column_types: Mapping[Any, str] | None = None,
        likelihood: Mapping[str, str] | None = None,
        max_categories: int = 100,
        inference: str = "amortized",
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
        self.score = score
        self.contamination = contamination
        self.robust = robust
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.beta = beta
        self.column_types = column_types
        self.likelihood = likelihood
        self.max_categories = max_categories
        self.inference = inference
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
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VAEOutlierDetector:
        """Learn what is normal.

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
        VAEOutlierDetector
            The fitted detector.

        Raises
        ------
        ValueError, TypeError
            If there is a single row, a column cannot be modelled or parameters contradict each
            other; the message names the column or the parameter, and the remedy.
        """
        X, _, sample_weight = self._rows_to_learn(X, y, sample_weight)
        X, weight = self._fit_codec(X, sample_weight, fills=False, unseen="count as rare events")
        n = len(weight)
        if n < 2:
            raise ValueError(
                "n_samples=1 row of X (with a sample_weight above 0) is not enough to tell what is "
                "normal: give at least 2."
            )
        hidden = hidden_sizes(self.hidden_layer_sizes, n)
        if not hidden and self.beta != 1:
            raise ValueError(
                f"beta={self.beta!r} is for the networks; hidden_layer_sizes=() has none."
            )
        self._fit_detector(Rows(*self._codec.encode(X)), weight, hidden)
        return self

    # Predict --------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal every row is, by the statistic that `score` names.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows without any observed entry get the median score of the training rows, with a
            warning.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Higher is more normal. In nats, but for distances, which are logarithms.
        """
        rows = self._rows(X)
        novel = novel_cells(self._codec, X)
        empty = ~rows.observed.any(axis=1) & ~novel.any(axis=1) & bool(rows.observed.shape[1])
        if empty.any():
            warnings.warn(
                f"{int(empty.sum())} row(s) of X have no observed value, the first at position "
                f"{int(empty.argmax())}: nothing speaks for or against them, and they get the "
                "median score of the training rows.",
                UserWarning,
                stacklevel=user_level(),
            )
        scores = self._score_rows(rows, novel.sum(axis=1))
        return np.where(empty, self._median, scores)

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """+1 for normal rows and -1 for outliers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int, shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X: Any, *, n_samples: int = 128) -> pd.DataFrame:
        """What every column contributes to a row's oddity, given the rest of the row.

        Leave-one-column-out importance sampling: each entry is hidden in turn, and the model says
        how surprising it is given the others, and what it expected in its place.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples : int, default=128
            Of ``z`` for each entry.

        Returns
        -------
        DataFrame
            One line for each entry, indexed by the row's label and the column's, the largest
            contributions of each row first. ``value``: the entry. ``expected`` and ``std``:
            conditional mean and standard deviation given the rest of the row, or the most
            probable level (and NaN). ``surprise``: ``-log p(x_j | x_rest)`` in nats, in the units
            of the column. ``contribution``: by how much that is more than for an average entry
            of the column, so that columns can be compared. Absent entries have an expectation
            alone; constant columns are left out unless they are broken.
        """
        check_positive(n_samples, "n_samples")
        rows, detection = self._rows(X), self._detection
        novel = novel_cells(self._codec, X)
        if isinstance(detection, ConstantTable):
            return broken_constants(X, self._codec, novel, detection.rare)
        entries = entries_given_rest(self._latent, rows, int(n_samples))
        return explanation_table(
            X, self._codec, self._latent, entries, novel, -detection.absent, detection.rare
        )
