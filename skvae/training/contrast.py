"""Latents that tell contexts apart: where a VAE with a conditional prior begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from skvae.models.layers import LOG_SCALE_RANGE
from skvae.models.linear import LinearVAE
from skvae.models.sources import LinearEffect, Sources
from skvae.models.start import DecoderStart
from skvae.models.vae import VAE
from skvae.nn.mlp import MemberMLP
from skvae.training.data import Batch, TrainingTable
from skvae.training.loop import LoopSettings, Stateful, train
from skvae.training.objectives import ImportanceWeightedBound, Objective
from skvae.training.run import current_run

# Rotations of the sources are local optima. So many starts run in a round, each for so large a
# share of all steps; the best go on to the next round. Then the decoder learns alone, and last
# everything together.
ROUNDS, DECODER = ((8, 1 / 32), (4, 1 / 32), (2, 3 / 16)), 1 / 8
N_STARTS = ROUNDS[0][0]
# Of the learning rate, in the end: what has been found must not be shaken.
GENTLE = 0.15
# Of the contrast beside the bound, which alone would trade sources for sharper reconstructions.
WEIGHT = 10.0
# Rows in a step while contexts are told apart, which is noisy with few; and in the last steps.
BATCH, LAST_BATCH = 512, 256
# Variance that the encoder's coordinates have at least.
LEAST_WIDTH = 0.25
# Held-out rows that decide.
VALIDATION_ROWS = 4000
# Distinct contexts up to which a row's own is compared with all of them, else with the batch's.
MOST_CONTEXTS = 512


@dataclass(frozen=True, eq=False)
class ContextContrast:
    """``log p(c | z) - log p(c)`` under the model's prior ``p(z | c)``, z the encoder's centre.

    Where sources are independent given enough different contexts, the encoder that tells contexts
    apart best recovers them, whatever mixed them: contrastive learning (Hyvarinen, Sasaki and
    Turner 2019), with the prior's exponential family as the classifier. The encoder does not see
    the context.

    Attributes
    ----------
    contexts : Tensor of shape (m, n_context) or None
        All distinct ones; None compares with those of the batch.
    log_share : Tensor of shape (m,)
        Logarithms of their frequencies.
    """

    contexts: Tensor | None
    log_share: Tensor

    @property
    def by_rows(self) -> bool:
        """Whether rows are not compared with each other."""
        return self.contexts is not None

    @classmethod
    def of(cls, context: Tensor, weight: Tensor) -> ContextContrast:
        """Over the contexts of training rows."""
        distinct, place = context.unique(dim=0, return_inverse=True)
        if len(distinct) > MOST_CONTEXTS:
            return cls(None, torch.zeros(0))
        share = torch.zeros(len(distinct)).index_add_(0, place, weight)
        return cls(distinct, (share / share.sum()).log())

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        own = batch.context
        assert own is not None
        seen = table.on_features(batch.visible)
        z = model.posterior(batch.features, seen, own).centre
        others, log_share = self.contexts, self.log_share
        if others is None:
            others = own
            log_share = torch.full((len(own),), 1 / len(own)).log()
        pairs = z.unsqueeze(1).expand(-1, len(others), -1, -1)
        each = model.log_prior(pairs, others) + log_share[:, None]  # (1, m, batch)
        return model.log_prior(z, own) - each.logsumexp(1)


def sources_of(linear: LinearVAE, table: TrainingTable, turn: Tensor | None = None) -> Sources:
    """`Sources` of a table, as its linear VAE sees them."""
    assert table.context is not None
    posterior = linear.posterior(table.features, table.on_features(table.observed))
    return Sources.find(
        posterior.mean.double(),
        posterior.covariance.double(),
        table.context.double(),
        table.weight.double(),
        turn,
    )


def contrastive_start(
    starts: Sequence[Callable[[], VAE]],
    table: TrainingTable,
    judged: TrainingTable,
    settings: LoopSettings,
    generator: torch.Generator,
) -> VAE:
    """The model of the best start, its encoder and prior trained to tell contexts apart.

    Parameters
    ----------
    starts : sequence of callable
        Make the models that race.
    table : TrainingTable
    judged : TrainingTable
        Rows that decide.
    settings : LoopSettings
        Of the whole training.
    generator : torch.Generator
    """
    assert table.context is not None
    objective = ContextContrast.of(table.context, table.weight)
    judge = HeldOutContrast(objective, judged)
    models = [make() for make in starts]

    def score(model: VAE) -> float:
        return current_run().team.agree(float(judge(model)))

    for n, share in ROUNDS:
        models = sorted(models, key=score, reverse=True)[:n]
        for model in models:
            assert model.encoder is not None
            with _only(model, model.encoder.parameters(), model.prior.parameters()):
                part = _part(settings, share, BATCH)
                train(model, table, objective, judge, part, generator, "contrast")
    return max(models, key=score)


def follow(
    model: VAE,
    start: DecoderStart,
    table: TrainingTable,
    settings: LoopSettings,
    generator: torch.Generator,
) -> None:
    """Let the decoder learn alone, from a start of its own."""
    with torch.no_grad():
        model.weight.copy_(start.weight[None])
        model.bias.copy_(start.bias)
        model.free.copy_(start.free.view(model.free.shape))
    steps = _part(settings, DECODER, BATCH)
    assert model.decoder is not None
    own = [model.weight, model.bias, model.free]
    with _only(model, own, model.decoder.parameters()):
        train(model, table, ImportanceWeightedBound(1), None, steps, generator, "decoder")


def told_apart(
    bound: Objective, table: TrainingTable, settings: LoopSettings
) -> tuple[Objective, LoopSettings]:
    """How everything is trained together after that."""
    assert table.context is not None
    left = 1 - DECODER - sum(n * share for n, share in ROUNDS)
    contrast = ContextContrast.of(table.context, table.weight)
    last = _part(settings, left, LAST_BATCH)
    return ToldApart(bound, contrast), replace(last, learning_rate=GENTLE * last.learning_rate)


def _part(settings: LoopSettings, share: float, batch: int) -> LoopSettings:
    """A share of the steps, with batches of at least so many rows."""
    return replace(
        settings,
        max_iter=max(1, round(share * settings.max_iter)),
        batch_size=max(batch, settings.batch_size),
        # A rise of the learning rate costs more here than its descent has won back halfway.
        n_iter_no_change=0,
    )


@dataclass(frozen=True, eq=False)
class ToldApart:
    """A bound, with the contrast added: what the encoder has found stays while the rest learns.

    Attributes
    ----------
    bound : callable
    contrast : ContextContrast
    """

    bound: Objective
    contrast: ContextContrast

    @property
    def by_rows(self) -> bool:
        """As of both."""
        return self.contrast.by_rows and bool(getattr(self.bound, "by_rows", False))

    def __call__(
        self, model: VAE, table: TrainingTable, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        bound = self.bound(model, table, batch, generator)
        return bound + WEIGHT * self.contrast(model, table, batch, generator)

    def state_dict(self) -> dict[str, Any]:
        """Of the bound."""
        return self.bound.state_dict() if isinstance(self.bound, Stateful) else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        if isinstance(self.bound, Stateful):
            self.bound.load_state_dict(state)


@dataclass(frozen=True, eq=False)
class HeldOutContrast:
    """Mean contrast of rows, shape (1,)."""

    objective: ContextContrast
    table: TrainingTable

    @torch.no_grad()
    def __call__(self, model: VAE) -> Tensor:
        total = torch.zeros(1)
        n = min(self.table.n_rows, VALIDATION_ROWS)
        for rows in torch.arange(n).split(BATCH):  # every row is compared with many contexts
            batch = self.table.batch(rows)
            value = self.objective(model, self.table, batch, torch.Generator())
            total += (value * batch.weight).sum(1)
        return total / n


@torch.no_grad()
def widen(model: VAE, table: TrainingTable) -> None:
    """Let the encoder's network move in coordinates in which it reaches all latents."""
    seen = table.on_features(table.observed)
    posterior = model.posterior(table.features, seen.unsqueeze(0), table.context)
    open_share = float(posterior.covariance.diagonal(dim1=-2, dim2=-1).mean())
    if isinstance(model.encoder, MemberMLP) and open_share < LEAST_WIDTH:
        model.width = LEAST_WIDTH / open_share
        scale = torch.tensor(-0.5 * math.log(model.width) / LOG_SCALE_RANGE)
        raw = LOG_SCALE_RANGE * torch.atanh(scale.clamp(min=-0.9))
        model.encoder.biases[-1][..., model.n_components :] = raw


