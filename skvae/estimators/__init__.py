"""The public estimators."""

from skvae.estimators.imputer import VAEImputer
from skvae.estimators.outlier import VAEOutlierDetector
from skvae.estimators.transformer import VAETransformer

__all__ = ["VAEImputer", "VAEOutlierDetector", "VAETransformer"]
