"""Which columns made a row odd: leave-one-out results as a table in the user's units."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from skvae.estimators._latent import LatentModel, Rows
from skvae.estimators._prediction import within_domain
from skvae.inference.leave_one_out import LeaveOneOut, leave_one_out
from skvae.inference.session import where_it_is
from skvae.tabular import TableCodec
from skvae.tabular.table import as_table

COLUMNS = ("value", "expected", "std", "surprise", "contribution")


@where_it_is
def entries_given_rest(latent: LatentModel, rows: Rows, n_samples: int) -> LeaveOneOut:
    """`leave_one_out` with the noise that all rows of a model share."""
    noise, draws = latent.shared_samples(n_samples)
    table = latent.table(rows)
    return leave_one_out(latent.model, table, noise, draws(table), latent.proposal)


def explanation_table(
    X: Any,
    codec: TableCodec,
    latent: LatentModel,
    entries: LeaveOneOut,
    novel: np.ndarray,
    typical: np.ndarray,
    rare: float,
) -> pd.DataFrame:
    """One row for each entry of `X` that a model sees, or that breaks a constant column.

    Parameters
    ----------
    X : DataFrame or array-like
    codec : TableCodec
    latent : LatentModel
    entries : LeaveOneOut
    novel : bool ndarray of shape (n, n_columns)
        Cells that hold what no training row did.
    typical : ndarray of shape (p,)
        Surprise of an average entry, by modelled column.
    rare : float
        Surprise of novel cells.
    """
    scaler = latent.scaler
    unit = np.exp(-scaler.log_jacobian)
    surprise = entries.surprise.cpu().numpy()
    point = within_domain(scaler, scaler.from_targets(entries.point.cpu().numpy()))
    std = entries.std.cpu().numpy() * unit
    excess = surprise - typical
    surprise = surprise - np.where(scaler.numeric, scaler.log_jacobian, 0.0)
    place = {int(j): k for k, j in enumerate(codec.modelled)}
    blocks = []
    for j, column in enumerate(codec.columns):
        if j not in place:
            continue
        k = place[j]
        expected = point[:, k].astype(object)
        if column.categories is not None:
            expected = column.categories.astype(object)[point[:, k].astype(int)]
        block = _block(X, j, column.name, expected)
        block["std"], block["surprise"], block["contribution"] = (
            std[:, k],
            surprise[:, k],
            excess[:, k],
        )
        block.loc[novel[:, j], ["surprise", "contribution"]] = rare
        blocks.append(block)
    return _arranged(X, blocks + _constant_blocks(X, codec, novel, rare))


def broken_constants(X: Any, codec: TableCodec, novel: np.ndarray, rare: float) -> pd.DataFrame:
    """`explanation_table` where no column varies."""
    return _arranged(X, _constant_blocks(X, codec, novel, rare))


def _constant_blocks(
    X: Any, codec: TableCodec, novel: np.ndarray, rare: float
) -> list[pd.DataFrame]:
    blocks = []
    for j, column in enumerate(codec.columns):
        broken = novel[:, j]
        if column.status != "constant" or not broken.any():
            continue
        expected = np.full(len(novel), column.fill, dtype=object)
        block = _block(X, j, column.name, expected)
        block["std"], block["surprise"], block["contribution"] = np.nan, rare, rare
        blocks.append(block[broken])
    return blocks


def _block(X: Any, j: int, name: Hashable, expected: np.ndarray) -> pd.DataFrame:
    """One column's cells beside what was expected."""
    cells = np.asarray(as_table(X).column(j), dtype=object)
    row = np.arange(len(cells))
    block = pd.DataFrame({"row": row, "value": cells, "expected": expected})
    block["column"] = pd.Series([name] * len(row), dtype=object)  # names may be tuples
    return block


def _arranged(X: Any, blocks: list[pd.DataFrame]) -> pd.DataFrame:
    """By row, the largest contributions first and absent entries last."""
    empty = pd.DataFrame({name: np.zeros(0) for name in ("row", "column", *COLUMNS)})
    table = pd.concat(blocks, ignore_index=True) if blocks else empty.astype({"row": int})
    order = np.lexsort((-table["contribution"].fillna(-np.inf), table["row"]))
    table = table.iloc[order]
    index = X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(len(X))
    labels = index[table["row"].to_numpy()]
    names = pd.Index(table["column"].to_numpy(dtype=object), tupleize_cols=False)
    table.index = pd.MultiIndex.from_arrays([labels, names], names=["row", "column"])
    return table[list(COLUMNS)]
