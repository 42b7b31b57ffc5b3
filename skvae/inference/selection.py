"""Predictions of a model of values and holes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from skvae.inference.ensemble import DECODED_AT_ONCE, Table, resample
from skvae.inference.importance import noise_block
from skvae.models.selection import Evaluation, Rows, SelectionVAE

N_SAMPLES = 128
# Numbers are at most so many widths of what is seen beyond it: where values hide, and elsewhere.
REACH, USUAL_REACH = 5.0, 0.5


@dataclass(frozen=True, eq=False)
class Units:
    """From features of numeric columns to generative targets, all of shape (m,).

    Attributes
    ----------
    link : Tensor of int
        0 for numbers as they are, 1 for logarithms, 2 for ``log1p``.
    location, scale : Tensor
        A linked number is ``location + scale * feature``; the target is what it is the link of.
    low, high : Tensor
        No target is beyond these.
    slope, intercept : Tensor
        From targets to regression units.
    """

    link: Tensor
    location: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    slope: Tensor
    intercept: Tensor

    def targets(self, features: Tensor) -> Tensor:
        """Generative targets (..., m)."""
        linked = (self.location + self.scale * features).clamp(max=80.0)
        target = torch.where(self.link == 0, features, linked.exp())
        target = torch.where(self.link == 2, linked.expm1(), target)
        return torch.minimum(torch.maximum(target, self.low), self.high)

    def log_derivative(self, features: Tensor) -> Tensor:
        """``log |d feature / d target|`` (..., m)."""
        return torch.where(
            self.link == 0, 0.0, -self.scale.log() - self.location - self.scale * features
        )


@dataclass(frozen=True, eq=False)
class SelectionSource:
    """A model of values and mask as a density: what `GenerativeSource` is to others.

    Attributes
    ----------
    model : SelectionVAE
    units : Units
    order : LongTensor of shape (n_statistics,)
        Puts statistics in column order.
    seed : int
        Of the noise that all rows share.
    """

    model: SelectionVAE
    units: Units
    order: Tensor
    seed: int

    @property
    def chunk_size(self) -> int:
        """Rows at a time."""
        # Every number has a few components of its own, which wide tables have no memory for.
        width = 1 + len(self.units.link) // 32
        return max(16, DECODED_AT_ONCE // (self.model.n_members * N_SAMPLES * width))

    def _noise(self) -> tuple[Tensor, Tensor, Tensor]:
        return shared_noise(N_SAMPLES, self.model.n_components, len(self.units.link), self.seed)

    def _evaluations(self, table: Table) -> Iterator[tuple[Table, Evaluation]]:
        """Chunk by chunk, under the noise that all rows share."""
        noise, number_noise, _ = self._noise()
        for part in table.chunks(self.chunk_size):
            yield part, self.model.evaluate(rows_of(part), noise, number_noise)

    def _parts(self, table: Table) -> Iterator[tuple[Evaluation, Tensor, Tensor]]:
        """Evaluations with weights (E, b, s) and numbers (E, b, s, m), as features."""
        _, number_noise, uniform = self._noise()
        for _, found in self._evaluations(table):
            y = self.model.mask_model.draw(found.values, uniform, number_noise)
            yield found, found.log_weights.softmax(-1), self.model.untransform(y)

    def _levels(self, found: Evaluation) -> Tensor:
        """Probabilities of levels given z and the mask, (E, b, s, n_levels)."""
        mask, columns, values = self.model.mask_model, self.model.columns, found.values
        probabilities = values.probabilities
        logits = mask.level_logits()
        if logits is None or not len(columns.level_columns):
            return probabilities
        at = columns.level_columns
        logits = logits[:, None, None]
        hidden = values.missing[..., at]
        share = torch.where(hidden, torch.sigmoid(logits), torch.sigmoid(-logits))
        share = share.where(mask.selected[:, None, None, at], 1.0)
        tilted = probabilities * share
        total = torch.zeros(*tilted.shape[:-1], columns.n_columns).index_add(-1, at, tilted)
        return tilted / total.clamp(min=1e-30)[..., at]

    def statistics(self, table: Table) -> Tensor:
        """Expected statistics in regression units, column order, (n_members, n, n_statistics)."""
        out, columns, likelihoods = [], self.model.columns, self.model.likelihoods
        for found, weights, numbers in self._parts(table):
            each = torch.zeros(*numbers.shape[:3], likelihoods.n_statistics)
            places = self._number_statistics
            regression = self.units.slope * self.units.targets(numbers) + self.units.intercept
            each = each.index_copy(-1, places, regression)
            each = each.index_copy(-1, columns.level_statistics, self._levels(found))
            out.append((weights.unsqueeze(-2) @ each).squeeze(-2))
        return torch.cat(out, 1).index_select(-1, self.order)

    @property
    def _number_statistics(self) -> Tensor:
        at = self.model.likelihoods.stat_columns
        return (~self.model.likelihoods.finite[at]).nonzero().squeeze(1)

    def moments(self, table: Table) -> tuple[Tensor, Tensor]:
        """Mean and variance of numeric columns in regression units, both (n_members, n, p)."""
        means, variances = [], []
        numeric, p = self.model.columns.numeric, self.model.columns.n_columns
        for _, weights, numbers in self._parts(table):
            x = self.units.slope * self.units.targets(numbers) + self.units.intercept
            mean = (weights.unsqueeze(-2) @ x).squeeze(-2)
            away = (x - mean.unsqueeze(-2)).square()
            variance = (weights.unsqueeze(-2) @ away).squeeze(-2)
            blank = torch.zeros(*mean.shape[:2], p)
            means.append(blank.index_copy(-1, numeric, mean))
            variances.append(blank.index_copy(-1, numeric, variance))
        return torch.cat(means, 1), torch.cat(variances, 1)

    def quantiles(self, table: Table, levels: Sequence[float]) -> Tensor:
        """Of numeric columns, members pooled, as targets, (n_levels, n, m)."""
        out = []
        for _, weights, numbers in self._parts(table):
            x = self.units.targets(numbers).transpose(0, 1).flatten(1, 2)  # (b, E s, m)
            order = x.argsort(1)
            w = weights.transpose(0, 1).flatten(1)[..., None].expand(x.shape).gather(1, order)
            below = w.cumsum(1) / w.sum(1, keepdim=True) - 0.5 * w / w.sum(1, keepdim=True)
            x = x.gather(1, order)
            place = [(below < level).sum(1, keepdim=True) for level in levels]
            out.append(
                torch.stack([x.gather(1, at.clamp(max=x.shape[1] - 1))[:, 0] for at in place])
            )
        return torch.cat(out, 1)

    def log_prob(self, table: Table) -> Tensor:
        """Log-density of observed targets and mask, members mixed, float64 (n,)."""
        out = []
        for part, found in self._evaluations(table):
            wide = found.log_weights.double()
            each = torch.logsumexp(wide, -1) - math.log(wide.shape[-1])
            mixed = torch.logsumexp(each, 0) - math.log(len(each))
            out.append(mixed + self.log_jacobian(part))
        return torch.cat(out)

    def log_jacobian(self, table: Table) -> Tensor:
        """What takes densities of features to those of targets, (n,)."""
        change = self.units.log_derivative(table.features[:, self.model.numeric_features])
        return change.where(table.masks[0][0][:, self.model.columns.numeric], 0.0).sum(-1)

    def effective_sample_size(self, table: Table) -> Tensor:
        """``1 / sum(weights**2)`` of `N_SAMPLES`, mean over members, shape (n,)."""
        parts = [found.log_weights.softmax(-1) for _, found in self._evaluations(table)]
        return (1 / torch.cat(parts, 1).square().sum(-1)).mean(0)

    def draw(self, table: Table, n_draws: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Draws of all targets given what is observed and that the rest is missing.

        A member, ``z`` by sampling-importance-resampling (Rubin 1987), then ``x`` given ``z`` and
        the mask; (n_draws, batch, p) per chunk of rows.
        """
        model, columns = self.model, self.model.columns
        m = len(columns.numeric)
        for part in table.chunks(self.chunk_size):
            shape = (model.n_members, len(part.features), N_SAMPLES)
            noise = torch.randn(*shape, model.n_components, generator=generator)
            number_noise = torch.randn(*shape, m, generator=generator)
            uniform = torch.rand(2, *shape, m, generator=generator)
            found = model.evaluate(rows_of(part), noise, number_noise)
            y = model.mask_model.draw(found.values, uniform, number_noise)
            targets = self.units.targets(model.untransform(y))
            at = resample(found.log_weights.softmax(-1), n_draws, generator)
            out = torch.zeros(*at[0].shape, columns.n_columns)
            out = out.index_copy(-1, columns.numeric, targets[at])
            if len(columns.level_columns):
                levels = self._levels(found)[at]
                out = _with_levels(out, levels, columns.level_columns, generator)
            yield out.transpose(0, 1)


