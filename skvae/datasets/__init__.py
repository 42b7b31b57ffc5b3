"""Tables whose truth is known: holes made on purpose, and factors that generate columns."""

from skvae.datasets._ampute import ampute
from skvae.datasets._factors import make_linear_factors, make_sparse_factors, make_two_level
from skvae.datasets._sources import make_nonstationary_sources

__all__ = [
    "ampute",
    "make_linear_factors",
    "make_nonstationary_sources",
    "make_sparse_factors",
    "make_two_level",
]
