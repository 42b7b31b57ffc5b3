"""Two latent dimensions of every row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for, import_matplotlib
from skvae.inspection.fitted import check_components, check_estimator, device_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Numeric labels with more distinct values than this are a colour scale rather than groups.
MOST_NUMERIC_GROUPS = 10
# Groups that colours can still tell apart.
MOST_GROUPS = 20


class LatentMapDisplay:
    """Scatter of two latent dimensions.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, 2)
    components : tuple of two int
        Their positions in the latent space, for the axes' names.
    y : array-like of shape (n_samples,) or None, default=None
        Groups, or numbers on a scale. Absent ones are grey.
    name : str, default="y"
        Of `y`.

    Attributes
    ----------
    scatters_ : list of PathCollection
        One for each group; absent labels first.
    colorbar_ : matplotlib Colorbar or None
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self, latents: np.ndarray, components: tuple[int, int], y: Any = None, name: str = "y"
    ) -> None:
        self.latents = latents
        self.components = components
        self.y = y
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        components: Any = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> LatentMapDisplay:
        """Draw rows where their posterior means lie.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted, with at least two latent dimensions.
        X : DataFrame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Colours: text, categories, booleans and numbers of at most 10 distinct values are
            groups, other numbers a scale.
        components : pair of int or None, default=None
            Latent dimensions; by default the two whose means vary most, the first on the
            horizontal axis.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted or not a `VAETransformer`, or arguments do not suit.
        """
        check_estimator(estimator)
        with torch_defaults(device=device_of(estimator)):
            mean = estimator._latent.moments(estimator._rows(X))[0]
        n_components = mean.shape[1]
        if n_components < 2:
            raise ValueError("A map needs two latent dimensions, the model has one.")
        if components is None:
            components = np.argsort(-mean.var(axis=0), kind="stable")[:2]
        chosen = check_components(components, n_components, 2, 2)
        pair = (int(chosen[0]), int(chosen[1]))
        if y is not None and np.shape(y) != (len(mean),):
            raise ValueError(f"y must have shape ({len(mean)},), got {np.shape(y)}.")
        name = getattr(y, "name", None)
        return cls(mean[:, chosen], pair, y, "y" if name is None else str(name)).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> LatentMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.scatter`.

        Returns
        -------
        LatentMapDisplay
        """
        values = None if self.y is None else pd.Series(self.y).infer_objects()
        scale = values is not None and _is_scale(values)
        groups = None if values is None or scale else _groups(values)
        ax = axes_for(self, ax)
        style = {"s": 14, "alpha": 0.8, "linewidths": 0, **kwargs}
        self.scatters_: list[Any] = []
        self.colorbar_ = None
        if values is None:
            self._draw(slice(None), style)
        else:
            absent = values.isna().to_numpy()
            if absent.any():
                self._draw(absent, {**style, "color": "0.75", "label": "absent"})
            if groups is None:
                numbers = values[~absent].to_numpy(dtype=float)
                self._draw(~absent, {"c": numbers, **style})
                self.colorbar_ = self.figure_.colorbar(self.scatters_[-1], ax=ax, label=self.name)
            else:
                self._draw_groups(groups, style)
        first, second = self.components
        ax.set(xlabel=f"latent dimension {first}", ylabel=f"latent dimension {second}")
        return self

    def _draw(self, rows: Any, style: dict[str, Any]) -> None:
        x, y = self.latents[rows].T
        self.scatters_.append(self.ax_.scatter(x, y, **style))

    def _draw_groups(self, groups: tuple[np.ndarray, list[str]], style: dict[str, Any]) -> None:
        plt = import_matplotlib(type(self).__name__)
        codes, names = groups
        palette = plt.colormaps["tab10" if len(names) <= 10 else "tab20"]
        for code, name in enumerate(names):
            self._draw(codes == code, {"color": palette(code), **style, "label": name})
        self.ax_.legend(title=self.name)


def _is_scale(values: pd.Series) -> bool:
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return numeric and values.nunique() > MOST_NUMERIC_GROUPS


def _groups(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes, -1 where absent, and the groups' names."""
    try:
        codes, levels = pd.factorize(values, sort=True)
    except TypeError:  # levels of several types have no order
        codes, levels = pd.factorize(values)
    if len(levels) > MOST_GROUPS:
        raise ValueError(
            f"y has {len(levels)} distinct labels, more than the {MOST_GROUPS} that colours can "
            "tell apart. Merge the rare ones, or give numbers for a colour scale."
        )
    return codes, [str(level) for level in levels]
