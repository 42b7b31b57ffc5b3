"""Training masks: a prior that closes most of them, and evidence that decides about the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skvae.inference.importance import noise_block
from skvae.models.sparse import SparseVAE, SpikeAndSlab
from skvae.models.vae import VAE
from skvae.training.data import Batch, TrainingTable
from skvae.training.loop import History, LoopSettings, train
from skvae.training.objectives import Objective
from skvae.training.run import current_run

# Inverse scale of the slab; the spike's grows with the root of the number of rows, as the noise of
# the sum of so many gradients does, from this on.
SLAB, LEAST_SPIKE = 1.0, 10.0
# Share of all steps with open masks, and shares of what a column learns from its latents below
# which masks are closed, round by round; every round trains on.
FIRST, LEVELS = 0.5, (0.01, 0.02, 0.05, 0.1, 0.2)
# Of the learning rate, in these rounds.
LATER_RATE = 0.5
# Rows and samples of z that masks are tested on.
TESTED_ROWS, TEST_SAMPLES = 4000, 8


@dataclass(frozen=True, eq=False)
class SparseBound:
    """A bound and the masks' log prior, shared out among the rows.

    Attributes
    ----------
    bound : callable
    prior : SpikeAndSlab
    n_rows : int
    """

    bound: Objective
    prior: SpikeAndSlab
    n_rows: int

    @property
    def by_rows(self) -> bool:
        """As of the bound."""
        return bool(getattr(self.bound, "by_rows", False))

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        assert isinstance(model, SparseVAE)
        bound = self.bound(model, table, batch, generator)
        return bound - self.prior.penalty(model.gates) / self.n_rows


def mask_prior(table: TrainingTable) -> SpikeAndSlab:
    """The prior for a table of so many rows."""
    spike = max(LEAST_SPIKE, math.sqrt(table.n_rows))
    return SpikeAndSlab(spike, SLAB, table.targets.shape[1])


@torch.no_grad()
def close_masks(model: SparseVAE, table: TrainingTable, level: float, seed: int) -> None:
    """Close the masks that their columns can do without, the weakest first.

    Those that are worth less than a share `level` of what the column learns from all its latents,
    or less than the prior says against them.
    """
    rows = torch.arange(min(table.n_rows, TESTED_ROWS))
    batch = table.batch(rows)
    observed = table.on_features(batch.visible)
    noise = noise_block(TEST_SAMPLES, model.n_components, seed)
    z, _ = model.posterior(batch.features, observed, batch.context).rsample(noise)
    odds = mask_prior(table).log_odds(model.gates) * len(rows) / table.n_rows
    blind = _by_column(model, torch.zeros_like(model.gates), z, batch)
    for _ in range(model.n_components):
        gates = model.gates
        now = _by_column(model, gates, z, batch)
        without = [_by_column(model, _without(gates, k), z, batch) for k in range(len(gates.mT))]
        worth = now.unsqueeze(1) - torch.stack(without, dim=1)
        needed = torch.maximum(odds, level * (now - blind).unsqueeze(1))
        weakest = (worth - needed).where(model.is_open, math.inf).min(dim=1)
        columns = (weakest.values < 0).nonzero().squeeze(1)
        if not len(columns):
            break
        model.is_open[columns, weakest.indices[columns]] = False


def _without(gates: Tensor, k: int) -> Tensor:
    gates = gates.clone()
    gates[:, k] = 0.0
    return gates


def _by_column(model: SparseVAE, gates: Tensor, z: Tensor, batch: Batch) -> Tensor:
    """Log-likelihood of every column over the rows, (p,)."""
    driven = model.decode_through(gates, z, batch.context)
    each = model.log_likelihood(driven, batch.targets, batch.visible).mean(-2)[0]
    return (each.double() * batch.weight.unsqueeze(-1)).sum(0)


def train_sparse(
    model: SparseVAE,
    table: TrainingTable,
    bound: Objective,
    validate: Callable[[VAE], Tensor] | None,
    judge: Callable[[VAE], Tensor],
    settings: LoopSettings,
    generator: torch.Generator,
    seed: int,
) -> History:
    """Train with all masks open, then close more and more of them, and keep the best.

    The best is the sparsest model within one standard error of the one with the largest bound
    (Breiman et al. 1984), once every open mask has been paid for: what its prior says against it,
    and half a logarithm of the number of rows, as for any parameter (Schwarz 1978).

    Parameters
    ----------
    model, table, settings, generator
        As of `train`.
    bound : callable
        Objective beside the masks' prior.
    validate : callable or None
        As of `train`, for every round.
    judge : callable
        Gives the bound of every judged row, (1, n).
    seed : int
        Of the noise under which masks are tested.
    """
    objective = SparseBound(bound, mask_prior(table), table.n_rows)
    team = current_run().team
    whole = History()
    path: list[tuple[Tensor, dict[str, Tensor]]] = []
    for level in (0.0, *LEVELS):
        first = not path
        if not first:
            before = model.is_open.clone()
            model.eval()  # users' encoders may drop units
            close_masks(model, table, level, seed)
            team.align([model.is_open])
            model.train()
            if torch.equal(before, model.is_open):
                continue
        share = FIRST if first else (1 - FIRST) / len(LEVELS)
        rate = settings.learning_rate * (1.0 if first else LATER_RATE)
        steps = max(1, round(share * settings.max_iter))
        history = train(
            model,
            table,
            objective,
            validate,
            replace(settings, max_iter=steps, learning_rate=rate),
            generator,
            "masks",
        )
        whole.loss += history.loss
        whole.scores += history.scores
        whole.n_iter += history.n_iter
        whole.recovered |= history.recovered
        state = {name: value.clone() for name, value in model.state_dict().items()}
        model.eval()
        path.append((judge(model)[0].double() - _price(model, table), state))
        model.train()
    chosen = team.agree(_sparsest(torch.stack([each for each, _ in path])))
    model.load_state_dict(path[chosen][1])
    return whole


@torch.no_grad()
def _price(model: SparseVAE, table: TrainingTable) -> float:
    """Of the open masks, in nats per row."""
    each = mask_prior(table).log_odds(model.gates) + 0.5 * math.log(table.n_rows)
    return float(each[model.is_open].sum()) / table.n_rows


def _sparsest(bounds: Tensor) -> int:
    """The last of models whose bounds (n_models, n) are within one standard error of the best."""
    best = bounds[bounds.mean(1).argmax()]
    behind = best - bounds
    error = behind.std(1, correction=0) / math.sqrt(max(bounds.shape[1] - 1, 1))
    fine = (behind.mean(1) <= error).nonzero()
    return int(fine.max())
