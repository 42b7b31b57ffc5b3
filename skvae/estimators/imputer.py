"""`VAEImputer`: fill the holes of a mixed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.impute import MissingIndicator
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skvae.estimators._bootstrap import bootstrap_counts
from skvae.estimators._chunked import FitTransform
from skvae.estimators._imputations import ImputedTable
from skvae.estimators._indicator import HoleIndicator
from skvae.estimators._prediction import TablePredictor
from skvae.estimators._session import watched
from skvae.training.proposals import INFERENCE


class VAEImputer(FitTransform, HoleIndicator, ImputedTable):
    """Fill the holes of mixed tables by variational autoencoders.

    The model starts as factor analysis, fitted in closed form to the incomplete table, and
    networks bend it: an importance-weighted autoencoder gives the density, autoencoders trained
    on masked copies sharpen the predictions, what they leave over is read off the nearest
    training rows, and held-out observed entries decide column by column how far each is trusted.
    `transform` gives conditional means and most probable categories; new rows need no refit.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Latent dimensions of the linear start; "auto" picks by held-out observed entries.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Hidden layers of the encoder, reversed in the decoder; "auto" is two, of 96 to 160 units as
        rows grow from 5,000 to 14,000. ``()`` is the linear VAE alone: factor analysis for
        numbers, its generalised form for categories and counts.
    n_importance_samples : int, default=5
        Samples of the training bound: 1 is the ELBO, more the IWAE [2]_.
    beta : float, default=1.0
        Weight of the divergence from the prior in the bound.
    column_types : dict or None, default=None
        Kinds by column name (position for arrays) where the dtype does not tell: "continuous",
        "positive", "count", "binary", "ordinal" or "categorical".
    likelihood : dict or None, default=None
        Likelihood by kind: ``{"continuous": "gaussian" | "student_t" | "heteroscedastic"}``,
        ``{"count": "negative_binomial" | "poisson"}``. The first of each is the default.
    missing_values : object, default=nan
        A value that marks holes; NaN, None and `pd.NA` always do.
    add_indicator : bool, default=False
        Append a column per column with holes at fit that says where they were.
    keep_empty_features : bool, default=False
        Keep columns without any observed value at fit, filled with a constant.
    max_categories : int, default=100
        Levels of one column that are modelled, the most frequent first.
    mechanism : {"mar", "mnar"}, default="mar"
        "mar" takes holes for ignorable: given what is observed, they do not depend on what they
        hide. "mnar" models values and holes together; draws, intervals and scores then take both
        into account, and columns of numbers are normal on a scale that is learnt.
    missingness_model : str, dict or None, default=None
        With "mnar". "high" or "low": large or small values hide, by a logistic law [4]_.
        "self_masking": one of both, found from the table for each column; used where held-out rows
        clearly speak for it, which some hundred rows seldom do. A dict gives one of these by
        column, others are ignorable. For the whole table also "fully_connected" (logistic in all
        values), "network" (a network of all values) and "latent" (a network of ``z``), which need
        many rows to tell. None is "self_masking", or nothing where `censored` is given.
    censored : dict or None, default=None
        With "mnar". Columns of which the values beyond a limit are hidden, and no others:
        ``{"crp": ("below", 0.5)}``, or ``("above", None)`` with the largest value seen.
    inference : {"amortized", "posterior_matching", "adaptive"}, default="amortized"
        Where the density's samples of ``z`` come from, see `VAETransformer`: the encoder, which
        was trained on rows with holes; an extra one that learns from complete rows; or every row's
        own optimum, by far the slowest. Masked members predict without samples.
    sample_posterior : bool, default=False
        `transform` fills with one draw from ``p(x_m | x_o)`` instead of its mean or mode.
    n_estimators : int, default=1
        Models that `sample_imputations` draws from in turn. More than one are fitted to as many
        samples of the rows with replacement (whole rows, whatever their weights), so that draws
        differ by what a model might have been as well: multiple imputation needs that where rows
        are few. `transform` uses the model of all rows; time and memory grow in proportion.
    alpha : float, sequence of float or "auto", default="auto"
        Weight decay towards the linear model; several strengths are trained side by side and
        weighted by held-out entries. "auto" is 0.15, below 500 rows 0.15 and 1.
    max_iter : int or "auto", default="auto"
        Gradient steps of the masked members (the generative ones take two fifths);
        "auto" grows with the number of rows from 50 to 5000.
    batch_size : int, default=256
    learning_rate_init : float, default=5e-3
        Peak of a one-cycle schedule.
    early_stopping : bool, default=True
        Keep every member's best state by held-out observed entries, end when none improves.
    validation_fraction : float, default=0.03
        Share of the observed entries held out, for each of two replicas of every member in turn;
        up to a tenth where that is less than a hundred entries.
    n_iter_no_change : int, default=8
        Validations, of 20 in a full run, without progress before training ends.
    tol : float, default=1e-4
        What counts as progress, in nats per entry.
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
        Latent dimensions of the linear start.
    component_scores_ : dict
        Held-out mean squared error by number of components, in standard deviations; empty unless
        `n_components` is "auto".
    n_iter_ : int
        Gradient steps taken, all members side by side counting once.
    loss_curve_ : dict of str to list of float
        Training loss of "generative" and "masked" members and of posterior "matching", by
        validation.
    validation_scores_ : dict of str to ndarray of shape (n_validations, n_members)
        Held-out log-likelihood per entry.
    missingness_report_ : DataFrame
        With "mnar", by column: what was "assumed", the fitted law ("direction", "slope" in log-odds
        per standard deviation, "threshold" in the column's units), what held-out rows say, in nats
        per row with standard errors, whether it was "used", and a verdict. "dependence": how much
        better the law predicts holes than chance, "mask_ratio": than other columns do;
        "likelihood_ratio": of values and holes, against missing at random. Verdicts ask for three
        standard errors. No data can settle it: ``missingness_report_.attrs["note"]``.
    indicator_ : MissingIndicator or None
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only for frames with string names.

    See Also
    --------
    sklearn.impute.IterativeImputer : Chained regressions on numeric tables.

    Notes
    -----
    A fitted imputer keeps up to 10,000 training rows, as given and encoded: whoever may not see the
    rows may not have it, nor its pickle.

    Columns that are constant at fit are filled with their constant and are no part of the model;
    levels that were not seen at fit are taken for holes and filled, with a warning, unless the
    column has more than `max_categories`: all others then stay as they are. Conditional means go
    beyond the range seen at fit by at most half its width.

    References
    ----------
    .. [1] Kingma and Welling (2014), Auto-Encoding Variational Bayes.
    .. [2] Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders.
    .. [3] Mattei and Frellsen (2019), MIWAE: Deep Generative Modelling and Imputation of
       Incomplete Data Sets.
    .. [4] Ipsen, Mattei and Frellsen (2021), not-MIWAE: Deep Generative Modelling with Missing not
       at Random Data.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEImputer
    >>> from skvae.datasets import ampute
    >>> X = ampute(load_iris().data, rate=0.2, random_state=0)
    >>> filled = VAEImputer(random_state=0).fit_transform(X)
    >>> bool(np.isnan(filled).any())
    False
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ImputedTable._parameter_constraints,
        "missing_values": "no_validation",
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "inference": [StrOptions(set(INFERENCE))],
        "sample_posterior": ["boolean"],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        hidden_layer_sizes: str | Sequence[int] = "auto",
        n_importance_samples: int = 5,
        beta: float = 1.0,
        column_types: Mapping[Any, str] | None = None,
        likelihood: Mapping[str, str] | None = None,
        missing_values: Any = np.nan,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        max_categories: int = 100,
        mechanism: str = "mar",
        missingness_model: str | Mapping[Any, str] | None = None,
        censored: Mapping[Any, Any] | None = None,
        inference: str = "amortized",
        sample_posterior: bool = False,
        n_estimators: int = 1,
        alpha: float | Sequence[float] | str = "auto",
        max_iter: int | str = "auto",
        batch_size: int = 256,
        learning_rate_init: float = 5e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.03,
        n_iter_no_change: int = 8,
        tol: float = 1e-4,
        subsample: int | None = 200_000,
        device: str = "cpu",
        engine: Any = None,
        checkpoint: Any = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_importance_samples = n_importance_samples
        self.beta = beta
        self.column_types = column_types
        self.likelihood = likelihood
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.max_categories = max_categories
        self.mechanism = mechanism
        self.missingness_model = missingness_model
        self.censored = censored
        self.inference = inference
        self.sample_posterior = sample_posterior
        self.n_estimators = n_estimators
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
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> VAEImputer:
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
        VAEImputer
            The fitted imputer.

        Raises
        ------
        ValueError, TypeError
            If a column cannot be modelled; the message names it and the remedy.
        """
        self._check_mechanism()
        X, _, sample_weight = self._rows_to_learn(X, y, sample_weight)
        X, weight = self._fit_codec(
            X,
            sample_weight,
            missing_values=self.missing_values,
            keep_empty_features=self.keep_empty_features,
            unseen="are taken for holes and filled",
        )
        self._draw_seed = int(self._seed())
        self.indicator_ = None
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(self._holes(X))
        self._fit_ensemble(X, weight)
        self._members = self._fit_members(X, weight) if self.n_estimators > 1 else []
        return self

    def _fit_members(self, X: Any, weight: np.ndarray) -> list[TablePredictor]:
        """Models of samples of the rows."""
        values, observed = self._codec.encode(X)
        random, members = check_random_state(self._draw_seed), []
        for _ in range(self.n_estimators):
            counts = bootstrap_counts(values, observed, random)
            rows = np.flatnonzero(counts)
            twin = copy(self)
            twin.random_state = int(random.randint(2**31 - 1))
            twin._plan = self._found_plan
            twin._fit_ensemble(_safe_indexing(X, rows), (weight * counts)[rows])
            members.append(twin._predictor.uninflated())
        return members

    def transform(self, X: Any) -> Any:
        """Fill the holes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features_out)
            Like `X`, with its index and dtypes; observed cells as they were. An array if the
            imputer was fitted on an array.
        """
        self._check_input(X)
        values, observed = self._codec.encode(X)
        if self.sample_posterior:
            random = np.random.RandomState(self._draw_seed)
            filled = next(self._predictor.draws(values, observed, 1, random))
        else:
            filled = self._predictor.points(values, observed)
        return self._decode(filled, X, flag=True)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the output columns.

        Parameters
        ----------
        input_features : array-like of str or None

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = names[self._codec.kept]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])
