"""Which columns made a row odd: leave-one-out results as a table in the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skvae.estimators._latent import LatentModel, Rows
from skvae.estimators._prediction import within_domain
from skvae.inference.leave_one_out import LeaveOneOut, leave_one_out
from skvae.inference.session import torch_defaults
from skvae.tabular import TableCodec

COLUMNS = ("value", "expected", "std", "surprise", "contribution")


@torch_defaults()
def entries_given_rest(latent: LatentModel, rows: Rows, n_samples: int) -> LeaveOneOut:
    """`leave_one_out` with the noise that all rows of a model share."""
    noise, draws = latent.shared_samples(n_samples)
    return leave_one_out(latent.model, latent.table(rows), noise, draws)


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
    point = within_domain(scaler, scaler.from_targets(entries.point.numpy()))
    std = entries.std.numpy() * unit
    surprise = entries.surprise.numpy() - np.where(scaler.numeric, scaler.log_jacobian, 0.0)
    excess = entries.surprise.numpy() - typical
    frame = isinstance(X, pd.DataFrame)
    index = X.index if frame else pd.RangeIndex(len(novel))
    raw = X if frame else np.asarray(X)
    place = {int(j): k for k, j in enumerate(codec.modelled)}
    blocks = []
    for j, column in enumerate(codec.columns):
        broken = novel[:, j]
        if j not in place and not broken.any():
            continue
        cells = raw.iloc[:, j].to_numpy(dtype=object) if frame else raw[:, j].astype(object)
        block = pd.DataFrame({"row": np.arange(len(novel)), "column": column.name, "value": cells})
        if j in place:
            k = place[j]
            expected = point[:, k].astype(object)
            if column.categories is not None:
                expected = column.categories.astype(object)[point[:, k].astype(int)]
            numbers = (std[:, k], surprise[:, k], excess[:, k])
        else:
            expected = np.full(len(novel), column.fill, dtype=object)
            numbers = (np.nan, np.nan, np.nan)
        block["expected"] = expected
        block["std"], block["surprise"], block["contribution"] = numbers
        block.loc[broken, ["surprise", "contribution"]] = rare
        blocks.append(block if j in place else block[broken])
    table = pd.concat(blocks, ignore_index=True)
    # The largest contributions of every row first, absent entries last.
    order = np.lexsort((-table["contribution"].fillna(-np.inf), table["row"]))
    table = table.iloc[order]
    labels = index[table.pop("row").to_numpy()]
    names = table.pop("column").to_numpy()
    table.index = pd.MultiIndex.from_arrays([labels, names], names=["row", "column"])
    return table[list(COLUMNS)]
