"""The picture of how columns hang on latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.heat_map import HeatMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LoadingsDisplay(HeatMap):
    """How far every latent moves every column, as a heat map.

    Red columns rise with the latent and blue ones fall. Exact zeros, much of the table with
    ``decoder="sparse"``, stay blank. Columns of several unordered categories have no sign and are
    red.

    Parameters
    ----------
    loadings : DataFrame of shape (n_columns, n_components)
        As `VAETransformer.loadings_`, or the part of it to draw.
    sort : bool, default=True
        Whether columns of the table that hang on the same latent stand together, each with the
        latent that moves it most, the most moved first. Latents without loadings come last, as do
        columns without. Otherwise both stay in order.

    Attributes
    ----------
    ordered_ : DataFrame
        What is drawn; NaN for exact zeros.
    image_ : AxesImage
    texts_ : list of Text
        The numbers, row by row; none where cells are too small.
    colorbar_ : matplotlib Colorbar
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, loadings: pd.DataFrame, sort: bool = True) -> None:
        self.loadings = loadings
        self.sort = sort

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, sort: bool = True, ax: Axes | None = None, **kwargs: Any
    ) -> LoadingsDisplay:
        """Compute `loadings_` and draw them, latents by their position.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        sort : bool, default=True
            Whether columns that hang on the same latent stand together.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        LoadingsDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it is not a `VAETransformer`.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from skvae import VAETransformer
        >>> from skvae.inspection import LoadingsDisplay
        >>> X = load_wine(as_frame=True).data
        >>> model = VAETransformer(n_components=2, hidden_layer_sizes=()).fit(X)
        >>> display = LoadingsDisplay.from_estimator(model)
        """
        if not hasattr(type(estimator), "loadings_"):
            raise ValueError(
                f"estimator must be a fitted VAETransformer, got {str(estimator)[:80]}. Of a "
                "pipeline, pass the last step."
            )
        loadings = estimator.loadings_
        positions = pd.RangeIndex(loadings.shape[1], name="latent dimension")
        return cls(loadings.set_axis(positions, axis=1), sort).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LoadingsDisplay:
        """Draw a row for each column of the table and a column for each latent.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        LoadingsDisplay
        """
        ordered = _grouped(self.loadings) if self.sort else self.loadings
        self.ordered_ = ordered.where(ordered != 0)
        style = {"cmap": "RdBu_r", "vmin": -1.0, "vmax": 1.0, **kwargs}
        self._draw(self.ordered_, ax, "standard deviations of the column", style)
        return self


def _grouped(loadings: pd.DataFrame) -> pd.DataFrame:
    """Loadings in an order that shows what hangs together."""
    size = loadings.abs().to_numpy()
    latents = np.argsort(~size.any(axis=0), kind="stable")
    size = size[:, latents]
    hanging = np.where(size.any(axis=1), size.argmax(axis=1), size.shape[1])
    columns = np.lexsort((-size.max(axis=1), hanging))
    return loadings.iloc[columns, latents]
