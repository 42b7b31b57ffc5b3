"""Filled tables in the container they came in, with or without flags where the holes were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skvae.estimators._base import BaseVAE


class HoleIndicator(BaseVAE):
    """What an imputer gives back."""

    indicator_: Any

    def _holes(self, X: Any) -> Any:
        """Zeros with NaN where `X` has holes, under the names that `X` has."""
        holes = np.where(self._codec.observed(X), 0.0, np.nan)
        names = getattr(self, "feature_names_in_", None)
        return holes if names is None else pd.DataFrame(holes, columns=names)

    def _decode(self, filled: np.ndarray, X: Any) -> Any:
        """A frame where both the table at fit and `X` are one; an array otherwise."""
        table = self._codec.decode(filled, X)
        as_array = isinstance(table, pd.DataFrame) and not self._codec.is_frame
        return table.to_numpy() if as_array else table

    def _with_indicator(self, filled: Any, X: Any) -> Any:
        if self.indicator_ is None:
            return filled
        flags = self.indicator_.transform(self._holes(X))
        if isinstance(filled, pd.DataFrame):
            names = self.get_feature_names_out()[filled.shape[1] :]
            flags = pd.DataFrame(flags, columns=names, index=filled.index)
            return pd.concat([filled, flags], axis=1)
        return np.hstack([filled, flags])
