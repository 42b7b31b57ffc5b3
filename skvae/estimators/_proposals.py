"""From the parameter `inference` to a fitted proposal."""

from __future__ import annotations

import torch

from skvae.estimators._density import warn_recovered
from skvae.inference.adaptive import Adaptive
from skvae.inference.proposals import Amortized, Matched, Proposal
from skvae.models.vae import VAE
from skvae.training.data import Tensors
from skvae.training.density import DensitySettings
from skvae.training.posterior_matching import match_posterior, whole_rows

INFERENCE = ("amortized", "posterior_matching", "adaptive")


def make_proposal(
    inference: str, model: VAE, data: Tensors, settings: DensitySettings, seed: int
) -> tuple[Proposal, list[float]]:
    """The proposal of a fitted model, and its held-out scores if it had to learn.

    Parameters
    ----------
    inference : one of `INFERENCE`
    model : VAE
        With one member.
    data : Tensors
        What the model was fitted on.
    settings : DensitySettings
        Those of its training; posterior matching takes as many steps.
    seed : int

    Raises
    ------
    ValueError
        If posterior matching lacks complete rows.
    """
    if inference == "amortized":
        return Amortized(), []
    if inference == "adaptive":
        return Adaptive(seed), []
    rows = whole_rows(data.observed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    n_held_out = settings.n_held_out(len(rows))
    held_out = data.table(rows[order[:n_held_out].sort().values]) if n_held_out else None
    table = data.table(rows[order[n_held_out:].sort().values])
    twin, history = match_posterior(model, table, held_out, settings.loop, seed)
    if history.recovered:
        warn_recovered(history.n_iter)
    return Matched(twin), [scores[0] for scores in history.scores]
