"""Tables drawn as coloured cells with their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.figures import MOST_TICKS, axes_for, plain, some_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lightness of a cell above which its number is black.
LIGHT = 0.6
# Numbers and letters that fit side by side; letters beyond that are slanted.
MOST_NUMBERS, MOST_LETTERS = 12, 40
# Inches in which a name and its numbers can be read, and above and below all of them.
ROW, MARGIN = 0.21, 0.8


class HeatMap:
    """A table as coloured cells with their numbers; what several displays share.

    Attributes
    ----------
    image_ : AxesImage
    texts_ : list of Text
        The numbers, row by row; none where cells are too small.
    colorbar_ : matplotlib Colorbar
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any
    image_: Any
    texts_: list[Any]
    colorbar_: Any

    def _draw(
        self, table: pd.DataFrame, ax: Axes | None, label: str, style: dict[str, Any]
    ) -> None:
        """Draw numbers from 0 to 1 unless `style` says otherwise; absent ones stay grey.

        Numbers beyond either end look like that end, and the colour bar says so.
        """
        values = table.to_numpy(dtype=float)
        ax = axes_for(self, ax, MARGIN + ROW * min(len(values), MOST_TICKS))
        ax.set_facecolor("0.88")
        style = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0, "aspect": "auto", **style}
        self.image_ = ax.imshow(values, **{"interpolation": "nearest", **style})
        below = bool((values < self.image_.norm.vmin).any())
        above = bool((values > self.image_.norm.vmax).any())
        ends = {(True, False): "min", (False, True): "max", (True, True): "both"}
        self.colorbar_ = self.figure_.colorbar(
            self.image_, ax=ax, label=label, extend=ends.get((below, above), "neither")
        )
        rows, columns = (some_ticks(size) for size in values.shape)
        ax.set_yticks(rows, _names(table.index[rows]))
        names = _names(table.columns[columns])
        slanted = sum(map(len, names)) > MOST_LETTERS and max(map(len, names)) > 3
        slant: dict[str, Any] = {"rotation": 45, "ha": "right"} if slanted else {}
        ax.set_xticks(columns, names, **slant)
        ax.set(xlabel=table.columns.name, ylabel=table.index.name)
        self.texts_ = []
        if values.shape[0] <= MOST_TICKS and values.shape[1] <= MOST_NUMBERS:
            self._write(values)

    def _write(self, values: np.ndarray) -> None:
        """Write the numbers into their cells."""
        colours = self.image_.cmap(self.image_.norm(values))
        lightness = colours[..., :3] @ np.array([0.299, 0.587, 0.114])
        place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small"}
        for row, column in np.argwhere(np.isfinite(values)):
            text = f"{values[row, column]:.2f}".replace("-0.00", "0.00")
            colour = "black" if lightness[row, column] > LIGHT else "white"
            self.texts_.append(self.ax_.text(column, row, text, color=colour, **place))


def _names(labels: Any) -> list[str]:
    return [plain(label) for label in labels]
