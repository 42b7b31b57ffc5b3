"""The training loop, its data, objectives and stopping."""

from skvae.training.data import Tensors
from skvae.training.fit import EnsembleFitter, FitReport, FitSettings, HeldOutPredictions

__all__ = ["EnsembleFitter", "FitReport", "FitSettings", "HeldOutPredictions", "Tensors"]
