"""Three ways to obtain ``q(z | x_o)``, each as a proposal that importance weights correct.

Whatever the proposal is, estimates are self-normalised importance-sampling ones: a better one
makes them more precise, and in the limit of many samples all agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from skvae.inference.importance import AnyPosterior
from skvae.models.vae import VAE

if TYPE_CHECKING:  # the ensemble samples from proposals
    from skvae.inference.ensemble import Table


class Proposal(Protocol):
    """How rows get their posteriors."""

    def posterior(self, model: VAE, part: Table) -> AnyPosterior:
        """``q(z | x_o)`` of every row, the best there is."""

    def mixture(self, model: VAE, part: Table) -> tuple[AnyPosterior, ...]:
        """What every row's ``z`` is sampled from: one distribution, or two with the better first.

        The second one is insurance: importance weights are those of the mixture.
        """


@dataclass(frozen=True)
class Amortized:
    """The model's own encoder (Kingma and Welling 2014)."""

    def posterior(self, model: VAE, part: Table) -> AnyPosterior:
        """The encoder's."""
        return encode(model, part)

    def mixture(self, model: VAE, part: Table) -> tuple[AnyPosterior, ...]:
        """The encoder's alone."""
        return (encode(model, part),)


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

    def posterior(self, model: VAE, part: Table) -> AnyPosterior:
        """The extra encoder's."""
        return encode(self.twin, part)

    def mixture(self, model: VAE, part: Table) -> tuple[AnyPosterior, ...]:
        """The extra encoder's alone."""
        return (encode(self.twin, part),)


def encode(model: VAE, part: Table) -> AnyPosterior:
    """``q(z | x_o)`` as a model's encoder has it."""
    return model.posterior(part.features, part.masks[1], part.context)


def divided(noise: Tensor, n_posteriors: int) -> Sequence[Tensor]:
    """A block of noise (n, k) in one piece for each of a row's posteriors.

    Two of three samples for the first, the rest for the insurance, if there is any.
    """
    if n_posteriors == 1:
        return (noise,)
    spare = len(noise) // 3
    return noise.split([len(noise) - spare, spare])
