"""What the encoder network sees of an incomplete row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ENCODED_INPUTS, MIN_BINS, MAX_BINS = 320, 4, 24


class EncoderInputs(nn.Module):
    """Values, mask and a piecewise linear encoding of the features of a row.

    The encoding (Gorishniy et al. 2022) says for each of the feature's quantile bins how far the
    value has passed through it. Networks learn the steps and plateaus of tables from it that they
    would not find in the bare number.

    Parameters
    ----------
    edges : Tensor of shape (n_encoded, n_bins + 1)
        Increasing bin edges.
    encoded : LongTensor of shape (n_encoded,)
        The features that have bins; two-valued ones need none.
    clip : float
        Values enter the network clamped to plus or minus this.
    """

    edges: Tensor
    encoded: Tensor

    def __init__(self, edges: Tensor, encoded: Tensor, clip: float = 4.0) -> None:
        super().__init__()
        self.register_buffer("edges", edges)
        self.register_buffer("encoded", encoded)
        self.clip = clip

    def width(self, n_features: int) -> int:
        """Number of inputs for a table of `n_features`."""
        return 2 * n_features + self.edges.shape[0] * (self.edges.shape[1] - 1)

    def forward(self, features: Tensor, observed: Tensor) -> Tensor:
        """Inputs for features (batch, q) under masks (..., batch, q); hidden entries give zero."""
        features = features.where(observed, 0.0)  # NaN times zero is NaN
        mask = observed.to(features.dtype)
        parts = [features.clamp(-self.clip, self.clip), mask]
        if self.edges.shape[0]:
            low, high = self.edges[:, :-1], self.edges[:, 1:]
            values = features.index_select(-1, self.encoded).unsqueeze(-1)
            passed = ((values - low) / (high - low)).clamp(0.0, 1.0)
            shown = mask.index_select(-1, self.encoded).unsqueeze(-1)
            parts.append((passed * shown).flatten(-2))
        return torch.cat(parts, dim=-1)


def fit_edges(
    features: Tensor, observed: Tensor, n_encoded: int = ENCODED_INPUTS
) -> tuple[Tensor, Tensor]:
    """`quantile_edges` with as many bins as give about `n_encoded` numbers, within limits."""
    n_bins = min(max(n_encoded // features.shape[1], MIN_BINS), MAX_BINS)
    return quantile_edges(features, observed, n_bins)


def quantile_edges(features: Tensor, observed: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    """Bin edges at the quantiles of each feature's observed values.

    Parameters
    ----------
    features : Tensor of shape (n, q)
    observed : bool Tensor of shape (n, q)
    n_bins : int

    Returns
    -------
    edges : Tensor of shape (n_encoded, n_bins + 1)
    encoded : LongTensor of shape (n_encoded,)
        Features with more than two distinct values.
    """
    edges, encoded = [], []
    levels = torch.linspace(0, 1, n_bins + 1, dtype=features.dtype)
    for j in range(features.shape[1]):
        values = torch.unique(features[observed[:, j], j])
        if len(values) <= 2:
            continue
        if len(values) > n_bins + 1:
            cuts = torch.quantile(_thin(features[observed[:, j], j]), levels)
        else:
            # Few distinct values are their own edges; the rest lie past the last and stay silent.
            cuts = values[-1] + torch.arange(1.0, n_bins + 2.0, dtype=features.dtype)
            cuts[: len(values)] = values
        # Repeated quantiles would make empty bins, whose slope is infinite, and so would steps that
        # are lost beside large numbers.
        step = 1e-3 * max(1.0, 1e-3 * float(cuts.abs().max()))
        cuts = cuts + step * torch.arange(n_bins + 1, dtype=features.dtype)
        edges.append(torch.cummax(cuts, 0).values)
        encoded.append(j)
    if not edges:
        return no_edges()
    return torch.stack(edges), torch.tensor(encoded)


def no_edges() -> tuple[Tensor, Tensor]:
    """Edges and features of no encoding: values and mask alone."""
    return torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)


def _thin(values: Tensor, most: int = 100_000) -> Tensor:
    """A regular part of a long column: quantiles need no more, and torch sorts no more."""
    return values[:: max(1, len(values) // most)]
