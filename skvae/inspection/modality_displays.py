"""Heat maps of what the blocks of a `MultimodalVAE` know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inspection.fitted import check_integer
from skvae.inspection.heat_map import HeatMap
from skvae.inspection.modalities import (
    cross_prediction,
    expert_precisions,
    posterior_agreement,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ExpertPrecisionDisplay(HeatMap):
    """Share of the prior's variance that each block removes at most, for each latent dimension.

    Parameters
    ----------
    precisions : DataFrame
        As `expert_precisions` returns it.
    n_latents : int, default=10
        Dimensions to draw: those about which all blocks together say most, in that order.

    Attributes
    ----------
    shares_ : DataFrame of shape (n_blocks, n_latents)
        What is drawn, ``precision / (1 + precision)``.
    image_ : AxesImage
    texts_ : list of Text
        The numbers, row by row; none where cells are too small.
    colorbar_ : matplotlib Colorbar
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, precisions: pd.DataFrame, n_latents: int = 10) -> None:
        self.precisions = precisions
        self.n_latents = n_latents

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, n_latents: int = 10, ax: Axes | None = None, **kwargs: Any
    ) -> ExpertPrecisionDisplay:
        """Compute `expert_precisions` and draw them.

        Parameters
        ----------
        estimator : MultimodalVAE
            Fitted.
        n_latents : int, default=10
            Dimensions to draw: those about which all blocks together say most, in that order.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        ExpertPrecisionDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `expert_precisions`, or if `n_latents` is no positive integer.
        """
        n_latents = check_integer(n_latents, "n_latents")
        return cls(expert_precisions(estimator), n_latents).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> ExpertPrecisionDisplay:
        """Draw the shares, the dimension about which most is said on the left.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        ExpertPrecisionDisplay
        """
        total = self.precisions.sum(axis=0).to_numpy()
        told = self.precisions.iloc[:, np.argsort(-total, kind="stable")[: self.n_latents]]
        self.shares_ = told / (1 + told)
        self._draw(self.shares_, ax, "share of the variance removed, at most", kwargs)
        self.ax_.set(xlabel="latent dimension")
        return self


class CrossPredictionDisplay(HeatMap):
    """How well each block is predicted from others.

    Parameters
    ----------
    table : DataFrame
        As `cross_prediction` returns it.

    Attributes
    ----------
    image_ : AxesImage
    texts_ : list of Text
        The numbers, row by row; none where cells are too small.
    colorbar_ : matplotlib Colorbar
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        subsets: Any = "single",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> CrossPredictionDisplay:
        """Compute `cross_prediction` and draw it.

        Parameters
        ----------
        estimator : MultimodalVAE
            Fitted, with at least two blocks.
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        subsets : {"single", "others", "all"} or list of tuples of block names, default="single"
            As of `cross_prediction`.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        CrossPredictionDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `cross_prediction`.
        """
        return cls(cross_prediction(estimator, X, subsets=subsets)).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> CrossPredictionDisplay:
        """Draw a row for each subset of blocks and a column for each target.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        CrossPredictionDisplay
        """
        self._draw(self.table, ax, "share of the error removed", kwargs)
        return self


class PosteriorAgreementDisplay(HeatMap):
    """Whether single blocks say the same about the latents of a row.

    Parameters
    ----------
    agreement : DataFrame
        As `posterior_agreement` returns it.

    Attributes
    ----------
    image_ : AxesImage
    texts_ : list of Text
        The numbers, row by row; none where cells are too small.
    colorbar_ : matplotlib Colorbar
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, agreement: pd.DataFrame) -> None:
        self.agreement = agreement

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, ax: Axes | None = None, **kwargs: Any
    ) -> PosteriorAgreementDisplay:
        """Compute `posterior_agreement` and draw it.

        Parameters
        ----------
        estimator : MultimodalVAE
            Fitted, with at least two blocks.
        X : DataFrame, array-like of shape (n_samples, n_features), or dict of blocks
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        PosteriorAgreementDisplay

        Raises
        ------
        NotFittedError, ValueError
            As of `posterior_agreement`.
        """
        return cls(posterior_agreement(estimator, X)).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> PosteriorAgreementDisplay:
        """Draw a row and a column for each block.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.imshow`.

        Returns
        -------
        PosteriorAgreementDisplay
        """
        self._draw(self.agreement, ax, "agreement of the posteriors", kwargs)
        return self
