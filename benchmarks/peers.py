"""What skvae is measured against: imputers with `fit_transform` (and `transform`, mostly)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

# ------------------------------------------------------------------------------ numeric tables


def skvae_imputer(seed: int) -> Any:
    """skvae with its default settings."""
    from skvae import VAEImputer

    return VAEImputer(random_state=seed)


def mice(seed: int) -> IterativeImputer:
    """Chained Bayesian ridge regressions, 30 rounds."""
    return IterativeImputer(max_iter=30, random_state=seed)


def missforest(seed: int) -> IterativeImputer:
    """Chained random forests, 6 rounds (Stekhoven and Buehlmann, 2012)."""
    forest = RandomForestRegressor(
        n_estimators=100, max_features=1 / 3, n_jobs=1, random_state=seed
    )
    return IterativeImputer(forest, max_iter=6, random_state=seed)


class HyperImputePeer:
    """HyperImpute's adaptive search; it refits on the table it fills."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit_transform(self, X: np.ndarray) -> np.ndarray:
        from hyperimpute.plugins.imputers import Imputers

        plugin = Imputers().get("hyperimpute", random_state=self.seed)
        return np.asarray(plugin.fit_transform(pd.DataFrame(X)), dtype=float)


class MiceForestPeer:
    """miceforest's chained gradient boosting, 5 rounds, one data set."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit_transform(self, X: np.ndarray) -> np.ndarray:
        import miceforest

        frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
        kernel = miceforest.ImputationKernel(frame, num_datasets=1, random_state=self.seed)
        kernel.mice(5, num_threads=1)
        return kernel.complete_data(dataset=0).to_numpy(dtype=float)


NUMERIC: dict[str, Callable[[int], Any]] = {
    "skvae": skvae_imputer,
    "mean": lambda seed: SimpleImputer(),
    "knn": lambda seed: KNNImputer(),
    "mice": mice,
    "missforest": missforest,
    "hyperimpute": HyperImputePeer,
    "miceforest": MiceForestPeer,
}


def importable(method: str) -> bool:
    """Whether the package behind an optional method is installed."""
    return method not in ("hyperimpute", "miceforest") or (
        importlib.util.find_spec(method) is not None
    )


# -------------------------------------------------------------------------------- mixed tables
#
# Every peer takes a frame of float codes (levels are whole numbers) and one kind per column:
# "real", "pos" and "count" are numbers, "cat" is nominal, "ordinal" is ordered.

NUMBERS = ("real", "pos", "count")


def first_guess(codes: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    """Mean of numbers, mode of levels."""
    filled = codes.copy()
    for name, kind in zip(codes, kinds, strict=True):
        seen = codes[name].dropna()
        filled[name] = codes[name].fillna(seen.mean() if kind in NUMBERS else seen.mode()[0])
    return filled


class MeanModePeer:
    """Mean of numbers, mode of categories and ordinals."""

    def __init__(self, seed: int) -> None:
        pass

    def fit_transform(self, codes: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
        return first_guess(codes, kinds)


class RoundedMicePeer:
    """Chained ridge regressions on standardised codes; levels are rounded to the nearest one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit_transform(self, codes: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
        mean, sd = codes.mean(), codes.std(ddof=0).replace(0.0, 1.0)
        values = mice(self.seed).fit_transform(((codes - mean) / sd).to_numpy())
        filled = pd.DataFrame(values, codes.index, codes.columns) * sd + mean
        for name, kind in zip(codes, kinds, strict=True):
            if kind not in NUMBERS:
                low, high = codes[name].min(), codes[name].max()
                filled[name] = filled[name].round().clip(low, high)
        return filled


class MixedMissForestPeer:
    """missForest (Stekhoven and Buehlmann, 2012) on mixed columns.

    Columns are visited from the fewest holes to the most. Each gets a forest of 100 trees,
    trained on the rows where it is observed: a regressor for numbers, a classifier for
    categories, and a regressor whose prediction is rounded for ordinals. Nominal columns of
    more than two levels enter one-hot. At most six rounds; as in the paper, the filling before
    the one that changed more than its predecessor is returned. Above `LARGE` rows the leaves
    hold at least five rows, which keeps a round on 30,000 rows near a minute.
    """

    LARGE = 10_000
    MAX_ROUNDS = 6

    def __init__(self, seed: int, n_jobs: int = 1) -> None:
        self.seed = seed
        self.n_jobs = n_jobs

    def fit_transform(self, codes: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
        kind_of = dict(zip(codes, kinds, strict=True))
        holes = codes.isna()
        order = [name for name in holes.sum().sort_values(kind="stable").index if holes[name].any()]
        filled = first_guess(codes, kinds)
        change = {"numbers": np.inf, "levels": np.inf}
        for _ in range(self.MAX_ROUNDS):
            previous, previous_change = filled.copy(), change
            for name in order:
                seen = ~holes[name]
                features = self._features(filled.drop(columns=name), kind_of)
                forest = self._forest(kind_of[name], len(codes))
                forest.fit(features[seen], codes.loc[seen, name])
                guess = forest.predict(features[~seen])
                if kind_of[name] == "ordinal":
                    guess = np.round(guess)
                filled.loc[~seen, name] = guess
            change = self._change(previous, filled, holes, kind_of)
            if all(change[k] >= previous_change[k] for k in change):
                return previous
        return filled

    def _forest(self, kind: str, n_rows: int) -> Any:
        settings = {
            "n_estimators": 100,
            "min_samples_leaf": 5 if n_rows > self.LARGE else 1,
            "random_state": self.seed,
            "n_jobs": self.n_jobs,
        }
        if kind == "cat":
            return RandomForestClassifier(**settings)
        return RandomForestRegressor(max_features=1 / 3, **settings)

    @staticmethod
    def _features(filled: pd.DataFrame, kind_of: dict[str, str]) -> np.ndarray:
        blocks = []
        for name in filled:
            values = filled[name].to_numpy()
            levels = np.unique(values)
            if kind_of[name] == "cat" and len(levels) > 2:
                blocks.append((values[:, None] == levels).astype(np.float32))
            else:
                blocks.append(values[:, None])
        return np.hstack(blocks).astype(np.float32)

    @staticmethod
    def _change(
        old: pd.DataFrame, new: pd.DataFrame, holes: pd.DataFrame, kind_of: dict[str, str]
    ) -> dict[str, float]:
        """The paper's two distances between successive fillings."""
        numbers = [name for name in new if kind_of[name] in NUMBERS]
        levels = [name for name in new if kind_of[name] not in NUMBERS]
        change = {}
        if numbers:
            squares = ((new[numbers] - old[numbers]) ** 2 / new[numbers].var()).to_numpy()
            change["numbers"] = float(squares.sum())
        if levels:
            moved = ((new[levels] != old[levels]) & holes[levels]).to_numpy().sum()
            change["levels"] = moved / max(int(holes[levels].to_numpy().sum()), 1)
        return change


MIXED: dict[str, Callable[[int], Any]] = {
    "mean": MeanModePeer,
    "mice": RoundedMicePeer,
    "missforest": MixedMissForestPeer,
}
