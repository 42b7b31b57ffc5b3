"""Estimators as one file of numbers and words, without pickle."""

from skvae.persistence.errors import SavedFileError
from skvae.persistence.saving import load, save

__all__ = ["SavedFileError", "load", "save"]
