"""What it takes of a model to find better posteriors of its rows."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class JointModel(Protocol):
    """``p(x_o, z)`` beside posteriors that samples can be drawn from and that can be moved."""

    @property
    def n_members(self) -> int:
        """How many models these are, side by side."""

    @property
    def n_components(self) -> int:
        """Dimensions of ``z``, and of the noise that posteriors take."""

    @property
    def exact(self) -> bool:
        """Whether its posterior is ``p(z | x_o)`` itself."""

    def posterior(self, features: Tensor, observed: Tensor, context: Tensor | None = None) -> Any:
        """``q(z | x_o)``, with `rsample` and `shifted` as of `Posterior`.

        Parameters
        ----------
        features : Tensor of shape (batch, q)
        observed : bool Tensor of shape (n_replicas or 1, batch, q)
        context : Tensor of shape (batch, n_context), optional
        """

    def log_joint(
        self,
        z: Tensor,
        features: Tensor,
        targets: Tensor,
        observed: Tensor,
        context: Tensor | None = None,
    ) -> Tensor:
        """``log p(x_o, z)`` of every row's own latents, (n_members, batch, n_samples).

        Parameters
        ----------
        z : Tensor of shape (n_members, batch, n_samples, k)
        features : Tensor of shape (batch, q)
        targets : Tensor of shape (batch, p)
        observed : bool Tensor of shape (n_replicas or 1, batch, p)
        context : Tensor of shape (batch, n_context), optional
        """
