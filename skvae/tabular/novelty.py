"""Cells that hold what no training row did: levels never seen, constants that changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from skvae.tabular.cells import Cells
from skvae.tabular.codec import TableCodec
from skvae.tabular.coding import UNSEEN, code_cells
from skvae.tabular.schema import Column


def novel_cells(codec: TableCodec, X: Any) -> np.ndarray:
    """Where `X` holds a level never seen at fit, or breaks a constant column.

    Parameters
    ----------
    codec : TableCodec
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)

    Returns
    -------
    ndarray of bool, shape (n_samples, n_features)
        False for columns that had no value at fit: nothing is known of them.
    """
    table = codec._table(X)
    mask = np.zeros((table.n_rows, table.n_columns), dtype=bool)
    for j, column in enumerate(codec.columns):
        if column.status == "constant" or (column.status == "modelled" and column.is_discrete):
            cells = codec._read(table, j)
            mask[:, j] = cells.observed & _is_novel(column, cells)
    return mask


def _is_novel(column: Column, cells: Cells) -> np.ndarray:
    if column.status == "modelled":
        return code_cells(column, cells)[0] == UNSEEN
    if cells.numbers is not None and isinstance(column.fill, (int, float, np.number)):
        tolerance = 0.0 if column.integer else 1e-9
        return ~np.isclose(cells.numbers, float(column.fill), rtol=tolerance, atol=0.0)
    codes, levels = cells.factorize()
    same = np.array([level == column.fill for level in levels] + [True], dtype=bool)
    return ~same[codes]
