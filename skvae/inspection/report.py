"""Which latent dimensions a model uses, and what to do about those that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from skvae.inference.session import torch_defaults
from skvae.inspection.figures import axes_for, some_ticks
from skvae.inspection.fitted import (
    check_estimator,
    check_integer,
    check_real,
    device_of,
)
from skvae.models.priors import StandardNormal
from skvae.models.vae import VAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Rows that mutual information is estimated from: every one is compared with every other.
COMPARED_ROWS = 1000
# Mean divergence of a layer, in nats per active dimension, below which it is its prior.
COLLAPSED_LAYER = 0.01
# Divergence of the average posterior from N(0, 1), in nats, that is worth a word.
LEAST_MISMATCH = 0.5
# What to do where no dimension of a linear model has a say.
NOTHING_SHARED = (
    "The columns share nothing that a linear model sees: use hidden layers "
    "(hidden_layer_sizes='auto'), or accept that no latent variable is needed."
)


@dataclass(frozen=True, eq=False)
class LatentReport:
    """What every latent dimension says about the rows, see `latent_report`.

    Attributes
    ----------
    dimensions : DataFrame with one row per latent dimension
        ``layer``: its stochastic layer, 0 next to the data. ``kl``, ``mutual_information``: in
        nats. ``variance_of_mean``: of the posterior means over rows. ``active``: whether that is
        above the threshold.
    layers : ndarray of shape (n_layers,)
        Mean divergence of the posterior from the model's own prior by stochastic layer, in nats,
        the layer next to the data first: the terms that the bound subtracts.
    total_kl : float
        Their sum.
    n_active : int
        Active dimensions.
    threshold : float
    verdict : str
        Whether the posterior has collapsed, and the remedy.
    """

    dimensions: pd.DataFrame
    layers: np.ndarray
    total_kl: float
    n_active: int
    threshold: float
    verdict: str

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.dimensions.round(3)}"


def latent_report(
    estimator: Any, X: Any, *, n_samples: int = 64, threshold: float = 0.01
) -> LatentReport:
    """Say what every latent dimension knows of the rows, and whether the posterior collapsed.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted.
    X : DataFrame or array-like of shape (n_samples, n_features)
        At least two rows; holes are welcome.
    n_samples : int, default=64
        Of ``z`` for each row, for the divergences of the layers.
    threshold : float, default=0.01
        Variance over rows that the posterior mean of an active dimension exceeds.

    Returns
    -------
    LatentReport

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted or not a `VAETransformer`, or arguments do not suit.

    Notes
    -----
    With ``q(z_j | x)`` the posterior of one dimension, taken as the Gaussian of its mean and
    standard deviation (with several stochastic layers an approximation, else exact):

    - ``kl`` is the mean over rows of ``KL(q(z_j | x) || N(0, 1))`` in closed form [1]_. It always
      refers to the standard normal; learnt priors (mixtures, conditional and layered ones) are
      what `layers` refers to. Its sum over dimensions falls short of the total where the
      posterior is correlated.
    - ``mutual_information`` is the mean of ``KL(q(z_j | x) || q(z_j))`` with ``q(z_j)`` the
      average posterior [2]_, from one draw for each of at most 1000 rows. It is at most the
      logarithm of their number, and ``kl`` minus it is the divergence of ``q(z_j)`` from the
      standard normal.
    - A dimension is ``active`` where the mean follows the rows [3]_.

    The verdict also says where a standard normal prior is missed: where more of the divergence is
    that of the average posterior from the prior than information about the row.

    The remedies follow [4]_, who show that dimensions which the data do not need fall silent in
    linear models too.

    References
    ----------
    .. [1] Kingma and Welling (2014), Auto-Encoding Variational Bayes.
    .. [2] Hoffman and Johnson (2016), ELBO surgery.
    .. [3] Burda, Grosse and Salakhutdinov (2016), Importance Weighted Autoencoders.
    .. [4] Lucas, Tucker, Grosse and Norouzi (2019), Don't Blame the ELBO!

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import latent_report
    >>> X = load_iris(as_frame=True).data
    >>> model = VAETransformer(n_components=2, max_iter=100, random_state=0).fit(X)
    >>> latent_report(model, X).n_active
    2
    """
    n_samples = check_integer(n_samples, "n_samples")
    threshold = check_real(threshold, "threshold")
    check_estimator(estimator)
    latent = estimator._latent
    with torch_defaults(device=device_of(estimator)):
        rows = estimator._rows(X)
        if len(rows.values) < 2:
            raise ValueError("X has a single row: what varies over rows needs at least two.")
        mean, deviation = latent.moments(rows)
        layers = latent.layer_divergences(rows, n_samples).mean(axis=0)
    sizes = getattr(latent.model, "sizes", (mean.shape[1],))
    dimensions = _dimensions(mean, deviation, sizes, threshold, latent.seed)
    params = estimator.get_params(deep=False)
    verdict = _verdict(dimensions, layers, latent.model, params, len(mean))
    n_active = int(dimensions["active"].sum())
    return LatentReport(dimensions, layers, float(layers.sum()), n_active, threshold, verdict)


def _dimensions(
    mean: np.ndarray, deviation: np.ndarray, sizes: tuple[int, ...], threshold: float, seed: int
) -> pd.DataFrame:
    variance = mean.var(axis=0)
    kl = 0.5 * (mean**2 + deviation**2 - 1) - np.log(deviation)
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(len(sizes)), sizes),
            "kl": kl.mean(axis=0),
            "mutual_information": _mutual_information(mean, deviation, seed),
            "variance_of_mean": variance,
            "active": variance > threshold,
        },
        index=pd.RangeIndex(mean.shape[1], name="dimension"),
    )


def _mutual_information(mean: np.ndarray, deviation: np.ndarray, seed: int) -> np.ndarray:
    """Between rows and dimensions with posteriors (n, k), in nats, shape (k,)."""
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(mean))[:COMPARED_ROWS]
    mean, deviation = mean[some], deviation[some]
    noise = rng.normal(size=mean.shape)
    z = mean + deviation * noise
    each = zip(z.T, noise.T, mean.T, deviation.T, strict=True)
    return np.array([max(_surprise(*one), 0.0) for one in each])


def _surprise(z: np.ndarray, noise: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> float:
    """Mean of ``log q(z_i | x_i) - log q(z_i)`` over draws of one dimension, all (n,)."""
    log_deviation = np.log(deviation)
    away = (z[:, None] - mean) / deviation  # every draw under every row's posterior
    average = logsumexp(-0.5 * away**2 - log_deviation, axis=1) - np.log(len(z))
    each = -0.5 * noise**2 - log_deviation - average
    # The draws' divergences from N(0, 1), whose means are known: a control variate.
    known = 0.5 * (z**2 - mean**2 - deviation**2) - 0.5 * (noise**2 - 1)
    weight = ((each - each.mean()) * known).mean() / max((known**2).mean(), 1e-12)
    return float((each - weight * known).mean())


# In words -------------------------------------------------------------------------------------


def _verdict(
    dimensions: pd.DataFrame, layers: np.ndarray, model: VAE, params: Mapping[str, Any], n_rows: int
) -> str:
    active, linear = dimensions["active"], model.encoder is None
    k, n_active = len(active), int(active.sum())
    said_by = dimensions.groupby("layer")["active"].sum().clip(lower=1).to_numpy()
    silent = np.flatnonzero(layers < COLLAPSED_LAYER * said_by)
    if n_active == 0:
        said = [f"The posterior has collapsed: none of the {k} dimensions depends on the row."]
        said.append(_awaken(linear, params))
    elif len(silent) == len(layers):
        said = [
            "The posterior has collapsed: it is the prior, given the condition if there is one."
        ]
        said.append(_awaken(linear, params))
    elif n_active < k:
        said = [f"{k - n_active} of {k} dimensions are inactive: {_list(active.index[~active])}."]
        said.append(_shrink(dimensions, linear, params))
    else:
        said = [f"No collapse: all {k} dimensions are active."]
    followers = [layer for layer in silent if active[dimensions["layer"] == layer].any()]
    if followers and len(silent) < len(layers):
        said.append(f"Layer {_list(followers)} adds nothing to its prior given the layers above.")
        said.append(_awaken(linear, params))
    if isinstance(model.prior, StandardNormal):
        said += _far_from_prior(dimensions, params, n_rows)
    return " ".join(said)


def _far_from_prior(dimensions: pd.DataFrame, params: Mapping[str, Any], n_rows: int) -> list[str]:
    """What to say where the average posterior is not the prior."""
    kl, information = dimensions["kl"], dimensions["mutual_information"]
    # With few rows no more than their logarithm can be told.
    told = information < 0.8 * np.log(min(n_rows, COMPARED_ROWS))
    kl, information = kl[told].sum(), information[told].sum()
    if kl - information < max(information, LEAST_MISMATCH):
        return []
    said = (
        f"Of {kl:.2f} nats of divergence only {information:.2f} are about the row: the average "
        "posterior is far from N(0, 1), and samples from the prior may look odd."
    )
    beta = params.get("beta", 1.0)
    if beta < 1:
        return [said, f"Raise beta (now {beta:g}), or sample with source='aggregated'."]
    return [said, "Raise max_iter, learn the prior (prior='vamp'), or train on rows like these."]


def _shrink(dimensions: pd.DataFrame, linear: bool, params: Mapping[str, Any]) -> str:
    """What to do where some dimensions are inactive."""
    by_layer = dimensions.groupby("layer")["active"].sum()
    left = tuple(int(n) for n in by_layer if n)
    wanted = f"n_components={left[0] if len(left) == 1 else left}"
    if linear:
        return f"The columns share no more than the others hold: {wanted} loses nothing."
    return (
        f"The data may not need them: {wanted} then is as good and faster. "
        f"To put them to use: {_weaken_divergence(params)}."
    )


def _awaken(linear: bool, params: Mapping[str, Any]) -> str:
    """What to do where all dimensions are inactive."""
    noise = params.get("noise", "diagonal")
    if linear and not isinstance(noise, str):
        return f"Nothing rises above the known noise: lower it (now {noise:g}), see linear_report."
    if linear:
        return NOTHING_SHARED
    return (
        f"Remedies: {_weaken_divergence(params)}. If none helps, the columns may share nothing: "
        "fewer n_components will do."
    )


def _weaken_divergence(params: Mapping[str, Any]) -> str:
    beta, warmup = params.get("beta", 1.0), params.get("kl_warmup", 0.0)
    free_bits = params.get("free_bits", 0.0)
    ways = [f"lower beta (now {beta:g}{', above 1 presses on the latents' if beta > 1 else ''})"]
    if warmup < 1:
        ways.append(
            f"raise kl_warmup (now {warmup:g})" if warmup else "set kl_warmup (0.3 for instance)"
        )
    ways.append(
        f"raise free_bits (now {free_bits:g})"
        if free_bits
        else "set free_bits (0.1 for instance, with n_importance_samples=1)"
    )
    return f"{ways[0]}, {', '.join(ways[1:-1])}{' ' if ways[1:-1] else ''}or {ways[-1]}"


def _list(positions: Any) -> str:
    shown = ", ".join(map(str, positions[:10]))
    return f"{shown} and {len(positions) - 10} more" if len(positions) > 10 else shown


# Picture --------------------------------------------------------------------------------------


class LatentReportDisplay:
    """Bars of divergence and mutual information by latent dimension.

    Parameters
    ----------
    report : LatentReport

    Attributes
    ----------
    bars_ : tuple of two BarContainer
        Of the divergence and of the mutual information.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Axes
    figure_: Any

    def __init__(self, report: LatentReport) -> None:
        self.report = report

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int = 64,
        threshold: float = 0.01,
        ax: Axes | None = None,
    ) -> LatentReportDisplay:
        """Compute `latent_report` and draw it.

        Parameters
        ----------
        estimator : VAETransformer
            Fitted.
        X : DataFrame or array-like of shape (n_samples, n_features)
        n_samples, threshold
            As of `latent_report`.
        ax : matplotlib Axes, optional
            New ones by default.

        Returns
        -------
        LatentReportDisplay
        """
        return cls(latent_report(estimator, X, n_samples=n_samples, threshold=threshold)).plot(ax)

    def plot(self, ax: Axes | None = None) -> LatentReportDisplay:
        """Draw the bars; inactive dimensions stand on grey.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones by default.

        Returns
        -------
        LatentReportDisplay
        """
        ax = axes_for(self, ax)
        frame = self.report.dimensions
        at, width = np.arange(len(frame)), 0.4
        self.bars_ = (
            ax.bar(at - width / 2, frame["kl"], width, label="KL from N(0, 1)"),
            ax.bar(at + width / 2, frame["mutual_information"], width, label="mutual information"),
        )
        for n, j in enumerate(np.flatnonzero(~frame["active"])):
            label = None if n else "inactive"
            ax.axvspan(j - 0.5, j + 0.5, color="0.88", zorder=0, linewidth=0, label=label)
        if frame["layer"].nunique() > 1:
            self._mark_layers(ax)
        ticks = some_ticks(len(frame))
        ax.set_xticks(ticks, [str(j) for j in ticks])
        ax.set(xlabel="latent dimension", ylabel="nats per row", xlim=(-0.5, len(frame) - 0.5))
        ax.margins(y=0.2)  # the legend's place
        ax.legend(loc="upper center", ncols=3, fontsize="small")
        return self

    def _mark_layers(self, ax: Axes) -> None:
        """Name the layers above the bars, with lines between them."""
        place: dict[str, Any] = {
            "ha": "center",
            "va": "bottom",
            "transform": ax.get_xaxis_transform(),
        }
        for layer, own in self.report.dimensions.groupby("layer"):
            ax.text(own.index.to_numpy().mean(), 1.01, f"layer {layer}", **place)
            if layer:
                ax.axvline(own.index[0] - 0.5, color="0.4", linewidth=0.8)
