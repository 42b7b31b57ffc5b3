"""The public estimators."""

from skvae.estimators.imputer import VAEImputer

__all__ = ["VAEImputer"]
