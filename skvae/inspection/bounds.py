"""How the bound on log p(x) tightens with more samples of z."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.inference import importance_sample
from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for
from skvae.inspection.fitted import Encoded, check_integer, device_of, encode

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bound_curve(
    estimator: Any, X: Any, *, n_samples: Sequence[int] = (1, 5, 50, 500)
) -> pd.DataFrame:
    """Mean importance-weighted bound on ``log p(x)`` by number of samples.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)
        Holes are welcome: the bound is of the observed part.
    n_samples : sequence of int, default=(1, 5, 50, 500)
        Samples K of ``z`` in the bound: 1 is the ELBO, the limit is ``log p(x)``.

    Returns
    -------
    DataFrame indexed by K, in increasing order
        ``bound``: mean over rows, in nats and the units of the columns. ``standard_error``: of
        that mean, of rows and noise together. ``gain``: how far it is above the bound of the
        smallest K. ``gain_error``: the standard error of the gain, much smaller than that of the
        bounds, because the rows are the same. Errors of a single row are NaN.

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted or not a `VAETransformer`, or arguments do not suit.

    Notes
    -----
    Samples come from the encoder, whatever `inference` is.
    Each row gets as many independent posterior samples as the largest K. The bound of a smaller
    K is averaged over disjoint groups of K of these: it is unbiased for every K, and where each K
    divides the next the curve cannot fall, by Jensen's inequality [1]_. What it still rises at the
    end is what importance sampling with so many samples misses of ``log p(x)``.

    References
    ----------
    .. [1] Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import bound_curve
    >>> X = load_iris(as_frame=True).data
    >>> model = VAETransformer(n_components=2, max_iter=100, random_state=0).fit(X)
    >>> bool(bound_curve(model, X, n_samples=(1, 10))["gain"].iloc[1] > 0)
    True
    """
    sizes = _check_sizes(n_samples)
    with torch_defaults(device=device_of(estimator)):
        encoded = encode(estimator, X)
        bounds = encoded.in_units(_bounds(encoded, sizes))
    gains = bounds - bounds[:, :1]
    return pd.DataFrame(
        {
            "bound": bounds.mean(axis=0),
            "standard_error": _standard_error(bounds),
            "gain": gains.mean(axis=0),
            "gain_error": _standard_error(gains),
        },
        index=pd.Index(sizes, name="n_samples"),
    )


def _check_sizes(n_samples: Any) -> list[int]:
    if isinstance(n_samples, str) or np.ndim(n_samples) != 1 or not len(n_samples):
        raise ValueError(
            f"n_samples must be a sequence of positive integers like (1, 5, 50), got {n_samples!r}."
        )
    sizes = [check_integer(size, "Every one of n_samples") for size in n_samples]
    return sorted(set(sizes))


def _bounds(encoded: Encoded, sizes: Sequence[int]) -> Tensor:
    """Bounds of every row, (n, n_sizes)."""
    model, most = encoded.model, max(sizes)
    # Independent draws: groups of quasi-Monte-Carlo points would depend on each other.
    generator = encoded.generator(1)
    parts = []
    for part in encoded.chunks(most):
        shape = (1, len(part.features), most, model.n_components)
        noise = torch.randn(shape, generator=generator)
        columns, features = part.masks
        sample = importance_sample(
            model, part.features, part.targets, columns, features, noise, context=part.context
        )
        log_weights = sample.log_weights[0].double()
        parts.append(torch.stack([_grouped(log_weights, size) for size in sizes], dim=1))
    return torch.cat(parts)


def _grouped(log_weights: Tensor, size: int) -> Tensor:
    """Mean bound over disjoint groups of `size` samples, (n, most) to (n,)."""
    n_groups = log_weights.shape[1] // size
    groups = log_weights[:, : n_groups * size].unflatten(1, (n_groups, size))
    return (groups.logsumexp(-1) - math.log(size)).mean(1)


def _standard_error(values: np.ndarray) -> np.ndarray:
    n = len(values)
    if n < 2:
        return np.full(values.shape[1], np.nan)
    return values.std(axis=0, ddof=1) / math.sqrt(n)


class BoundCurveDisplay:
    """The bound against the number of samples.

    Parameters
    ----------
    curve : DataFrame
        As `bound_curve` returns it.

    Attributes
    ----------
    errorbar_ : matplotlib ErrorbarContainer
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, curve: pd.DataFrame) -> None:
        self.curve = curve

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: Sequence[int] = (1, 5, 50, 500),
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> BoundCurveDisplay:
        """Compute `bound_curve` and draw it.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples : sequence of int, default=(1, 5, 50, 500)
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.errorbar`.

        Returns
        -------
        BoundCurveDisplay
        """
        return cls(bound_curve(estimator, X, n_samples=n_samples)).plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> BoundCurveDisplay:
        """Draw bounds with the standard errors of their gains over the first.

        The errors of the bounds themselves, which come from the differences between rows, are
        common to all points and would hide the curve.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.
        **kwargs
            Of `Axes.errorbar`.

        Returns
        -------
        BoundCurveDisplay
        """
        ax = axes_for(self, ax)
        sizes, bound = self.curve.index.to_numpy(), self.curve["bound"].to_numpy()
        errors = np.nan_to_num(self.curve["gain_error"].to_numpy())
        style = {"fmt": "o-", "capsize": 3, "markersize": 5, **kwargs}
        self.errorbar_ = ax.errorbar(sizes, bound, yerr=errors, **style)
        ax.set(
            xscale="log", xlabel="samples of z per row", ylabel="bound on log p(x), nats per row"
        )
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        return self
