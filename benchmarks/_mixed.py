"""The HI-VAE protocol (Nazabal et al., 2020): mixed columns under published masks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _protocol import Stopwatch, steps
from peers import MIXED, NUMBERS

SETS = ("adult", "breast", "wine")

_COLUMN_TYPES = {
    "real": "continuous",
    "pos": "positive",
    "count": "count",
    "cat": "categorical",
    "ordinal": "ordinal",
}


class MixedTable:
    """Codes, kinds and numbers of levels of one data set, and one mask."""

    def __init__(self, folder: Path, mask: str) -> None:
        self.codes = pd.read_csv(folder / "data.csv", header=None).astype(float)
        self.codes.columns = [f"x{j}" for j in range(self.codes.shape[1])]
        types = pd.read_csv(folder / "data_types.csv")
        self.kinds = [str(kind) for kind in types["type"]]
        self.levels = types["nclass"].to_numpy()
        with np.load(folder / "masks.npz") as masks:
            n, d = masks["shape"]
            if mask not in masks:
                raise ValueError(f"{folder.name} has no mask {mask!r}, only {sorted(masks)}.")
            hidden = np.unpackbits(masks[mask])[: n * d].reshape(n, d).astype(bool)
        # Natural holes stay holes; they have no truth to compare with.
        self.hidden = hidden & self.codes.notna().to_numpy()

    def with_holes(self) -> pd.DataFrame:
        return self.codes.mask(self.hidden)

    def frame(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """The holed table with the dtypes a careful user gives it, and its `column_types`."""
        frame, column_types = self.with_holes(), {}
        for name, kind, levels in zip(frame, self.kinds, self.levels, strict=True):
            column_types[name] = _COLUMN_TYPES[kind]
            if kind == "count":
                frame[name] = frame[name].astype("Int64")
            elif kind in ("cat", "ordinal"):
                dtype = pd.CategoricalDtype(range(1, int(levels) + 1), ordered=kind == "ordinal")
                frame[name] = frame[name].astype("Int64").astype(dtype)
            elif kind == "pos" and frame[name].min() <= 0:
                column_types[name] = "continuous"  # "pos" has zeros in adult
        return frame, column_types

    def errors(self, filled: pd.DataFrame) -> list[float]:
        """One error per column, each between 0 and about 1."""
        errors = []
        for j, (name, kind) in enumerate(zip(self.codes, self.kinds, strict=True)):
            truth = self.codes[name].to_numpy()
            rows = self.hidden[:, j]
            distance = filled[name].to_numpy(dtype=float)[rows] - truth[rows]
            if kind in NUMBERS:
                span = np.nanmax(truth) - np.nanmin(truth)
                error = np.sqrt((distance**2).mean()) / span
            elif kind == "cat":
                error = (distance != 0).mean()
            else:
                error = np.abs(distance).mean() / self.levels[j]
            errors.append(round(float(error), 4))
        return errors


def run(table: MixedTable, seed: int, method: str) -> dict[str, Any]:
    """One data set under one mask for one method."""
    model: Any
    if method == "skvae":
        from skvae import VAEImputer

        frame, column_types = table.frame()
        model = VAEImputer(column_types=column_types, random_state=seed)
        model.set_output(transform="pandas")
        with Stopwatch() as watch:
            filled = model.fit_transform(frame)
    else:
        model = MIXED[method](seed)
        with Stopwatch() as watch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 30 rounds are the protocol, converged or not
            filled = model.fit_transform(table.with_holes(), table.kinds)
    errors = table.errors(filled)
    return {
        "error": round(float(np.mean(errors)), 4),
        "error_per_column": errors,
        "seconds": watch.seconds,
        "cpu_seconds": watch.cpu_seconds,
        **(steps(model, watch.seconds) if method == "skvae" else {}),
    }
