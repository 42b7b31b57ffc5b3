"""The public estimators, and what to do with several filled tables."""

from skvae.estimators.classifier import SemiSupervisedVAEClassifier
from skvae.estimators.imputer import VAEImputer
from skvae.estimators.multimodal import MultimodalVAE
from skvae.estimators.outlier import VAEOutlierDetector
from skvae.estimators.pooling import pool
from skvae.estimators.transformer import VAETransformer

__all__ = [
    "MultimodalVAE",
    "SemiSupervisedVAEClassifier",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAETransformer",
    "pool",
]
