"""How q(z | observed) is used: importance sampling, stacking, prediction."""

from skvae.inference.ensemble import Ensemble, GenerativeSource, MaskedSource, Table
from skvae.inference.importance import ImportanceSample, importance_sample, noise_block
from skvae.inference.neighbours import LocalSource
from skvae.inference.stacking import stack_weights

__all__ = [
    "Ensemble",
    "GenerativeSource",
    "ImportanceSample",
    "LocalSource",
    "MaskedSource",
    "Table",
    "importance_sample",
    "noise_block",
    "stack_weights",
]
