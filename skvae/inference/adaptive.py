"""A posterior for every row by itself, as a proposal."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from skvae.inference.ensemble import DECODED_AT_ONCE, Table
from skvae.inference.importance import AnyPosterior, noise_block
from skvae.inference.proposals import encode
from skvae.inference.refit import BLOCK, MIRRORED_PAIRS, PosteriorRefit, RefitSettings
from skvae.models.vae import VAE

# Steps long at first and short at last find a row's posterior in half as many as equal ones.
SETTINGS = RefitSettings(
    max_iter=100, learning_rate=0.05, tol=0.01, shared_noise=True, patience=1, descend=True
)
# Samples under which rows are scored while their posteriors are optimised.
CHECK_SAMPLES = 64


@dataclass(frozen=True)
class Adaptive:
    """Every row's own posterior, optimised from the encoder's on (Agarwal et al. 2023).

    The decoder stands still while the evidence lower bound of every row grows, until its own no
    longer does; no row ends with a worse one than it began with. As maximising the bound makes
    posteriors narrow, samples also come from the encoder's.

    Attributes
    ----------
    seed : int
        Of the noise, which all rows share: what a row gets does not depend on the others.
    settings : RefitSettings
    """

    seed: int
    settings: RefitSettings = SETTINGS

    def posteriors(self, model: VAE, part: Table) -> tuple[AnyPosterior, ...]:
        """The rows' own, and the encoder's; the latter alone where it is exact."""
        encoder = encode(model, part)
        if model.exact:
            return (encoder,)
        check = noise_block(CHECK_SAMPLES, model.n_components, self.seed + 2)
        rows = DECODED_AT_ONCE // (2 * MIRRORED_PAIRS * model.n_members)
        pieces = part.chunks(max(1, rows // BLOCK) * BLOCK)
        own = []
        for piece in pieces:
            generator = torch.Generator().manual_seed(self.seed + 3)
            own.append(PosteriorRefit(model, piece, check, generator).run(self.settings))
        return encoder.shifted(*torch.cat(own, dim=2)), encoder
