"""What is wrong with a file, and with what was to go into one."""

from __future__ import annotations


class SavedFileError(ValueError):
    """A file that cannot be loaded; the message names it and says why."""


class Malformed(ValueError):
    """Content that no writer makes; becomes a `SavedFileError` where the path is known."""
