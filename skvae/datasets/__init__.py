"""Data with known holes: hide entries of a complete table on purpose."""

from skvae.datasets._ampute import ampute

__all__ = ["ampute"]
