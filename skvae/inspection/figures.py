"""Axes to draw on; matplotlib is imported here, and only once something is drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dimensions, or columns, whose names still fit along an axis.
MOST_TICKS = 32
# Panels of a figure unless the user names columns.
MOST_PANELS = 12


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


def axes_for(display: Any, ax: Axes | None, height: float = 0.0) -> Axes:
    """The given axes or new ones; leaves them and their figure on the display.

    New figures have the usual size, and at least the height in inches.
    """
    plt = import_matplotlib(type(display).__name__)
    if ax is None:
        width, usual = plt.rcParams["figure.figsize"]
        _, ax = plt.subplots(figsize=(width, max(usual, height)), layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def panels_for(display: Any, ax: Any, n: int) -> list[Axes]:
    """Axes for n panels: new ones, a grid within the given axes, or the ones given.

    Raises
    ------
    ValueError
        If fewer than n axes are given, or the ones to divide stand in no grid.
    """
    plt = import_matplotlib(type(display).__name__)
    n_across = n if n <= 3 else math.isqrt(n - 1) + 1
    n_down = -(-n // n_across)
    if ax is None:
        size = (3.4 * n_across + 0.4, 2.8 * n_down + 0.4)
        figure = plt.figure(figsize=size, layout="constrained")
        axes = _grid(figure, figure.add_gridspec(n_down, n_across), n)
    elif np.ndim(ax):
        axes = [one for one in np.asarray(ax, dtype=object).flat if one is not None]
        if len(axes) < n:
            raise ValueError(f"ax has {len(axes)} axes for {n} panels: give as many, or one.")
        axes, figure = axes[:n], axes[0].figure
    elif n == 1:
        axes, figure = [ax], ax.figure
    else:
        place, figure = ax.get_subplotspec(), ax.figure
        if place is None:
            raise ValueError(
                f"ax stands in no grid and cannot be divided into {n} panels: make it by "
                f"plt.subplots, or give {n} axes."
            )
        ax.set_axis_off()
        axes = _grid(figure, place.subgridspec(n_down, n_across), n)
    display.axes_, display.figure_ = axes, figure
    return axes


def _grid(figure: Any, cells: Any, n: int) -> list[Axes]:
    across = cells.ncols
    return [figure.add_subplot(cells[k // across, k % across]) for k in range(n)]


def plain(label: Any) -> str:
    """A name as matplotlib shows it: dollar signs would begin a formula."""
    return str(label).replace("$", r"\$")


def name_across(ax: Axes, ticks: np.ndarray, names: list[str], most_letters: int) -> None:
    """Name positions along the x axis, slanted where names would run into each other."""
    slanted = sum(map(len, names)) > most_letters
    slant: dict[str, Any] = {"rotation": 45, "ha": "right"} if slanted else {}
    ax.set_xticks(ticks, names, **slant)


def some_ticks(n: int) -> np.ndarray:
    """Positions among n that can be named without names running into each other."""
    return np.arange(0, n, max(1, -(-n // MOST_TICKS)))
