"""Labels of which most are absent: what `y` may be, and which classes it names."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

UNLABELLED = -1
# Members that learn without some of the labels.
MOST_FOLDS = 5
# So many classes may each have a single label.
MOST_SINGLES = 20


def label_array(y: Any) -> np.ndarray:
    """Labels as a flat array, of whatever dtype.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    """
    if np.ma.isMaskedArray(y):
        y = np.where(np.ma.getmaskarray(y), None, y.data.astype(object))
    if isinstance(y, pd.api.extensions.ExtensionArray | pd.Index):
        y = pd.Series(y)
    if isinstance(y, pd.Series):  # also of nullable and categorical dtypes
        y = y.to_numpy(dtype=object)
    elif isinstance(y, list | tuple):  # NumPy would make strings of NaN and numbers beside strings
        cells = np.empty(len(y), dtype=object)
        cells[:] = y
        y = cells if any(isinstance(cell, str) or cell is None for cell in y) else np.asarray(y)
    return column_or_1d(np.asarray(y), warn=True)


def read_labels(labels: np.ndarray | None, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and codes of partly labelled rows.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,) or None
        Unlabelled where -1, NaN, None or `pd.NA`.
    n_rows : int

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.
    codes : ndarray of int64, shape (n_rows,)
        Places in `classes`, -1 where unlabelled.

    Raises
    ------
    ValueError
        If labels are no classes, or fewer than two classes have any.
    """
    labels = require_labels(labels)
    check_one_per_row(labels, n_rows)
    known = known_labels(labels)
    if not known.any():
        raise ValueError(
            "y labels no row: all are -1 (or NaN, None). Label some rows of at least two classes, "
            "or use VAETransformer, which needs no labels."
        )
    given = _as_classes(labels[known])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # too many classes are refused below
        check_classification_targets(given)
    classes, inverse = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class, {classes.tolist()[0]!r}, among its labelled rows: a classifier "
            "needs at least two. Label rows of another class."
        )
    if len(classes) > max(MOST_SINGLES, len(given) // 2):
        raise ValueError(
            f"y has {len(classes)} classes among {len(given)} labelled rows: nearly every label is "
            "its own class. Give classes rather than identifiers or numbers to regress on."
        )
    codes = np.full(n_rows, UNLABELLED, dtype=np.int64)
    codes[known] = inverse
    return classes, codes


def require_labels(labels: Any) -> Any:
    """Raise ValueError where there are none."""
    if labels is None:
        raise ValueError(
            "SemiSupervisedVAEClassifier requires y to be passed, but the target y is None. Give "
            "one label per row and -1 for rows without."
        )
    return labels


def check_one_per_row(labels: np.ndarray, n_rows: int) -> None:
    """Raise ValueError unless there is a label, or -1, for every row."""
    if len(labels) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, y "
            f"{len(labels)} labels. Give one per row, -1 for rows without."
        )


def known_labels(labels: np.ndarray) -> np.ndarray:
    """Which rows have a label, bool of shape (n,)."""
    everywhere = np.ones(len(labels), dtype=bool)
    if labels.dtype.kind in "US":
        if (labels == str(UNLABELLED)).any():
            raise ValueError(
                "y has dtype string. If you wish to predict on string targets, use dtype object, "
                "and use -1 as the label for unlabelled rows."
            )
        return everywhere
    if labels.dtype.kind == "O":
        if any(isinstance(label, str) and label == str(UNLABELLED) for label in labels):
            raise ValueError(
                "y holds the string '-1', which may be a class or mean that a row has no label. "
                "Replace it by the number -1, or by another string."
            )
        unlabelled = np.array([_is_unlabelled(label) for label in labels], dtype=bool)
        return ~(unlabelled | pd.isna(labels))
    if labels.dtype.kind == "f":
        if np.isinf(labels).any():
            raise ValueError(
                "Input y contains infinity. Give classes, and -1 or NaN for rows without a label."
            )
        return ~np.isnan(labels) & (labels != UNLABELLED)
    return everywhere if labels.dtype.kind == "b" else labels != UNLABELLED


def _is_unlabelled(label: Any) -> bool:
    number = isinstance(label, int | float | np.number) and not isinstance(label, bool | np.bool_)
    return bool(number and label == UNLABELLED)


def _as_classes(labels: np.ndarray) -> np.ndarray:
    """Labels of one type: numbers or strings, not both."""
    if labels.dtype.kind != "O":
        return labels
    kinds = {isinstance(label, str) for label in labels}
    if len(kinds) > 1:
        words = sorted({repr(label) for label in labels if isinstance(label, str)})
        raise ValueError(
            f"y mixes strings ({', '.join(words[:3])}) and numbers. Convert its labels to one "
            "type; only -1 may stand beside strings, for rows without a label."
        )
    if kinds == {True}:
        return labels
    try:
        plain = np.asarray(labels.tolist())
    except ValueError:
        plain = np.empty((0, 0))
    if plain.ndim != 1:
        raise ValueError(
            "Unknown label type: give one number or string per row as y, and -1 for rows without."
        )
    return plain


def label_folds(codes: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """The fold that does without each label, -1 for none (and where there is no label).

    Folds are stratified. A class with a single label keeps it in all of them.
    """
    fold = np.full(len(codes), -1)
    counts = np.bincount(codes[codes >= 0])
    n_folds = int(min(MOST_FOLDS, max(counts.max(), 1)))
    place = 0
    for code, count in enumerate(counts):
        if count < 2:
            continue
        rows = random.permutation(np.flatnonzero(codes == code))
        fold[rows] = (place + np.arange(count)) % n_folds
        place += count  # the next class goes on where this one ended: folds are of one size
    return fold
