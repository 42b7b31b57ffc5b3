"""Sources whose law changes from segment to segment, mixed by an invertible network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch, check_random_state

from skvae.datasets._generation import (
    as_frame,
    check_choice,
    check_count,
    check_scale,
    check_share,
    standardised,
)

# Standard deviations and means of the latents within segments, before the table is standardised.
SCALES, MEANS = (0.5, 3.0), (-5.0, 5.0)
# Matrices drawn for every layer, and the share of them, the best conditioned, that may serve.
DRAWS, SERVING = 200, 0.25


@dataclass(frozen=True, eq=False)
class Mixing:
    """Linear maps with leaky rectifiers between them.

    Attributes
    ----------
    weights : tuple of ndarray of shape (n_inputs, n_outputs)
        The first maps latents to columns, the others columns to columns.
    offsets : tuple of ndarray of shape (n_outputs,)
        Added to the outputs of the maps; zero for the last.
    slope : float
        Of the rectifiers, for negative inputs.
    """

    weights: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]
    slope: float

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Columns without noise, (n, n_features)."""
        values = latents @ self.weights[0] + self.offsets[0]
        for weight, offset in zip(self.weights[1:], self.offsets[1:], strict=True):
            values = np.where(values < 0, self.slope * values, values) @ weight + offset
        return values

    def inverse(self, columns: np.ndarray) -> np.ndarray:
        """The latents of columns without noise, (n, n_latents)."""
        values = (columns - self.offsets[-1]) @ np.linalg.pinv(self.weights[-1])
        for weight, offset in zip(self.weights[-2::-1], self.offsets[-2::-1], strict=True):
            straight = np.where(values < 0, values / self.slope, values)
            values = (straight - offset) @ np.linalg.pinv(weight)
        return values


def make_nonstationary_sources(
    n_segments: int = 40,
    n_per_segment: int = 1000,
    n_latents: int = 5,
    *,
    n_features: int | None = None,
    n_layers: int = 3,
    modulate: str = "variance",
    slope: float = 0.2,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Independent sources whose law changes from segment to segment, mixed nonlinearly.

    The data of nonlinear independent component analysis [1]_ [2]_: knowing the segments, the
    sources can be found up to their order, signs and monotone bends; not knowing them, they
    cannot.

    - In every segment the latents are independent and Gaussian. Each has its own standard
      deviation there, uniform between 0.5 and 3, and with ``modulate="both"`` its own mean,
      uniform between -5 and 5. Then each latent is standardised over the table.
    - An invertible network mixes them: `n_layers` random linear maps, each with unit columns and
      a condition number in the lowest quarter of 200 draws, columns standardised and leaky
      rectifiers after all maps but the last.

    Parameters
    ----------
    n_segments : int, default=40
        Segments; their rows follow each other.
    n_per_segment : int, default=1000
        Rows of each, at least two.
    n_latents : int, default=5
        Sources.
    n_features : int, default=None
        Mixed columns, no fewer than latents. ``None`` means as many.
    n_layers : int, default=3
        Linear maps; with one the mixing is linear.
    modulate : {"variance", "both"}, default="variance"
        What changes from segment to segment: variances, or variances and means.
    slope : float, default=0.2
        Of the rectifiers for negative inputs, above 0 and at most 1; with 1 the mixing is linear.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise of each column, in standard deviations of the
        column without it.
    random_state : int, RandomState or None, default=None
        Source of the draws. An int gives the same table on every call. The draws depend on the
        sizes only: with an int, `modulate`, `slope` and `noise` change what they say alone.

    Returns
    -------
    Bunch
        ``data``: DataFrame with the columns x1, x2 and so on and, last, the categorical column
        "segment". ``latents``: array of shape (n, n_latents). ``segment``: int array of shape
        (n,). ``means``, ``scales``: arrays of shape (n_segments, n_latents), of the law that the
        latents were drawn from, in their units. ``mean``: array of shape (n, n_features), the
        columns without noise. ``mixing``: a function that takes latents to ``mean``; its method
        ``inverse`` takes them back.

    Raises
    ------
    ValueError
        If an option is out of range, or there are fewer columns than latents.

    References
    ----------
    .. [1] Hyvärinen and Morioka (2016), Unsupervised Feature Extraction by Time-Contrastive
       Learning and Nonlinear ICA.
    .. [2] Khemakhem, Kingma, Monti and Hyvärinen (2020), Variational Autoencoders and Nonlinear
       ICA: A Unifying Framework. The ranges of scales and means are those of its code.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.datasets import make_nonstationary_sources
    >>> table = make_nonstationary_sources(10, 50, 2, random_state=0)
    >>> bool(np.allclose(table.mixing.inverse(table.mean), table.latents))
    True
    """
    n_segments = check_count(n_segments, "n_segments")
    n_per_segment = check_count(n_per_segment, "n_per_segment", least=2)
    n_latents = check_count(n_latents, "n_latents")
    n_columns = n_latents if n_features is None else check_count(n_features, "n_features")
    if n_columns < n_latents:
        raise ValueError(
            f"n_features={n_columns} is less than n_latents={n_latents}: no such mixing is "
            "invertible. Take at least as many columns as latents."
        )
    n_layers = check_count(n_layers, "n_layers")
    check_choice(modulate, "modulate", ("variance", "both"))
    slope, noise = check_share(slope, "slope"), check_scale(noise, "noise")
    random = check_random_state(random_state)

    scales = random.uniform(*SCALES, (n_segments, n_latents))
    means = random.uniform(*MEANS, (n_segments, n_latents)) * (modulate == "both")
    segment = np.repeat(np.arange(n_segments), n_per_segment)
    drawn = random.standard_normal((len(segment), n_latents)) * scales[segment] + means[segment]
    centre, unit = drawn.mean(axis=0), drawn.std(axis=0)
    latents = standardised(drawn)
    mixing = _random_mixing(latents, n_columns, n_layers, slope, random)
    mean = mixing(latents)
    data = as_frame(mean + noise * mean.std(axis=0) * random.standard_normal(mean.shape))
    data["segment"] = pd.Categorical(segment, categories=range(n_segments))
    return Bunch(
        data=data,
        latents=latents,
        segment=segment,
        means=(means - centre) / unit,
        scales=scales / unit,
        mean=mean,
        mixing=mixing,
    )


def _random_mixing(
    latents: np.ndarray, n_columns: int, n_layers: int, slope: float, random: Any
) -> Mixing:
    """A network whose hidden columns have mean 0 and standard deviation 1 at these latents."""
    values, weights, offsets = latents, [], []
    for left in reversed(range(n_layers)):
        weight = _well_conditioned(values.shape[1], n_columns, random)
        outputs = values @ weight
        offset = np.zeros(n_columns)
        if left:
            # Each half of a rectifier's bend then sees its share of the rows.
            unit = outputs.std(axis=0)
            weight, offset = weight / unit, -outputs.mean(axis=0) / unit
        weights.append(weight)
        offsets.append(offset)
        outputs = values @ weight + offset
        values = np.where(outputs < 0, slope * outputs, outputs)
    return Mixing(tuple(weights), tuple(offsets), slope)


def _well_conditioned(n_inputs: int, n_outputs: int, random: Any) -> np.ndarray:
    """A random matrix with unit columns, one of the best conditioned of many."""
    drawn = random.uniform(-1, 1, (DRAWS, n_inputs, n_outputs))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    best = np.argsort(np.linalg.cond(drawn), kind="stable")
    return drawn[best[random.randint(int(SERVING * DRAWS))]]
