"""From the name of a way to infer to the proposal of a fitted model."""

from __future__ import annotations

import torch

from skvae.inference.adaptive import Adaptive
from skvae.inference.proposals import Amortized, Matched, Proposal
from skvae.models.vae import VAE
from skvae.training.data import TrainingTable
from skvae.training.loop import History, LoopSettings
from skvae.training.posterior_matching import match_posterior, whole_rows

INFERENCE = ("amortized", "posterior_matching", "adaptive")
# Share of the whole rows that decide how long an extra encoder learns, and most of them.
HELD_OUT, MOST_HELD_OUT = 0.1, 2000


def make_proposal(
    inference: str,
    model: VAE,
    table: TrainingTable,
    loop: LoopSettings,
    seed: int,
    *,
    early_stopping: bool = True,
) -> tuple[Proposal, History | None]:
    """The proposal of a fitted model, and how it was learnt if it had to be.

    Parameters
    ----------
    inference : one of `INFERENCE`
    model : VAE
    table : TrainingTable
        What the model was fitted on.
    loop : LoopSettings
        How an extra encoder learns.
    seed : int
    early_stopping : bool, default=True
        Whether some of the rows decide when that ends.

    Raises
    ------
    ValueError
        If posterior matching lacks complete rows, or an encoder.
    """
    if inference == "amortized":
        return Amortized(), None
    if inference == "adaptive":
        return Adaptive(seed), None
    rows = whole_rows(table.observed)
    if model.encoder is None:
        raise ValueError(
            "inference='posterior_matching' is for the networks: hidden_layer_sizes=() and "
            "max_iter=0 have none. The linear posterior knows parts of rows already."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    n_held_out = min(int(HELD_OUT * len(rows)), MOST_HELD_OUT) if early_stopping else 0
    held_out = table.take(rows[order[:n_held_out]]) if n_held_out else None
    learnt = table.take(rows[order[n_held_out:]])
    twin, history = match_posterior(model, learnt, held_out, loop, seed)
    return Matched(twin), history
