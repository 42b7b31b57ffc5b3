"""What the blocks of a `MultimodalVAE` know: of the latents, of each other, and in agreement."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skvae.tabular.table import as_table

# All subsets of more blocks are too many to look at.
MOST_BLOCKS = 6
# What is predicted from everything but itself.
ALL_OTHERS = "all others"
# Mean squared distance of any two posteriors below which they are all the same.
SILENT = 1e-6


def expert_precisions(estimator: Any) -> pd.DataFrame:
    """Tell how much each whole block says about each latent dimension.

    Parameters
    ----------
    estimator : MultimodalVAE
        Fitted.

    Returns
    -------
    DataFrame of shape (n_blocks, n_components)
        Precision of the block's expert, in units of a standard normal prior's: 0 where the block
        says nothing; with 3 it leaves a quarter of the prior's variance, or more. Experts are
        multiplied: the precisions of blocks add up. Blocks by name, dimensions by position.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted or not a `MultimodalVAE`.

    Notes
    -----
    A dimension on which several blocks are large is one that they share; on which one is large,
    that block's own. What a block says about one dimension may hinge on another: the variance that
    it leaves then is larger than ``1 / (1 + precision)``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import MultimodalVAE
    >>> from skvae.inspection import expert_precisions
    >>> X = load_iris().data
    >>> model = MultimodalVAE({"sepal": [0, 1], "petal": [2, 3]}, 2, hidden_layer_sizes=()).fit(X)
    >>> expert_precisions(model).shape
    (2, 2)
    """
    check_multimodal(estimator)
    precisions = estimator.expert_precisions_
    dimensions = pd.RangeIndex(precisions.shape[1], name="dimension")
    blocks = pd.Index(list(estimator.modalities_), name="block", tupleize_cols=False)
    return pd.DataFrame(precisions, index=blocks, columns=dimensions)


def cross_prediction(estimator: Any, X: Any, *, subsets: Any = "single") -> pd.DataFrame:
    """Tell how well each block is predicted from others.

    Parameters
    ----------
    estimator : MultimodalVAE
        Fitted, with at least two blocks.
    X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        Rows not seen at fit, for an honest answer. Blocks and cells may be absent.
    subsets : {"single", "others", "all"} or list of tuples of block names, default="single"
        What to predict from: each block alone and all but the target together; only the latter;
        every subset, of at most 6 blocks; or the blocks named.

    Returns
    -------
    DataFrame of shape (n_subsets, n_blocks)
        Rows are named like ``top + bottom``, or ``all others``; columns are the targets. 1 is
        perfect, 0 no better than a constant, below 0 worse. NaN where the target is given, or
        fewer than two rows have it and every block of the subset.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted, not a `MultimodalVAE` or has one block only, or subsets
        are empty, name unknown blocks, or leave nothing to predict.

    Notes
    -----
    Every entry is the mean over the target's columns of the share of their error that
    ``predict(X, target=...)`` removes, with all blocks but those of the subset hidden, on the rows
    that have something of the target and of every block of the subset. For numbers this is R2,
    ``1 - squared error / squared error of the mean``; for binary, ordinal and categorical columns
    ``1 - error rate / error rate of the most frequent level``. Mean and level are those of the
    evaluated rows. Only observed cells count, levels that were not seen at fit are absent, and
    columns that do not vary among the rows, or did not at fit, are left out. Columns weigh the
    same: one that hardly varies among the rows may have an R2 far below 0 and pull a mean down.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import MultimodalVAE
    >>> from skvae.inspection import cross_prediction
    >>> X = load_iris().data
    >>> model = MultimodalVAE({"sepal": [0, 1], "petal": [2, 3]}, 2, hidden_layer_sizes=()).fit(X)
    >>> table = cross_prediction(model, X)
    >>> bool(table.loc["sepal", "petal"] > table.loc["petal", "sepal"])
    True
    """
    _check_several(estimator)
    chosen = _subsets(estimator, subsets)
    blocks = Blocks.read(estimator, X)
    n_blocks = len(blocks.names)
    scores = np.full((len(chosen), n_blocks), np.nan)
    for row, subset in enumerate(chosen.values()):
        for target in range(n_blocks):
            given = [b for b in range(n_blocks) if b != target] if subset is None else subset
            if target not in given:
                scores[row, target] = blocks.skill(given, target)
    index = pd.Index(list(chosen), name="given", tupleize_cols=False)
    return pd.DataFrame(scores, index=index, columns=blocks.index("target"))


def posterior_agreement(estimator: Any, X: Any) -> pd.DataFrame:
    """Tell whether single blocks say the same about the latents of a row.

    Parameters
    ----------
    estimator : MultimodalVAE
        Fitted, with at least two blocks.
    X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        Rows not seen at fit, for an honest answer. Blocks and cells may be absent.

    Returns
    -------
    DataFrame of shape (n_blocks, n_blocks)
        Symmetric, between 0 and 1, with ones on the diagonal. NaN where fewer than two rows have
        both blocks, or all posteriors of both are the same.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted, not a `MultimodalVAE` or has one block only.

    Notes
    -----
    The distance of two posteriors, ``q(z | x_a)`` of one block and ``q(z | x_b)`` of the other, is
    Wasserstein's for Gaussians, dimension by dimension: squared differences of the means and of
    the standard deviations, summed. By itself it says little: blocks that know nothing have the
    prior in common, whatever the row. The agreement therefore is

        ``1 - mean distance within rows / mean distance between any two rows``,

    Lin's [1]_ concordance of all means and standard deviations, cut at 0. It is 1 where the two
    posteriors of every row are the same, and 0 where a row's own are no closer than those of
    different rows: one of the blocks says nothing, they are about different dimensions, or they
    contradict each other. Dimensions that neither knows count nothing.

    Noisy blocks agree less than exact ones: two that each leave a share ``s`` of the variance of
    the one dimension that both are about agree by ``1 - s`` if the model is right. Less than their
    `expert_precisions` promise is a sign that they contradict each other.

    References
    ----------
    .. [1] Lin (1989), A Concordance Correlation Coefficient to Evaluate Reproducibility.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import MultimodalVAE
    >>> from skvae.inspection import posterior_agreement
    >>> X = load_iris().data
    >>> model = MultimodalVAE({"sepal": [0, 1], "petal": [2, 3]}, 2, hidden_layer_sizes=()).fit(X)
    >>> posterior_agreement(model, X).shape
    (2, 2)
    """
    _check_several(estimator)
    blocks = Blocks.read(estimator, X)
    n_blocks = len(blocks.names)
    alone = [blocks.posterior(b) for b in range(n_blocks)]
    agreement = np.eye(n_blocks)
    for a, b in itertools.combinations(range(n_blocks), 2):
        rows = blocks.having([a, b])
        agreement[a, b] = agreement[b, a] = _agreement(alone[a][rows], alone[b][rows])
    return pd.DataFrame(agreement, index=blocks.index("block"), columns=blocks.index("block"))


@dataclass(frozen=True, eq=False)
class Blocks:
    """A user's rows, any blocks of which can be hidden.

    Attributes
    ----------
    estimator : MultimodalVAE
        Fitted.
    frame : DataFrame of shape (n_samples, n_features)
        The rows, in whatever container they came.
    values, observed : ndarray of shape (n_samples, n_modelled)
        The rows as the model reads them, and where it may.
    present : bool ndarray of shape (n_samples, n_blocks)
        Which blocks they have something of.
    """

    estimator: Any
    frame: pd.DataFrame
    values: np.ndarray
    observed: np.ndarray
    present: np.ndarray

    @classmethod
    def read(cls, estimator: Any, X: Any) -> Blocks:
        """Check a user's rows."""
        rows = estimator._rows(X)
        table = as_table(estimator._joined(X))
        names = [column.name for column in estimator._codec.columns]
        frame = table.data if table.is_frame else pd.DataFrame(table.data, columns=names)
        present = estimator._modalities.present(rows.observed)
        return cls(estimator, frame, rows.values, rows.observed, present)

    @property
    def names(self) -> list[Any]:
        """Of the blocks."""
        return self.estimator._modalities.names

    def index(self, name: str) -> pd.Index:
        """The blocks as an axis."""
        return pd.Index(self.names, name=name, tupleize_cols=False)

    def having(self, blocks: list[int]) -> np.ndarray:
        """Positions of the rows that have something of every block."""
        return np.flatnonzero(self.present[:, blocks].all(axis=1))

    def showing(self, blocks: list[int], rows: np.ndarray) -> pd.DataFrame:
        """Rows in which all other blocks are absent."""
        places = np.concatenate([self.estimator._modalities.places[b] for b in blocks])
        return self.frame.iloc[rows, places].reindex(columns=self.frame.columns)

    def posterior(self, block: int) -> np.ndarray:
        """Means and standard deviations from one block, (n, 2 * k); NaN where it is absent."""
        result = np.full((len(self.frame), 2 * self.estimator.n_components_), np.nan)
        rows = self.having([block])
        if rows.size:
            result[rows] = np.hstack(self.estimator.posterior(self.showing([block], rows)))
        return result

    def skill(self, given: list[int], target: int) -> float:
        """How well a block is predicted from others."""
        rows = self.having([*given, target])
        if len(rows) < 2:
            return np.nan
        modalities, codec = self.estimator._modalities, self.estimator._codec
        shown = self.showing(given, rows)
        predicted = pd.DataFrame(self.estimator.predict(shown, target=[self.names[target]]))
        # Columns without any value at fit are not predicted.
        places = modalities.places[target]
        returned = places[np.isin(places, codec.kept)].tolist()
        scores = []
        for k in np.flatnonzero(modalities.block_of == target):
            place, seen = codec.modelled[k], self.observed[rows, k]
            guess = predicted.iloc[seen, returned.index(place)]
            scores.append(
                _skill(self.values[rows[seen], k], guess, codec.columns[place].categories)
            )
        known = [score for score in scores if not np.isnan(score)]
        return float(np.mean(known)) if known else np.nan


