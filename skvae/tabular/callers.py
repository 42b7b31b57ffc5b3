"""Whose line a warning is about."""

from __future__ import annotations

import sys
from pathlib import Path

import sklearn

import skvae

# What lies between a user's line and the warning that it leads to.
_BETWEEN = tuple(str(Path(str(module.__file__)).parent) for module in (skvae, sklearn))


def user_level() -> int:
    """The `stacklevel` of a warning that is raised where this is called: the user's own line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame, level = frame.f_back, level + 1
    return level
