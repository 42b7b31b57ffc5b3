"""The verdict of linear theory: which dimensions must collapse, and whether they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvae.distributions.continuous import Gaussian, LogNormal
from skvae.inference.session import torch_defaults
from skvae.inspection.fitted import Encoded, device_of, encode
from skvae.inspection.report import NOTHING_SHARED
from skvae.models.linear import LinearVAE
from skvae.models.multimodal import BlockVAE
from skvae.models.rotation import turned

# What rises above the noise by less than this share of it is level with it: rounds of expectation
# maximisation end before the last of it is gone, and half of it in nats says nothing of a row.
LEVEL = 1e-3
# Numbers in the factors of posterior covariances that are held at once.
HELD_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class LinearReport:
    """Eigenvalues against the noise, see `linear_report`.

    Attributes
    ----------
    dimensions : DataFrame with one row per latent dimension
        In units of the noise. ``eigenvalue``: of the covariance of the rows. ``noise_level``: 1.
        ``must_collapse``: whether the eigenvalue rises above it by no more than 0.001, which is
        worth 0.0005 nats. ``expected_norm``, ``decoder_norm``: of the decoder's column, in theory
        and in the model. ``alignment``:
        absolute cosine between that column and the eigenvector, NaN without a column. ``kl``: mean
        divergence of the posterior from the prior, in nats. ``collapsed``: whether the column's
        squared norm is at most 0.001. Where all columns share one noise variance also
        ``standardised_eigenvalue``: in units of the standardised columns.
    eigenvalues : ndarray of shape (n_features,)
        All of them, descending, in units of the noise.
    noise_variance : float or None
        In units of the standardised columns; None where every column has its own.
    n_collapsed : int
        Dimensions that have collapsed.
    agrees : bool
        Whether just those dimensions have collapsed that must.
    verdict : str
        The same in words, and the remedy.
    """

    dimensions: pd.DataFrame
    eigenvalues: np.ndarray
    noise_variance: float | None
    n_collapsed: int
    agrees: bool
    verdict: str

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.dimensions.round(3).to_string()}"


def linear_report(estimator: Any, X: Any) -> LinearReport:
    """Say which dimensions of a linear VAE must collapse, and whether they do.

    Parameters
    ----------
    estimator : VAETransformer
        Fitted, with ``hidden_layer_sizes=()``.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The rows of the fit, at least two, holes included: of other rows the theory holds as far as
        they are like those. Sample weights are not known here.

    Returns
    -------
    LinearReport

    Raises
    ------
    NotFittedError, ValueError
        If the estimator is not fitted, has networks or is not a `VAETransformer`, or `X` is a
        single row.

    Notes
    -----
    The model is ``x = W z + mu + noise`` with noise variances ``Psi``, over the features: numbers
    (logarithms of positive ones and of counts) and indicators of categories, all standardised, less
    the linear effect of a condition. With ``S`` the covariance of the rows about ``mu`` and

        ``theta_i, u_i``  the eigenvalues and eigenvectors of  ``Psi^(-1/2) S Psi^(-1/2)``,

    the most likely decoder has columns ``Psi^(1/2) u_i sqrt(theta_i - 1)`` where ``theta_i > 1``
    and zero elsewhere (Joreskog 1967 [1]_; for one noise variance Tipping and Bishop 1999 [2]_).
    The bound of a linear VAE has its optimum there too, and no optima of its own: dimensions
    collapse because columns share too little above the noise, not because of the bound (Dai et al.
    2018 [3]_, Lucas et al. 2019 [4]_). Over complete rows of the fit, the divergence of a dimension
    is ``log(theta_i) / 2``.

    With holes, ``S`` is the average of ``E[(x - mu)(x - mu)' | x_o]`` under the model. By Fisher's
    identity the slope of the likelihood is that of complete rows with these moments: at its maximum
    decoder and eigenvalues stand in the same relation, wherever the holes are, as far as rounds of
    expectation maximisation have come. ``S`` then depends on the model.

    Under ``beta`` the noise is that of the posterior, ``beta`` times the decoder's. Columns whose
    likelihood is not Gaussian are decoded by their own; the report then is about the linear model
    that latents come from. Latents of ``rotation="varimax"`` or ``"random"`` are turned to
    principal axes for the table. Eigenvalues that are equal share their eigenvectors, and
    alignment then means nothing.

    References
    ----------
    .. [1] Joreskog (1967), Some contributions to maximum likelihood factor analysis.
    .. [2] Tipping and Bishop (1999), Probabilistic Principal Component Analysis.
    .. [3] Dai, Wang, Aston, Hua and Wipf (2018), Connections with Robust PCA and the Role of
       Emergent Sparsity in Variational Autoencoder Models.
    .. [4] Lucas, Tucker, Grosse and Norouzi (2019), Don't Blame the ELBO!

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.inspection import linear_report
    >>> X = load_iris(as_frame=True).data
    >>> model = VAETransformer(3, hidden_layer_sizes=(), noise=0.5).fit(X)
    >>> report = linear_report(model, X)
    >>> report.dimensions["collapsed"].tolist()
    [False, False, True]
    >>> report.agrees
    True
    """
    encoded = _linear_rows(estimator, X)
    with torch_defaults(device=device_of(estimator)):
        model, is_turned = _principal(encoded)
        moment, kl = _moments(encoded, model)
        scale = model.noise_variance.sqrt()
        values, vectors = torch.linalg.eigh(moment / scale / scale.unsqueeze(-1))
        values, vectors = values.flip(0), vectors.flip(1)
        columns = model.loadings / scale.unsqueeze(-1)
        equal = bool((model.noise_variance == model.noise_variance[0]).all())
        noise = float(model.noise_variance[0]) if equal else None
        dimensions = _dimensions(values, vectors, columns, kl, noise)
        eigenvalues = values.clamp(min=0.0).numpy()
    collapsed = dimensions["collapsed"]
    agrees = bool((collapsed == dimensions["must_collapse"]).all())
    verdict = _verdict(
        dimensions, eigenvalues, encoded, is_turned, estimator.get_params(deep=False)
    )
    return LinearReport(dimensions, eigenvalues, noise, int(collapsed.sum()), agrees, verdict)


def _linear_rows(estimator: Any, X: Any) -> Encoded:
    with torch_defaults(device=device_of(estimator)):
        encoded = encode(estimator, X)
    if isinstance(encoded.model, BlockVAE):
        raise ValueError(
            "linear_report takes a VAETransformer: blocks of MultimodalVAE have noise and "
            "dimensions of their own."
        )
    if encoded.model.encoder is not None:
        raise ValueError(
            "linear_report is exact for hidden_layer_sizes=() only, and estimator has networks. "
            "Fit one without, or see latent_report."
        )
    if len(encoded.table.features) < 2:
        raise ValueError("X has a single row: a covariance needs at least two.")
    return encoded


def _principal(encoded: Encoded) -> tuple[LinearVAE, bool]:
    """The linear model in double precision, and whether its latents had to be turned."""
    model = encoded.model
    linear = LinearVAE(
        model.loadings[0].double(), model.mean[0].double(), model.noise_variance[0].double()
    )
    weighted = linear.loadings.mT @ (linear.loadings / linear.noise_variance.unsqueeze(-1))
    size = weighted.diagonal()
    straight = (weighted - torch.diag(size)).abs().max() <= LEVEL * size.max()
    if bool(straight & (size.diff() <= LEVEL * size.max()).all()):
        return linear, False
    return turned(linear, "principal", torch.Generator()), True


def _moments(encoded: Encoded, model: LinearVAE) -> tuple[Tensor, np.ndarray]:
    """Mean of ``E[(x - mu)(x - mu)' | x_o]``, (q, q), and divergence of every dimension, (k,)."""
    q, k = model.loadings.shape
    moment, kl, n = torch.zeros(q, q).double(), torch.zeros(k).double(), 0
    for x, observed in _chunks(encoded, max(1, HELD_AT_ONCE // (q * k))):
        posterior = model.posterior(x, observed)
        variance = posterior.spread.square().sum(-1)
        each = 0.5 * (posterior.mean.square() + variance - 1 - variance.log())
        moment += model.second_moment(x, observed)
        kl, n = kl + each.sum(0), n + len(x)
    return moment / n, (kl / n).numpy()


def _chunks(encoded: Encoded, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Features in double precision, less the effect of a condition, and their masks."""
    effect = encoded.model.context_loadings
    for part in encoded.table.chunks(size):
        x = part.features.double()
        if effect is not None and part.context is not None:
            x = x - part.context.double() @ effect[0].double()
        yield x, part.masks[1][0]


def _dimensions(
    values: Tensor, vectors: Tensor, columns: Tensor, kl: np.ndarray, noise: float | None
) -> pd.DataFrame:
    k = columns.shape[1]
    values, norm = values[:k].clamp(min=0.0), columns.norm(dim=0)
    collapsed = norm.square() <= LEVEL
    cosine = (columns * vectors[:, :k]).sum(0).abs() / norm
    frame = pd.DataFrame(
        {
            "eigenvalue": values.numpy(),
            "noise_level": 1.0,
            "must_collapse": (values <= 1 + LEVEL).numpy(),
            "expected_norm": (values - 1).clamp(min=0.0).sqrt().numpy(),
            "decoder_norm": norm.numpy(),
            "alignment": cosine.masked_fill(collapsed, np.nan).numpy(),
            "kl": kl,
            "collapsed": collapsed.numpy(),
        },
        index=pd.RangeIndex(k, name="dimension"),
    )
    if noise is not None:
        frame.insert(1, "standardised_eigenvalue", noise * frame["eigenvalue"])
    return frame


# In words -------------------------------------------------------------------------------------


def _verdict(
    dimensions: pd.DataFrame,
    eigenvalues: np.ndarray,
    encoded: Encoded,
    is_turned: bool,
    params: Mapping[str, Any],
) -> str:
    must, collapsed = dimensions["must_collapse"], dimensions["collapsed"]
    said = [_prediction(must, collapsed)]
    if (must != collapsed).any():
        said.append(
            "Near the noise level rounds of expectation maximisation may end early; elsewhere, "
            "these are not the rows of the fit."
        )
    elif must.all():
        said.append(_awaken(params))
    elif must.any():
        said.append(f"n_components={int((~must).sum())} loses nothing.")
    above = int((eigenvalues > 1 + LEVEL).sum())
    if isinstance(params.get("noise"), Real) and above > len(must):
        said.append(f"{above - len(must)} more would rise above it: n_components={above}.")
    if is_turned:
        said.append("Latents were turned to principal axes for this report.")
    kinds = [group.likelihood for group in encoded.model.likelihoods.groups]
    if not all(isinstance(kind, Gaussian | LogNormal) for kind in kinds):
        said.append(
            "Not all columns are Gaussian: this is about the linear model of their features, which "
            "latents come from."
        )
    return " ".join(said)


def _prediction(must: pd.Series, collapsed: pd.Series) -> str:
    """How many must collapse, and which do otherwise."""
    k, n = len(must), int(must.sum())
    late, lost = must.index[must & ~collapsed], must.index[~must & collapsed]
    if n:
        lie, they, do = ("lies", "it", "does") if n == 1 else ("lie", "they", "do")
        said = f"{n} of {k} dimensions {lie} below the noise: {they} must collapse"
        said += "." if len(late) else f", and {do}."
    elif k == 1:
        said = "The dimension rises above the noise; it must not collapse."
    else:
        said = f"All {k} dimensions rise above the noise; none must collapse."
    for what, which in {"Still in use": late, "Collapsed against theory": lost}.items():
        if len(which):
            said += f" {what}: {', '.join(map(str, which))}."
    return said


def _awaken(params: Mapping[str, Any]) -> str:
    """What to do where all dimensions must collapse."""
    noise = params.get("noise")
    if isinstance(noise, Real):
        tempered = params.get("beta", 1.0) != 1
        return f"Lower noise (now {noise:g}){' or beta' if tempered else ''}."
    return NOTHING_SHARED
