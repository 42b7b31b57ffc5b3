"""Axes to draw on; matplotlib is imported here, and only once something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dimensions, or columns, whose names still fit along an axis.
MOST_TICKS = 32


def import_matplotlib(what: str) -> Any:
    """Return `matplotlib.pyplot`, or say how to install it.

    Parameters
    ----------
    what : str
        Name of the Display, for the message.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{what} draws with matplotlib, which is not installed: pip install "skvae[examples]"'
        ) from error
    return plt


def axes_for(display: Any, ax: Axes | None) -> Axes:
    """The given axes or new ones; leaves them and their figure on the display."""
    plt = import_matplotlib(type(display).__name__)
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def some_ticks(n: int) -> np.ndarray:
    """Positions among n that can be named without names running into each other."""
    return np.arange(0, n, max(1, -(-n // MOST_TICKS)))
