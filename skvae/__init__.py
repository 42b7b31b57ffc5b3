"""scikit-learn estimators over PyTorch variational autoencoders, for mixed tables with holes."""

from skvae import chunks, datasets
from skvae.estimators import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
    pool,
)
from skvae.persistence import load
from skvae.training.engine import FabricEngine

__all__ = [
    "FabricEngine",
    "MultimodalVAE",
    "SemiSupervisedVAEClassifier",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAETransformer",
    "chunks",
    "datasets",
    "load",
    "pool",
]
__version__ = "0.1.0.dev0"
