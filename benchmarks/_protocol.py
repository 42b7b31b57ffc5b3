"""Tables, masks, scaling and errors: the protocols on numeric tables."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers import NUMERIC
from sklearn.datasets import load_breast_cancer

from skvae.datasets import ampute

SETS = ("banknote", "breast", "concrete", "energy", "wine_red", "yeast")
LARGER_SETS = ("letter", "spambase", "wine_white")
MECHANISMS = ("mcar", "mar", "mnar")
RATE = 0.3

# Columns that published tables leave out: targets, identifiers and two nearly constant columns.
_LEFT_OUT = {
    "banknote": ["class"],
    "spambase": ["class"],
    "wine_red": ["quality"],
    "wine_white": ["quality"],
    "yeast": ["name", "erl", "pox", "class"],
}


def load_table(data_dir: Path, name: str) -> np.ndarray:
    """The complete numeric table of one data set."""
    if name == "breast":
        return load_breast_cancer().data
    file = "gain_features.csv" if name == "letter" else "data.csv"
    frame = pd.read_csv(data_dir / name / file)
    return frame.drop(columns=_LEFT_OUT.get(name, [])).to_numpy(dtype=float)


def load_mask(
    masks: Any, name: str, mechanism: str, seed: int, X: np.ndarray
) -> tuple[np.ndarray, str]:
    """Hidden entries and where they come from: the file or, where it has none, `ampute`."""
    key = f"{name}/{mechanism}/{seed}"
    if masks is not None and key in masks:
        n, d = masks[f"{name}/shape"]
        if (n, d) != X.shape:
            raise ValueError(f"The mask {key} is for {n} x {d} entries, the table has {X.shape}.")
        return np.unpackbits(masks[key])[: n * d].reshape(n, d).astype(bool), "file"
    if mechanism == "selfmask":
        hidden = X > X.mean(axis=0)
        hidden[:, X.shape[1] // 2 :] = False
        return hidden, "rule"
    return np.isnan(ampute(X, mechanism, rate=RATE, random_state=seed)), "ampute"


class Scaling:
    """z-scores by given rows' observed entries; errors in units of the complete column's sd."""

    def __init__(self, X: np.ndarray, hidden: np.ndarray, rows: Any = slice(None)) -> None:
        observed = np.where(hidden, np.nan, X)[rows]
        sd = np.nanstd(observed, axis=0)
        self.X, self.hidden = X, hidden
        self.mean, self.sd = np.nanmean(observed, axis=0), np.where(sd > 0, sd, 1.0)
        complete = X.std(axis=0)
        self.unit = np.where(complete > 0, complete, 1.0)

    def with_holes(self) -> np.ndarray:
        return np.where(self.hidden, np.nan, (self.X - self.mean) / self.sd)

    def rmse(self, filled: Any, rows: Any = slice(None)) -> tuple[float, list[float | None]]:
        """RMSE over all hidden entries of the rows, and per column (None without holes)."""
        back = np.asarray(filled, dtype=float) * self.sd + self.mean
        hidden = self.hidden[rows]
        squares = np.where(hidden, ((back - self.X[rows]) / self.unit) ** 2, 0.0)
        counts = hidden.sum(axis=0)
        columns = [
            round(float(np.sqrt(s / c)), 4) if c else None
            for s, c in zip(squares.sum(axis=0), counts, strict=True)
        ]
        return round(float(np.sqrt(squares.sum() / counts.sum())), 4), columns


class Stopwatch:
    """Wall and processor seconds of a block."""

    def __enter__(self) -> Stopwatch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = round(time.perf_counter() - self._wall, 3)
        self.cpu_seconds = round(time.process_time() - self._cpu, 3)


def steps(model: Any, seconds: float) -> dict[str, float]:
    """What skvae says of its training; the milliseconds are those of fit and fill together."""
    n_iter = getattr(model, "n_iter_", 0)
    if not n_iter:
        return {}
    return {"n_iter": int(n_iter), "ms_per_iter": round(1000 * seconds / int(n_iter), 3)}


def run(
    protocol: str, X: np.ndarray, hidden: np.ndarray, mechanism: str, seed: int, method: str
) -> dict[str, Any]:
    """One cell of one protocol for one method."""
    model = NUMERIC[method](seed)
    with warnings.catch_warnings():
        if method != "skvae":  # rounds are fixed by the protocol, so peers may not converge
            warnings.simplefilter("ignore")
        result = _PROTOCOLS[protocol](X, hidden, mechanism, seed, model)
    if protocol == "rmse" and method == "skvae":
        result.update(steps(model, result["seconds"]))
    return result


def _in_sample(
    X: np.ndarray, hidden: np.ndarray, mechanism: str, seed: int, model: Any
) -> dict[str, Any]:
    """Fit and fill the same rows."""
    # The not-MIWAE protocol scales by the complete table.
    visible = np.zeros_like(hidden) if mechanism == "selfmask" else hidden
    scaling = Scaling(X, visible)
    scaling.hidden = hidden
    Z = scaling.with_holes()
    with Stopwatch() as watch:
        filled = model.fit_transform(Z)
    rmse, columns = scaling.rmse(filled)
    return {
        "rmse": rmse,
        "rmse_per_column": columns,
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
    }


def _new_rows(
    X: np.ndarray, hidden: np.ndarray, mechanism: str, seed: int, model: Any
) -> dict[str, Any]:
    """Fit on 70 % of the rows and fill the other 30 %; beside it, fit on all rows."""
    from sklearn.base import clone

    order = np.random.default_rng(seed).permutation(len(X))
    n_fit = round(0.7 * len(X))
    fit_rows, new_rows = order[:n_fit], order[n_fit:]
    scaling = Scaling(X, hidden, fit_rows)
    Z = scaling.with_holes()
    everything = clone(model).fit_transform(Z)
    model.fit(Z[fit_rows])
    with Stopwatch() as watch:
        filled = model.transform(Z[new_rows])
    rmse, columns = scaling.rmse(filled, new_rows)
    return {
        "rmse": rmse,
        "rmse_per_column": columns,
        "rmse_in_sample": scaling.rmse(np.asarray(everything)[new_rows], new_rows)[0],
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
    }


def _intervals(
    X: np.ndarray, hidden: np.ndarray, mechanism: str, seed: int, model: Any
) -> dict[str, Any]:
    """Coverage and width of 90 % intervals at hidden entries; widths in complete sds."""
    scaling = Scaling(X, hidden)
    Z = scaling.with_holes()
    model.fit(Z)
    with Stopwatch() as watch:
        lower, upper = (
            np.asarray(bound, dtype=float) * scaling.sd + scaling.mean
            for bound in model.predict_interval(Z, coverage=0.9)
        )
    slack = 1e-9 * scaling.unit  # scaling back and forth rounds
    inside = (lower - slack <= X) & (X <= upper + slack)
    width = (upper - lower) / scaling.unit
    return {
        "coverage": round(float(inside[hidden].mean()), 4),
        "coverage_per_column": [
            round(float(inside[h, j].mean()), 4) if h.any() else None
            for j, h in enumerate(hidden.T)
        ],
        "width": round(float(width[hidden].mean()), 4),
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
    }


_PROTOCOLS = {"rmse": _in_sample, "newrows": _new_rows, "intervals": _intervals}