def shared_noise(n_samples: int, k: int, m: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What all rows share: of z (n_samples, k), of numbers (n_samples, m), uniform (2, ...).

    Quasi-Monte-Carlo for z; so many dimensions as there are numbers would be too many for it, but
    each by itself is stratified (McKay et al. 1979).
    """
    strata = (
        qmc.LatinHypercube(3 * m, rng=seed).random(n_samples) if m else np.zeros((n_samples, 0))
    )
    uniform = torch.as_tensor(strata).clamp(1e-6, 1 - 1e-6).float()
    numbers, rest = uniform.split([m, 2 * m], dim=1)
    uniform = rest.unflatten(1, (2, m)).transpose(0, 1)
    return noise_block(n_samples, k, seed), torch.special.ndtri(numbers), uniform


def rows_of(part: Table) -> Rows:
    """A table's rows, for the model; what is not observed is missing unless the table says."""
    seen = part.masks[0]
    missing = ~seen.all(0) if part.missing is None else part.missing
    return Rows(part.features, part.targets, seen, missing)


def _with_levels(
    out: Tensor, probabilities: Tensor, owners: Tensor, generator: torch.Generator
) -> Tensor:
    """`out` (..., p) with a code drawn for every column that has levels."""
    for column in owners.unique().tolist():
        own = probabilities[..., owners == column].clamp(min=0)
        code = torch.multinomial(own.flatten(0, -2), 1, generator=generator)
        out[..., column] = code.view(own.shape[:-1]).to(out.dtype)
    return out
