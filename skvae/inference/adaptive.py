"""A posterior for every row by itself, as a proposal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.inference.importance import noise_block
from skvae.inference.proposals import Proposed, encode
from skvae.inference.refit import BLOCK, MIRRORED_PAIRS, PosteriorRefit, RefitSettings
from skvae.models.joint import JointModel

# Steps long at first and short at last find a row's posterior in half as many as equal ones.
SETTINGS = RefitSettings(
    max_iter=100,
    learning_rate=0.05,
    tol=0.01,
    shared_noise=True,
    patience=1,
    descend=True,
    enough=0.5,
)
# Samples under which rows are scored while their posteriors are optimised.
CHECK_SAMPLES = 64
# Their seed follows the one of the noise that estimates use.
CHECK_SUCCESSOR = 1
# Of the scales that samples are drawn with, in nats.
WIDENING = 0.2


@dataclass(frozen=True)
class Adaptive:
    """Every row's own posterior, optimised from the encoder's on (Agarwal et al. 2023).

    The decoder stands still while the evidence lower bound of every row grows, until its own no
    longer does; no row ends with a worse one than it began with, and rows that the encoder serves
    well stay as they are. Maximising the bound makes posteriors narrower than importance sampling
    likes: samples come from wider ones, and from the encoder's.

    Attributes
    ----------
    seed : int
        Of the noise, which all rows share: what a row gets does not depend on the others.
    settings : RefitSettings
    """

    seed: int
    settings: RefitSettings = SETTINGS

    def propose(self, model: JointModel, part: Table) -> Proposed:
        """The rows' own; the encoder's alone where it is exact."""
        encoder = encode(model, part)
        if model.exact:
            return Proposed(encoder, (encoder,))
        move, log_scale = self.find(model, part)
        moved = (move != 0).any(-1, keepdim=True)
        wider = encoder.shifted(move, log_scale + WIDENING * moved)
        return Proposed(encoder.shifted(move, log_scale), (wider, encoder))

    def find(self, model: JointModel, part: Table) -> Tensor:
        """How far the rows' own are from the encoder's, move and log scale (2, n_members, n, k)."""
        if model.exact:
            return torch.zeros(2, model.n_members, len(part.features), model.n_components)
        check = noise_block(CHECK_SAMPLES, model.n_components, self.seed + CHECK_SUCCESSOR)
        rows = DECODED_AT_ONCE // (2 * MIRRORED_PAIRS * model.n_members)
        found = []
        for piece in part.chunks(max(1, rows // BLOCK) * BLOCK):
            generator = torch.Generator().manual_seed(self.seed + CHECK_SUCCESSOR)
            found.append(PosteriorRefit(model, piece, check, generator).run(self.settings))
        return torch.cat(found, dim=2)
