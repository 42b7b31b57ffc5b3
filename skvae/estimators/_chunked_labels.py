"""Fits of a classifier that go on."""

from __future__ import annotations

from typing import Any

from sklearn.base import _fit_context

from skvae.estimators._chunked import ChunkedFit


class ChunkedClassifierFit(ChunkedFit):
    """What `ChunkedFit` does, with labels."""

    _learns_labels = True

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> ChunkedClassifierFit:
        """Learn more rows, together with what was kept of all rows that earlier calls have seen.

        Afterwards the classifier is what `fit` makes of all of them, if `random_state` is an
        integer. Every call costs a fit: to learn many chunks at once give them to `fit` as a list,
        an iterator or a file. What is kept, `subsample` rows at most and those that show what they
        lack, is part of the classifier, and of its pickle. If a call fails, as does a first one
        with labels of fewer than two classes, its rows are forgotten.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_samples, n_features), or chunks as of `fit`
        y : array-like of shape (n_samples,), or str
            As of `fit`.
        classes : array-like of shape (n_classes,) or None, default=None
            All labels that may come; others are then an error. It may be given once, in the first
            call. `classes_` are those that have come.
        sample_weight : array-like of shape (n_samples,), str or None
            As of `fit`.

        Returns
        -------
        SemiSupervisedVAEClassifier
            The fitted classifier.

        Raises
        ------
        ValueError, TypeError
            If the columns are not those of earlier calls, a label is not among `classes`, or as
            `fit` does.

        Warns
        -----
        UserWarning
            If the classifier was fitted by `fit`, which keeps no rows: their model is lost.
        """
        return self._fit_more(X, y, sample_weight, classes)