@contextmanager
def _only(model: VAE, *parts: Iterable[nn.Parameter]) -> Iterator[None]:
    """Train nothing but these parameters of a model."""
    trained = {p for part in parts for p in part}
    rest = [p for p in model.parameters() if p not in trained and p.requires_grad]
    for p in rest:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in rest:
            p.requires_grad_(True)


@torch.no_grad()
def linear_decoder(model: VAE, table: TrainingTable) -> LinearVAE:
    """Regression of the features on the encoder's centres."""
    seen = table.on_features(table.observed)
    z = model.posterior(table.features, seen.unsqueeze(0), table.context).centre[0].double()
    x = table.features.double()
    weight = seen * table.weight.double().unsqueeze(-1)
    fits = [
        LinearEffect.fit(z, x[:, j : j + 1].where(seen[:, j : j + 1], 0.0), weight[:, j])
        for j in range(x.shape[1])
    ]
    mean = torch.cat([fit.intercept for fit in fits])
    loadings = torch.cat([fit.slope for fit in fits], dim=1).mT
    rest = (x - z @ loadings.mT - mean).where(seen, 0.0)
    noise = (weight * rest.square()).sum(0) / weight.sum(0).clamp(min=1e-12)
    return LinearVAE(loadings, mean, noise.clamp(min=1e-3)).single()
