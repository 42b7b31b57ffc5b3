"""The public estimators."""

from skvae.estimators.imputer import VAEImputer
from skvae.estimators.transformer import VAETransformer

__all__ = ["VAEImputer", "VAETransformer"]