def check_multimodal(estimator: Any) -> None:
    """Raise unless `estimator` is fitted and has blocks.

    Raises
    ------
    ValueError
        If it is not a `MultimodalVAE`.
    NotFittedError
        If it has not been fitted.
    """
    if not hasattr(type(estimator), "sample_conditional"):
        raise ValueError(
            f"estimator must be a fitted MultimodalVAE, got {str(estimator)[:80]}. Of a pipeline, "
            "pass the last step, and X as that step sees it."
        )
    check_is_fitted(estimator)


def _check_several(estimator: Any) -> None:
    check_multimodal(estimator)
    names = list(estimator.modalities_)
    if len(names) < 2:
        raise ValueError(
            f"The model has the block {names[0]!r} only, with no other to compare it with: name "
            "blocks of columns with modalities=, or fit a mapping of tables."
        )


def _subsets(estimator: Any, subsets: Any) -> dict[str, list[int] | None]:
    """Numbers of blocks by what the subset is called; None for all but the target."""
    if isinstance(subsets, str) and subsets in ("single", "others", "all"):
        return _usual_subsets(estimator, subsets)
    if isinstance(subsets, str) or not isinstance(subsets, Iterable):
        raise ValueError(
            "subsets must be 'single', 'others', 'all' or a list of tuples of block names, got "
            f"{subsets!r}."
        )
    chosen = [_numbers(estimator, subset) for subset in subsets]
    if not chosen:
        raise ValueError("subsets is empty: name at least one subset of blocks.")
    return {_label(estimator, numbers): numbers for numbers in chosen}


