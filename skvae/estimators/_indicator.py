"""Filled tables in the container they came in, with or without flags where the holes were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._set_output import _get_output_config

from skvae.estimators._base import BaseVAE
from skvae.tabular.table import Table, as_table


class HoleIndicator(BaseVAE):
    """What an imputer gives back."""

    indicator_: Any

    def _holes(self, X: Any) -> Any:
        """Zeros with NaN where `X` has holes, under the names that `X` has."""
        holes = np.where(self._codec.observed(X), 0.0, np.nan)
        names = getattr(self, "feature_names_in_", None)
        return holes if names is None else pd.DataFrame(holes, columns=names)

    def _decode(self, filled: np.ndarray, X: Any, flag: bool = False) -> Any:
        """A frame like `X` where both it and the table at fit are one; an array otherwise.

        With columns that flag holes at its end if `flag` is true.
        """
        given = as_table(X)
        table = self._codec.decode(filled, replace(given, native=None))
        if given.is_frame and not self._codec.is_frame:
            table = table.to_numpy()
        if flag and self.indicator_ is not None:
            table = self._with_indicator(table, given)
        if flag and _get_output_config("transform", self)["dense"] == "pandas":
            return table  # as set_output asks, whatever the frame
        return given.as_given(table) if isinstance(table, pd.DataFrame) else table

    def _with_indicator(self, filled: Any, given: Table) -> Any:
        flags = self.indicator_.transform(self._holes(given))
        if isinstance(filled, pd.DataFrame):
            names = self.get_feature_names_out()[filled.shape[1] :]
            flags = pd.DataFrame(flags, columns=names, index=filled.index)
            return pd.concat([filled, flags], axis=1)
        return np.hstack([filled, flags])
