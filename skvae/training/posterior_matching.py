"""An extra encoder that learns from a fitted model's own what parts of rows say of ``z``.

Posterior matching (Strauss and Oliva 2022): the model keeps its weights. Rows of the training
table lose entries at random, and the extra encoder ``q'`` maximises

``E_{q(z | x)} log q'(z | x_o)``,

whose best answer is the mean of ``q(z | x)`` over the ``x`` that a part may belong to.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from skvae.models.posterior import Posterior
from skvae.models.vae import VAE
from skvae.training.data import Batch, TrainingTable
from skvae.training.loop import History, LoopSettings, train

# Rows lose a share of their entries that is uniform up to this.
MOST_HIDDEN = 0.9
# Complete rows that matching needs; half of the rows of a small table.
FEWEST_ROWS = 20
# Pairs of mirrored samples where the expectation has no closed form.
SAMPLED_PAIRS = 4
# Times that entries of held-out rows are hidden at random.
N_HIDINGS = 4


@dataclass(frozen=True, eq=False)
class PosteriorMatching:
    """``E_q(z | x) log q'(z | x_o)`` over random parts o of the rows; an `Objective`.

    Attributes
    ----------
    teacher : VAE
        Whose encoder gives q; not trained.
    """

    teacher: VAE
    by_rows: ClassVar[bool] = True

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        with torch.no_grad():
            whole = self.teacher.posterior(
                batch.features, table.on_features(batch.visible), batch.context
            )
            if isinstance(whole, Posterior):
                noise = sigma_points(self.teacher.n_components)
            else:
                after = (SAMPLED_PAIRS, self.teacher.n_components)
                half = batch.draw(torch.randn, (1,), after, generator)
                noise = torch.cat([half, -half], dim=2)
            z = whole.rsample(noise)[0]
        share = MOST_HIDDEN * batch.draw(torch.rand, (), (1,), generator)
        hidden = batch.draw(torch.rand, (), batch.observed.shape[1:], generator) < share
        shown = table.on_features(batch.visible & ~hidden)
        return model.posterior(batch.features, shown, batch.context).log_prob_at(z).mean(-1)


def sigma_points(k: int) -> Tensor:
    """Points (2 k, k) with the mean and covariance of standard normal noise.

    A Gaussian's log-density is quadratic: its mean over these is its expectation, exactly (Julier
    and Uhlmann 1997).
    """
    half = math.sqrt(k) * torch.eye(k)
    return torch.cat([half, -half])


def match_posterior(
    model: VAE,
    table: TrainingTable,
    held_out: TrainingTable | None,
    settings: LoopSettings,
    seed: int,
) -> tuple[VAE, History]:
    """Train an extra encoder for a fitted model.

    Parameters
    ----------
    model : VAE
        Fitted; it is not changed.
    table : TrainingTable
        Whole rows, up to entries that are held out of them.
    held_out : TrainingTable or None
        Others, which decide when to stop.
    settings : LoopSettings
    seed : int

    Returns
    -------
    VAE
        A twin whose encoder it is, without a decoder.
    History
    """
    twin = copy.deepcopy(model)  # the model's own encoder is where the extra one begins
    twin.decoder = twin.known_holes = None
    twin.requires_grad_(False)
    for module in (twin.encoder, getattr(twin, "heads", None)):
        if module is not None:
            module.requires_grad_(True)
    objective = PosteriorMatching(model)
    validate = None if held_out is None else HeldOutMatch(objective, held_out, seed)
    generator = torch.Generator().manual_seed(seed)
    # Nothing decays: the linear VAE is not where the extra encoder should go.
    settings = replace(settings, weight_decay=torch.zeros(model.n_members))
    history = History()
    if settings.max_iter:
        history = train(twin, table, objective, validate, settings, generator, "matching")
    twin.eval().requires_grad_(False)
    return twin, history


def whole_rows(observed: Tensor) -> Tensor:
    """Numbers of the rows (n, p) without holes.

    Raises
    ------
    ValueError
        If they are too few to learn from.
    """
    rows, n = observed.all(1).nonzero().squeeze(1), len(observed)
    needed = min(FEWEST_ROWS, -(-n // 2))
    if len(rows) < needed:
        raise ValueError(
            f"inference='posterior_matching' learns from complete rows: {len(rows)} of {n} rows "
            f"are, and {needed} must be. Use inference='amortized', whose encoder learns from rows "
            "with holes, or inference='adaptive'."
        )
    return rows


@dataclass(frozen=True, eq=False)
class HeldOutMatch:
    """The objective on held-out rows, always with the same parts; shape (n_members,)."""

    objective: PosteriorMatching
    table: TrainingTable
    seed: int

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        batch = self.table.batch(torch.arange(self.table.n_rows))
        each = [self.objective(model, self.table, batch, generator) for _ in range(N_HIDINGS)]
        return (torch.stack(each).mean(0) * batch.weight).mean(1)
