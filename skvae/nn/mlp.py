"""Networks of several members trained side by side in one batched pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MemberMLP(nn.Module):
    """One multilayer perceptron per member, evaluated by batched matrix products.

    ReLU, because tables have kinks; the last layer starts at zero, so that the network starts as
    the zero function and whatever it corrects starts uncorrected.

    Parameters
    ----------
    n_members : int
    sizes : sequence of int
        Widths from input to output, at least two.
    generator : torch.Generator
        Source of the initial weights (He et al. 2015).
    hidden_output : bool, default=False
        End in a hidden layer like the others: features for several heads.
    output_scale : float, default=0.0
        Of the last layer's initial weights, relative to those of a hidden layer. Two networks
        that matter only through each other would never leave zero.
    """

    def __init__(
        self,
        n_members: int,
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        hidden_output: bool = False,
        output_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden_output = hidden_output
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        last = len(sizes) - 2
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            weight = torch.zeros(n_members, n_in, n_out)
            scale = 1.0 if layer < last or hidden_output else output_scale
            if scale:
                weight.normal_(0.0, scale * math.sqrt(2 / n_in), generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(n_members, 1, n_out)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_members, batch, n_in) to (n_members, batch, n_out)."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last or self.hidden_output:
                x = torch.relu(x)
        return x
