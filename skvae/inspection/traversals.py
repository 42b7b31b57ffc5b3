"""Walks along latent dimensions, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from skvae.inference.session import torch_defaults
from skvae.inspection.figures import MOST_TICKS, axes_for
from skvae.inspection.fitted import (
    check_components,
    check_estimator,
    check_integer,
    check_real,
    device_of,
)
from skvae.models.layers import LayeredNormal
from skvae.models.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

# Dimensions that are walked along unless the user names some.
SHOWN_COMPONENTS = 5
# Columns that the legend of a line plot names.
NAMED_LINES = 8


class TraversalDisplay:
    """What the decoder makes of steps along latent dimensions.

    Parameters
    ----------
    values : ndarray of shape (n_components, n_steps, n_columns) or \
            (n_components, n_steps, height, width)
        Decoded numeric columns, in standard deviations of the training table from its mean; or
        decoded images.
    steps : ndarray of shape (n_steps,)
        In standard deviations of the latent dimension.
    components : ndarray of int, shape (n_components,)
        The dimensions.
    names : list of str, default=()
        Of the columns.

    Attributes
    ----------
    image_ : AxesImage or None
        Of images and heat maps.
    lines_ : list of Line2D
        One for each column, with a single dimension.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(
        self, values: np.ndarray, steps: np.ndarray, components: np.ndarray, names: Any = ()
    ) -> None:
        self.values = values
        self.steps = steps
        self.components = components
        self.names = list(names)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        components: Any = None,
        row: int | None = None,
        condition: Any = None,
        n_steps: int = 7,
        span: float = 2.0,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> TraversalDisplay:
        """Walk along latent dimensions, one at a time, and decode.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows whose latents say where the walks pass and how far they go.
        components : int, sequence of int or None, default=None
            Latent dimensions; by default the (at most) five whose means vary most.
        row : int or None, default=None
            Position in `X` of the row that the walks pass through; None for the mean latent.
        condition : DataFrame, dict or array-like, optional
            One row, for models with `condition_on`. By default that of `row`.
        n_steps : int, default=7
            Points of a walk.
        span : float, default=2.0
            Half the length of a walk, in standard deviations of the dimension over `X`: of the
            average posterior, close to those of the prior.
        image_shape : tuple of int or None, default=None
            Height and width, for rows that are images: draws a grid of them. Otherwise numeric
            columns are drawn, as lines for one dimension and as a heat map for several.
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot` for lines, of `Axes.imshow` else.

        Returns
        -------
        TraversalDisplay

        Raises
        ------
        NotFittedError, ValueError
            If the estimator is not fitted or not a `VAETransformer`, or arguments do not suit.

        Notes
        -----
        With several stochastic layers, the layers below the one that is walked through follow it:
        they keep their place within ``p(z_l | z_{l+1})``.
        """
        check_estimator(estimator)
        n_steps = check_integer(n_steps, "n_steps", least=2)
        steps = np.linspace(-1, 1, n_steps) * check_real(span, "span", positive=True)
        with torch_defaults(device=device_of(estimator)):
            walk = _Walk(estimator, X, row, condition)
            chosen = walk.choose(components)
            z = walk.latents(chosen, steps)
            values = walk.columns(z) if image_shape is None else walk.images(z, image_shape)
        values = values.reshape(len(chosen), n_steps, *values.shape[1:])
        names = walk.names if image_shape is None else ()
        return cls(values, steps, chosen, names).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> TraversalDisplay:
        """Draw the walks.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.plot` for lines, of `Axes.imshow` else.

        Returns
        -------
        TraversalDisplay
        """
        axes_for(self, ax)
        self.image_: AxesImage | None = None
        self.lines_: list[Line2D] = []
        if self.values.ndim == 4:
            self._draw_images(kwargs)
        elif len(self.components) == 1:
            self._draw_lines(kwargs)
        else:
            self._draw_heat_map(kwargs)
        return self

    def _draw_images(self, kwargs: dict[str, Any]) -> None:
        """Dimensions down, steps across."""
        n_rows, n_steps, height, width = self.values.shape
        # A blank pixel between images.
        framed = np.pad(self.values, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
        mosaic = framed.swapaxes(1, 2).reshape(n_rows * (height + 1), n_steps * (width + 1))
        ax = self.ax_
        self.image_ = ax.imshow(mosaic[:-1, :-1], **{"cmap": "gray", **kwargs})
        ax.set_xticks(
            (width + 1) * np.arange(n_steps) + (width - 1) / 2, [f"{s:.2g}" for s in self.steps]
        )
        ax.set_yticks(
            (height + 1) * np.arange(n_rows) + (height - 1) / 2, list(map(str, self.components))
        )
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="standard deviations", ylabel="latent dimension")

    def _draw_lines(self, kwargs: dict[str, Any]) -> None:
        """A line for each column; those that move most are named."""
        values, ax = self.values[0], self.ax_
        order = np.argsort(-np.ptp(values, axis=0), kind="stable")
        for place, j in enumerate(order):
            named = place < NAMED_LINES
            style = {"label": self.names[j]} if named else {"color": "0.8", "zorder": 1}
            self.lines_ += ax.plot(self.steps, values[:, j], **{**style, **kwargs})
        more = len(order) - NAMED_LINES
        if more > 0:
            self.lines_[-1].set_label(f"{more} other columns")
        ax.set(
            xlabel=f"latent dimension {self.components[0]}, standard deviations",
            ylabel="decoded column, standard deviations",
        )
        # Outside, where lines cannot run beneath it.
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")

    def _draw_heat_map(self, kwargs: dict[str, Any]) -> None:
        """Columns down, the dimensions' walks side by side."""
        n_walks, n_steps, n_columns = self.values.shape
        ax, largest = self.ax_, float(np.abs(self.values).max())
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "aspect": "auto", **kwargs}
        style.setdefault("interpolation", "nearest")
        self.image_ = ax.imshow(self.values.reshape(n_walks * n_steps, n_columns).T, **style)
        for border in np.arange(1, n_walks) * n_steps:
            ax.axvline(border - 0.5, color="white", linewidth=3)
        ax.set_xticks(np.arange(n_walks) * n_steps + (n_steps - 1) / 2, self.components)
        if n_columns <= MOST_TICKS:
            ax.set_yticks(np.arange(n_columns), self.names)
        reach = f"{self.steps[0]:.2g} to {self.steps[-1]:.2g} standard deviations"
        ax.set(xlabel=f"latent dimension, each from {reach}")
        self.figure_.colorbar(self.image_, ax=ax, label="decoded column, standard deviations")


