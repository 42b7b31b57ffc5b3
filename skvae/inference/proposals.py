"""Three ways to obtain ``q(z | x_o)``, each as a proposal that importance weights correct.

Whatever the proposal is, estimates are self-normalised importance-sampling ones: a better one
makes them more precise, and in the limit of many samples all agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch import Tensor

from skvae.inference.importance import AnyPosterior
from skvae.models.joint import JointModel
from skvae.models.vae import VAE

if TYPE_CHECKING:  # the ensemble samples from proposals
    from skvae.inference.ensemble import Table


class Proposed(NamedTuple):
    """What a proposal says of rows.

    Attributes
    ----------
    best : Posterior or LayeredPosterior
        ``q(z | x_o)`` of every row.
    mixture : tuple of one or two of them
        What ``z`` is sampled from, the better one first. The second one is insurance: importance
        weights are those of the mixture.
    """

    best: AnyPosterior
    mixture: tuple[AnyPosterior, ...]


class Proposal(Protocol):
    """How rows get their posteriors."""

    def propose(self, model: VAE, part: Table) -> Proposed:
        """Posteriors of rows."""


@dataclass(frozen=True)
class Amortized:
    """The model's own encoder (Kingma and Welling 2014)."""

    def propose(self, model: VAE, part: Table) -> Proposed:
        """The encoder's."""
        encoder = encode(model, part)
        return Proposed(encoder, (encoder,))


@dataclass(frozen=True, eq=False)
class Matched:
    """An encoder beside the model, which learnt from the model's own what parts of rows say.

    Posterior matching (Strauss and Oliva 2022), see `skvae.training.posterior_matching`.

    Attributes
    ----------
    twin : VAE
        Whose encoder it is, in the same coordinates.
    """

    twin: VAE

    def propose(self, model: VAE, part: Table) -> Proposed:
        """The extra encoder's."""
        encoder = encode(self.twin, part)
        return Proposed(encoder, (encoder,))


def encode(model: JointModel, part: Table) -> AnyPosterior:
    """``q(z | x_o)`` as a model's encoder has it."""
    posterior: AnyPosterior = model.posterior(part.features, part.masks[1], part.context)
    return posterior


def divided(noise: Tensor, n_posteriors: int) -> Sequence[Tensor]:
    """A block of noise (n, k) in one piece for each of a row's posteriors.

    Two of three samples for the first, the rest for the insurance, if there is any.
    """
    if n_posteriors == 1:
        return (noise,)
    spare = len(noise) // 3
    return noise.split([len(noise) - spare, spare])
