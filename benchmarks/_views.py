"""Tables of several views with absent ones: the splits, and what is measured on test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")


@dataclass
class Views:
    """Standardised training rows with NaN for absent views, and complete test rows.

    Attributes
    ----------
    X, X_test : ndarray of shape (n, n_columns)
    present : bool ndarray of shape (n, n_views)
        Which views training rows have.
    columns : list of slice
        Of every view.
    y, y_test : ndarray or None
        Labels, where latents are tested by them.
    one : ndarray of int or None
        The only view shown of each test row when latents from one view are tested.
    pooled : bool
        A view's coefficient of determination pools its columns, rather than averages theirs, and
        there are no densities: some columns hardly vary among training rows.
    """

    X: np.ndarray
    X_test: np.ndarray
    present: np.ndarray
    columns: list[slice]
    names: tuple[str, ...]
    y: Any = None
    y_test: Any = None
    one: Any = None
    pooled: bool = False

    def filled(self, table: np.ndarray) -> np.ndarray:
        """Means in place of absent views: columns are standardised."""
        return np.nan_to_num(table)

    def others(self, j: int) -> np.ndarray:
        """The columns of all views but one, as a mask."""
        rest = np.ones(self.X.shape[1], dtype=bool)
        rest[self.columns[j]] = False
        return rest

    def showing_one(self) -> np.ndarray:
        """Test rows with one view each."""
        table = np.full_like(self.X_test, np.nan)
        for j, view in enumerate(self.columns):
            rows = self.one == j
            table[rows, view] = self.X_test[rows, view]
        return table

    def complete_rows(self) -> Views:
        """The training rows that have every view."""
        rows = self.present.all(axis=1)
        y = None if self.y is None else self.y[rows]
        return Views(**(vars(self) | {"X": self.X[rows], "present": self.present[rows], "y": y}))


@dataclass
class Fitted:
    """What a fitted method can do, each None where it cannot.

    Attributes
    ----------
    predict : callable
        View `j` of a table from its other views. Its columns of the table are NaN.
    log_lik : callable
        Log-density of view `j` of each row given its other views.
    embed : callable
        Latents of a table with holes.
    """

    predict: Callable[[np.ndarray, int], np.ndarray] | None = None
    log_lik: Callable[[np.ndarray, int], np.ndarray] | None = None
    embed: Callable[[np.ndarray], np.ndarray] | None = None


def _slices(widths: list[int]) -> list[slice]:
    ends = np.cumsum([0, *widths]).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]


def load_mfeat(data_dir: Path, seed: int, share: float) -> Views:
    """Handwritten numerals in six views, any of which training rows may lack."""
    with np.load(data_dir / "multiview" / "mfeat.npz") as file:
        return lose_views({name: file[name] for name in VIEWS}, file["y"], seed, share)


def load_breast(data_dir: Path | None, seed: int, share: float) -> Views:
    """Tumours: means, errors and worst values of ten measures."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    views = {"mean": X[:, :10], "error": X[:, 10:20], "worst": X[:, 20:]}
    return lose_views(views, y, seed, share)


def load_wine(data_dir: Path | None, seed: int, share: float) -> Views:
    """Wines: the first five columns, the next five, the last three."""
    from sklearn.datasets import load_wine as load

    X, y = load(return_X_y=True)
    views = {"first": X[:, :5], "second": X[:, 5:10], "third": X[:, 10:]}
    return lose_views(views, y, seed, share)


def load_quarters(data_dir: Path | None, seed: int, share: float) -> Views:
    """Digits cut into four, without pixels that hardly vary."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    images, views = X.reshape(-1, 8, 8), {}
    for row in (0, 4):
        for column in (0, 4):
            view = images[:, row : row + 4, column : column + 4].reshape(len(X), -1)
            views[f"{row}{column}"] = view[:, view.std(axis=0) > 0.3]
    return lose_views(views, y, seed, share)


def lose_views(views: dict[str, np.ndarray], y: np.ndarray, seed: int, share: float) -> Views:
    """Half of the rows for training, each without a view with probability `share`."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(len(y)), test_size=0.5, stratify=y, random_state=seed)
    random = np.random.default_rng(seed)
    present = random.random((len(train), len(views))) >= share
    for i in np.flatnonzero(~present.any(axis=1)):
        present[i, random.integers(len(views))] = True
    shown = [view[train][present[:, j]] for j, view in enumerate(views.values())]
    mean = np.concatenate([part.mean(axis=0) for part in shown])
    scale = np.concatenate([part.std(axis=0) + 1e-9 for part in shown])
    table = (np.hstack(list(views.values())) - mean) / scale
    widths = [view.shape[1] for view in views.values()]
    return Views(
        X=np.where(np.repeat(present, widths, axis=1), table[train], np.nan),
        X_test=table[test],
        present=present,
        columns=_slices(widths),
        names=tuple(views),
        y=y[train],
        y_test=y[test],
        one=random.integers(len(views), size=len(test)),
    )


def load_halves(data_dir: Path | None, seed: int, share: float) -> Views:
    """Digits as a top and a bottom half, few training rows with both."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    mean, scale = X[train].mean(axis=0), X[train].std(axis=0)
    varies = scale > 0
    table = ((X - mean) / np.where(varies, scale, 1.0))[:, varies]
    widths = [int(varies[:32].sum()), int(varies[32:].sum())]
    random = np.random.default_rng(seed)
    pair = random.random(len(train)) < share
    half = random.integers(2, size=len(train))
    present = pair[:, None] | (half[:, None] == np.arange(2))
    return Views(
        X=np.where(np.repeat(present, widths, axis=1), table[train], np.nan),
        X_test=table[test],
        present=present,
        columns=_slices(widths),
        names=("top", "bottom"),
        pooled=True,
    )


def evaluate(views: Views, fitted: Fitted) -> dict[str, float]:
    """`r2`, `log_lik`, `acc_one` and `acc_all`, as far as the method has them."""
    out = {}
    if fitted.predict:
        out["r2"] = np.mean([_r2(views, fitted, j) for j in range(len(views.columns))])
    if fitted.log_lik and not views.pooled:
        each = [
            fitted.log_lik(views.X_test, j).mean() / (view.stop - view.start)
            for j, view in enumerate(views.columns)
        ]
        out["log_lik"] = np.mean(each)
    if fitted.embed and views.y is not None:
        out |= _accuracies(views, fitted.embed)
    return {name: round(float(value), 4) for name, value in out.items()}


def _r2(views: Views, fitted: Fitted, j: int) -> float:
    truth = views.X_test[:, views.columns[j]]
    shown = np.where(views.others(j), views.X_test, np.nan)
    error = (truth - fitted.predict(shown, j)) ** 2
    spread = (truth - truth.mean(axis=0)) ** 2
    if views.pooled:
        return 1 - error.sum() / spread.sum()
    return np.mean(1 - error.mean(axis=0) / spread.mean(axis=0))


def _accuracies(views: Views, embed: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Labels by logistic regression on latents."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(embed(views.X), views.y)
    return {
        "acc_one": model.score(embed(views.showing_one()), views.y_test),
        "acc_all": model.score(embed(views.X_test), views.y_test),
    }