class _Walk:
    """Latents on the way, and what they decode to.

    Parameters
    ----------
    estimator : VAETransformer
    X : DataFrame or array-like of shape (n_samples, n_features)
    row : int or None
    condition : DataFrame, dict, array-like or None
    """

    def __init__(self, estimator: Any, X: Any, row: Any, condition: Any) -> None:
        self.estimator, self.latent = estimator, estimator._latent
        rows = estimator._rows(X)
        n = len(rows.values)
        if row is not None and not 0 <= check_integer(row, "row", least=0) < n:
            raise ValueError(f"row must be a position in X, 0 to {n - 1}, got {row!r}.")
        if condition is None and row is not None and rows.given is not None:
            self.given = rows.given[[row]]
        else:
            self.given = estimator._given(condition, 1, "a traversal has")
        self.context = estimator._context(self.given)
        mean, deviation = self.latent.moments(rows)
        if self.context is not None:  # where the rows would stand under the walk's condition
            mean = self.latent.transfer(mean, rows.context, self.context.expand(n, -1))
        self.means = mean
        self.centre = mean.mean(axis=0) if row is None else mean[row]
        # Of the average posterior.
        self.scale = np.sqrt(mean.var(axis=0) + (deviation**2).mean(axis=0))

    @property
    def names(self) -> list[str]:
        """Of the numeric columns."""
        scaler, is_frame = self.latent.scaler, self.estimator._codec.is_frame
        names = [scaler.names[j] for j in np.flatnonzero(scaler.numeric)]
        return [str(name) if is_frame else f"x{name}" for name in names]

    def choose(self, components: Any) -> np.ndarray:
        """The dimensions to walk along."""
        k = self.means.shape[1]
        if components is None:
            return np.sort(np.argsort(-self.means.var(axis=0), kind="stable")[:SHOWN_COMPONENTS])
        return check_components(components, k, 1, k)

    def latents(self, components: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """One walk after another, shape (n_components * n_steps, k)."""
        walks = np.tile(self.centre, (len(components), len(steps), 1))
        each = np.arange(len(components))
        walks[each, :, components] += steps * self.scale[components, None]
        followed = [
            _follow(self.latent.model, walk, self.centre, j, self.context)
            for walk, j in zip(walks, components, strict=True)
        ]
        return np.concatenate(followed)

    def columns(self, z: np.ndarray) -> np.ndarray:
        """Numeric columns in standard deviations of the training table, (n, n_columns)."""
        scaler = self.latent.scaler
        if not scaler.numeric.any():
            raise ValueError(
                "The model has no numeric columns to draw; for images pass image_shape=(height, "
                "width)."
            )
        values = self.latent.decode(z, self._repeated(self.context, len(z)))
        return ((values - scaler.mean) / scaler.scale)[:, scaler.numeric]

    def images(self, z: np.ndarray, shape: Any) -> np.ndarray:
        """All columns but the given ones as images, (n, height, width)."""
        if np.shape(shape) != (2,):
            raise ValueError(f"image_shape must be (height, width), got {shape!r}.")
        height, width = (check_integer(size, "image_shape") for size in shape)
        estimator, n = self.estimator, len(z)
        values = self.latent.decode(z, self._repeated(self.context, n))
        given = None if self.given is None else np.repeat(self.given, n, axis=0)
        table = estimator._decode(values, given)
        conditions = [] if estimator._conditions is None else estimator._conditions.names
        codec = estimator._codec
        names = [codec.columns[j].name for j in codec.kept]
        pixels = [j for j, name in enumerate(names) if name not in conditions]
        if len(pixels) != height * width:
            raise ValueError(
                f"image_shape={tuple(shape)} has {height * width} pixels, but rows have "
                f"{len(pixels)} columns."
            )
        try:
            return np.asarray(table)[:, pixels].astype(float).reshape(n, height, width)
        except (TypeError, ValueError):
            raise ValueError("image_shape is for tables of numbers; X has other columns.") from None

    @staticmethod
    def _repeated(context: Tensor | None, n: int) -> Tensor | None:
        return None if context is None else context.expand(n, -1)


def _follow(
    model: VAE, walk: np.ndarray, centre: np.ndarray, component: int, context: Tensor | None
) -> np.ndarray:
    """Let the layers below a dimension follow its walk (n_steps, k)."""
    prior = model.prior
    if not isinstance(prior, LayeredNormal):
        return walk
    ends = np.cumsum(prior.sizes)
    n_below = int(([0, *ends])[np.searchsorted(ends, component, side="right")])
    if not n_below:
        return walk
    if context is not None:
        context = context.expand(len(walk), -1)
    latents = torch.as_tensor(walk).float()[None]
    start = torch.as_tensor(centre).float().expand(1, *walk.shape)
    noise, kept = prior.whiten(latents, context), prior.whiten(start, context)
    noise = torch.cat([kept[..., :n_below], noise[..., n_below:]], dim=-1)
    return prior.place(noise, context)[0].double().numpy()
