"""The public estimators."""

from skvae.estimators.classifier import SemiSupervisedVAEClassifier
from skvae.estimators.imputer import VAEImputer
from skvae.estimators.outlier import VAEOutlierDetector
from skvae.estimators.transformer import VAETransformer

__all__ = ["SemiSupervisedVAEClassifier", "VAEImputer", "VAEOutlierDetector", "VAETransformer"]
