"""What the networks leave over, read off the training rows that lie nearest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import MaskedSource, Table
from skvae.models.vae import VAE

N_NEIGHBOURS = 12
# Training rows to choose from: no more of them, and no more numbers in all of their centres.
MOST_REFERENCES, MOST_NUMBERS = 10_000, 2**24
# Filling the training rows compares each of them with all references: beyond so many pairs the
# references become fewer, down to a number that still costs only linear time.
MOST_PAIRS, FEWEST_REFERENCES = 2 * 10**8, 2000
# Distances held at once while predicting.
DISTANCES_AT_ONCE = 8_000_000
# Columns' worth of the expected distance that two rows start with.
PRIOR_COLUMNS = 0.003
# Squared distances below these are rounding errors: per latent dimension, and in sum over columns.
LATENT_FLOOR, SHOWN_FLOOR = 1e-4, 1e-2
# Half the squared norm of a reference that does not count, and what no distance reaches.
FAR, NOWHERE = 1e20, 1e12
# Weights fall with distance as one over it plus this.
SOFTENING = 0.02
# Kernel weight that pulls a correction to zero: neighbours all at one distance have none of their
# own.
SHRINKAGE = 1e-3


@dataclass(frozen=True, eq=False)
class LocalSource:
    """Masked members, corrected by the mean error that they make near by.

    For column j, every reference row is encoded as if j were hidden, which gives its centre and
    the error of its prediction. A new row is corrected by a kernel average (Nadaraya 1964, Watson
    1964) of the errors at the nearest references. Near means both in latent space, where what
    matters for j counts, and in the columns that both rows show, where rows that all but repeat
    each other meet: the distance is the geometric mean of both, latent space counting twice.

    Attributes
    ----------
    base : MaskedSource
    rows : Table
        The references, as each replica may see them.
    centres : Tensor of shape (p, n_replicas, m, r + 2)
        Of the references with column j hidden, for all members of a replica in a row, from their
        origin in units of their spread and with the sign changed; then half their squared norm,
        `FAR` where j is not known, and one.
    errors : Tensor of shape (n_members, m, n_statistics)
    weight : Tensor of shape (m,)
    origin, scale : Tensor of shape (n_replicas, 1, r)
        Of the centres: far from zero, and close to each other, they would have no distances but
        rounding errors.
    stat_columns : LongTensor of shape (n_statistics,)
    """

    base: MaskedSource
    rows: Table
    centres: Tensor
    errors: Tensor
    weight: Tensor
    origin: Tensor
    scale: Tensor
    stat_columns: Tensor

    @property
    def model(self) -> VAE:
        """The members."""
        return self.base.model

    @staticmethod
    def n_references(model: VAE, n_columns: int, n_rows: int) -> int:
        """How many training rows to learn from at most."""
        each = n_columns * model.n_members * model.n_components
        affordable = max(FEWEST_REFERENCES, MOST_PAIRS // n_rows)
        return max(1, min(MOST_REFERENCES, affordable, MOST_NUMBERS // each))

    @classmethod
    @torch.no_grad()
    def fit(
        cls, base: MaskedSource, rows: Table, truth: Tensor, weight: Tensor, stat_columns: Tensor
    ) -> LocalSource:
        """Encode the references once per column.

        Parameters
        ----------
        base : MaskedSource
        rows : Table
            The references; members take no errors from entries that they may not see.
        truth : Tensor of shape (m, n_statistics)
            What a perfect prediction would say.
        weight : Tensor of shape (m,)
        stat_columns : LongTensor of shape (n_statistics,)
            Column of each statistic.
        """
        n_replicas = base.model.n_replicas
        observed = rows.masks[0].expand(n_replicas, -1, -1)
        known = observed & (weight > 0)[:, None]
        statistics, centre = base.predict(rows)
        centre = _by_replica(centre, n_replicas)
        origin = centre.mean(1, keepdim=True)
        scale = centre.std(1, keepdim=True, correction=0).clamp(min=1e-6)
        # A component that hardly moves would count by its rounding errors.
        scale = torch.maximum(scale, 1e-3 * scale.amax(-1, keepdim=True))
        errors = torch.zeros_like(statistics)
        centres = torch.empty(observed.shape[-1], *centre.shape[:2], centre.shape[2] + 2)
        for j in range(len(centres)):
            hidden = observed.clone()
            hidden[..., j] = False
            rest = Table(rows.features, rows.targets, hidden, rows.feature_columns)
            statistics, centre = base.predict(rest)
            mine = stat_columns == j
            seen = base.model.members(known[..., j]).unsqueeze(-1)
            errors[..., mine] = (truth - statistics)[..., mine].where(seen, 0.0)
            centre = (_by_replica(centre, n_replicas) - origin) / scale
            half = 0.5 * centre.square().sum(-1)
            half = half.where(known[..., j], FAR)
            centres[j] = torch.cat(
                [-centre, half.unsqueeze(-1), torch.ones_like(half)[..., None]], -1
            )
        return cls(base, rows, centres, errors, weight, origin, scale, stat_columns)

    @property
    def chunk_size(self) -> int:
        """Rows at a time."""
        return max(16, DISTANCES_AT_ONCE // self.centres.shape[1:3].numel())

    def statistics(self, table: Table) -> Tensor:
        """In regression units, shape (n_members, n, n_statistics); observed columns as they are."""
        return torch.cat([self._of_chunk(part) for part in table.chunks(self.chunk_size)], dim=1)

    def _of_chunk(self, part: Table) -> Tensor:
        statistics, centre = self.base.predict(part)
        centre = (_by_replica(centre, len(self.scale)) - self.origin) / self.scale
        apart = _distance_of_shown(part, self.rows, self.model.inputs.clip).sqrt_()
        hidden = ~part.masks[0]
        for j in range(hidden.shape[-1]):
            rows = hidden[..., j].any(0).nonzero()
            if len(rows):
                mine = (self.stat_columns == j).nonzero().squeeze(1)
                at = rows.squeeze(1)
                correction = self._correction(j, mine, centre[:, at], apart[:, at])
                lacking = self.model.members(hidden[:, at, j]).unsqueeze(-1)
                statistics[:, rows, mine] += correction.where(lacking, 0.0)
        return statistics

    def _correction(self, j: int, mine: Tensor, centre: Tensor, apart: Tensor) -> Tensor:
        """Mean errors of column j, (n_members, b, s), around centres (n_replicas, b, r)."""
        one = torch.ones_like(centre[..., :1])
        # Half the squared distance in one matrix product: this is where the time goes.
        left = torch.cat([centre, one, 0.5 * centre.square().sum(-1, keepdim=True)], dim=-1)
        floor = LATENT_FLOOR * centre.shape[-1]
        distance = (left @ self.centres[j].mT).clamp_(min=floor).mul_(apart)
        distance, near = distance.topk(min(N_NEIGHBOURS + 1, distance.shape[-1]), largest=False)
        known = distance < NOWHERE
        distance = distance.where(known, 0.0)
        # Where more rows repeat this one than are asked, all that were found count the same.
        least = floor * apart.amin(-1, keepdim=True)
        width = torch.maximum(distance.amax(-1, keepdim=True), 4 * least)
        u = (distance / width).pow(2 / 3)
        # Falls steeply from a row that all but repeats this one, and to zero at the last.
        kernel = (1 - u).square() / (u + SOFTENING) * known * self.weight[near]
        kernel = kernel / (kernel.sum(-1, keepdim=True) + SHRINKAGE)
        near, kernel = self.model.members(near), self.model.members(kernel)
        member = torch.arange(len(near))[:, None, None]
        errors = self.errors.index_select(-1, mine)[member, near]  # (n_members, b, K, s)
        return (kernel.unsqueeze(-2) @ errors).squeeze(-2)


def _by_replica(centre: Tensor, n_replicas: int) -> Tensor:
    """Centres (n_members, n, k) of members side by side, (n_replicas, n, members * k)."""
    return centre.unflatten(0, (-1, n_replicas)).permute(1, 2, 0, 3).flatten(2)


def _distance_of_shown(part: Table, rows: Table, clip: float) -> Tensor:
    """Mean squared difference over the features that both rows show, (n_replicas, b, m).

    Features are clamped to plus or minus `clip`, as in the encoder.
    """
    seen, shown = part.masks[1].float(), rows.masks[1].float()
    x, y = part.features.clamp(-clip, clip), rows.features.clamp(-clip, clip)
    x, y = x.where(seen > 0, 0.0), y.where(shown > 0, 0.0)
    total = x.square() @ shown.mT - 2 * x @ y.mT + seen @ y.square().mT
    # Independent standard scores lie two apart.
    shared = seen @ shown.mT + PRIOR_COLUMNS
    # Ties go to the earlier reference, not to whatever a search comes upon.
    place = 1 + 2e-3 * torch.arange(y.shape[-2], dtype=x.dtype) / y.shape[-2]
    return (total.clamp(min=SHOWN_FLOOR) + 2 * PRIOR_COLUMNS) / shared * place
