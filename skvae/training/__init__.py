"""The training loop, its data, objectives and stopping."""

from skvae.training.fit import EnsembleFitter, FitReport, FitSettings, HeldOutPredictions, Tensors

__all__ = ["EnsembleFitter", "FitReport", "FitSettings", "HeldOutPredictions", "Tensors"]