def _usual_subsets(estimator: Any, which: str) -> dict[str, list[int] | None]:
    n_blocks = len(estimator.modalities_)
    if which == "others":
        return {ALL_OTHERS: None}
    if which == "all" and n_blocks > MOST_BLOCKS:
        raise ValueError(
            f"subsets='all' is for at most {MOST_BLOCKS} blocks, the model has {n_blocks}. Use "
            "'single' or 'others', or list the subsets."
        )
    chosen: dict[str, list[int] | None] = {}
    for size in range(1, n_blocks if which == "all" else 2):
        for numbers in itertools.combinations(range(n_blocks), size):
            chosen[_label(estimator, numbers)] = list(numbers)
    if which == "single" and n_blocks > 2:  # of two blocks, all others are one alone
        chosen[ALL_OTHERS] = None
    return chosen


def _numbers(estimator: Any, subset: Any) -> list[int]:
    """Checked places of a subset's blocks."""
    numbers = estimator._modalities.numbers(subset)
    names = estimator._modalities.names
    if not numbers:
        raise ValueError(f"subsets has an empty subset: name at least one of the blocks {names}.")
    if len(numbers) == len(names):
        raise ValueError(f"The subset {subset!r} leaves no block to predict: leave one out.")
    return numbers


def _label(estimator: Any, numbers: Iterable[int]) -> str:
    return " + ".join(str(estimator._modalities.names[b]) for b in numbers)


def _skill(truth: np.ndarray, guess: pd.Series, categories: np.ndarray | None) -> float:
    """Share of the best constant's error that a prediction removes; NaN without such an error."""
    if not truth.size or np.ptp(truth) == 0:
        return np.nan
    if categories is None:
        error = (guess.to_numpy(dtype=float) - truth) ** 2
        return float(1 - error.sum() / ((truth - truth.mean()) ** 2).sum())
    codes = truth.astype(int)
    wrong = guess.to_numpy(dtype=object) != categories[codes].astype(object)
    return float(1 - wrong.sum() / (len(codes) - np.bincount(codes).max()))


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Concordance of the posteriors of the same rows from two blocks, both (n, 2 * k)."""
    if len(first) < 2:
        return np.nan
    apart = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    between = first.var(axis=0).sum() + second.var(axis=0).sum() + apart
    if between < SILENT:
        return np.nan
    within = ((first - second) ** 2).sum(axis=1).mean()
    return float(np.clip(1 - within / between, 0.0, 1.0))
