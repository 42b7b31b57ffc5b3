"""What a density is fitted with, and what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from skvae.training.loop import History, LoopSettings

# Rows that decide when to stop.
MOST_VALIDATION_ROWS = 2000


@dataclass(frozen=True)
class DensitySettings:
    """What an estimator asks for; names as in the estimators."""

    n_components: int | str | None
    hidden_layer_sizes: tuple[int, ...]
    n_importance_samples: int
    beta: float
    weight_decay: float
    max_iter: int
    batch_size: int
    learning_rate: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    prior: str = "normal"
    n_mixture: int = 1
    free_bits: float = 0.0
    kl_warmup: float = 0.0
    isotropic: bool = False
    # Known, of all features; None to learn it.
    noise_variance: float | None = None
    rotation: str = "auto"
    conditioning: str = "decoder"
    hierarchy: str = "markov"
    layer_inference: str = "top_down"
    inference: str = "amortized"
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    # Every column hangs on few latents, through a network of its own.
    sparse: bool = False
    # Latent dimensions of several stochastic layers; the first has `n_components`.
    layers: tuple[int, ...] = ()
    # Rows that decide on the number of components; None for all that the linear start sees.
    component_rows: int | None = None
    # The encoder's network is not asked about rows with holes that training never showed.
    cautious: bool = False

    def n_held_out(self, n_rows: int) -> int:
        """How many of the rows decide when to stop."""
        if not self.early_stopping:
            return 0
        return min(int(self.validation_fraction * n_rows), MOST_VALIDATION_ROWS)

    @property
    def loop(self) -> LoopSettings:
        """How to train."""
        return LoopSettings(
            max_iter=self.max_iter,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=torch.tensor([self.weight_decay]),
            n_iter_no_change=self.n_iter_no_change if self.early_stopping else 0,
            tol=self.tol,
        )


@dataclass
class DensityReport:
    """What happened in a fit."""

    n_components: int = 0
    component_scores: dict[int, float] = field(default_factory=dict)
    n_linear_iter: int = 0
    history: History = field(default_factory=History)
    matching: History = field(default_factory=History)
