"""How columns hang on latents."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skvae.distributions import Bernoulli, Ordinal
from skvae.distributions.columns import ColumnLikelihoods
from skvae.estimators._walks import LatentWalks
from skvae.inference import Table
from skvae.inference.session import torch_defaults

# Training rows over which loadings are averaged.
LOADING_ROWS = 1000
# Below this share of a column's standard deviation single precision says nothing.
NOTHING = 1e-5


class LatentLoadings(LatentWalks):
    """Loadings of columns on latents, of linear and nonlinear decoders alike."""

    @property
    def loadings_(self) -> pd.DataFrame:
        """How far every latent moves every column, shape (n_columns, n_components).

        In standard deviations of the column: the root of the mean variance that its expected value
        has where one latent varies as it does over the training rows and the others stay (the total
        effect of Sobol and Jansen), with the sign of the slope. For linear models and numbers these
        are the loadings of factor analysis. Of categories, the probabilities move; two of them
        and ordered ones have a sign, more have none. With ``decoder="sparse"`` many are exactly 0.
        """
        check_is_fitted(self)
        with torch_defaults(device=self._latent.device):
            values = _total_effects(self)
        names = [column.name for column in self._modelled_columns]
        return pd.DataFrame(
            values,
            index=pd.Index(names, name="column", tupleize_cols=False),
            columns=pd.Index(self.get_feature_names_out(), name="latent"),
        )

    @property
    def anchor_columns_(self) -> dict[str, list]:
        """Columns that hang on a single latent, by latent, the strongest first.

        Two of them or more identify a latent of a sparse decoder (Moran et al. 2022). With few rows
        which columns these are varies from fit to fit, more than the large loadings do.
        """
        loadings = self.loadings_
        size = loadings.abs()
        alone = (size > 0).sum(axis=1) == 1
        anchors = {}
        for latent in loadings.columns:
            own = size.loc[alone & (size[latent] > 0), latent]
            anchors[latent] = list(own.sort_values(ascending=False, kind="stable").index)
        return anchors


def _total_effects(estimator: LatentLoadings) -> np.ndarray:
    """Signed roots of the total effects, float64 of shape (p, k)."""
    latent, part = estimator._latent, estimator._training_part.take(slice(LOADING_ROWS))
    model, likelihoods = latent.model, latent.model.likelihoods
    generator = torch.Generator().manual_seed(latent.seed)
    z = latent.posterior(part).sample(generator)[0]  # (n, k)
    other = z[torch.randperm(len(z), generator=generator)]

    def statistics(latents: Tensor) -> Tensor:
        driven = model.decode(latents[None, :, None], part.context)
        return model.statistics(driven)[0, :, 0].double()

    middle = statistics(z)
    spread = _spread(middle, part, likelihoods)
    effects = []
    for k in range(z.shape[1]):
        moved = z.clone()
        moved[:, k] = other[:, k]
        away = statistics(moved) - middle
        total = torch.zeros_like(spread).index_add_(
            0, likelihoods.stat_columns, 0.5 * away.square().mean(0)
        )
        slope = (away * (moved - z)[:, k : k + 1]).mean(0)
        effects.append((total / spread).sqrt() * _signs(slope, likelihoods))
    table = torch.stack(effects, dim=1).numpy()
    return np.where(np.abs(table) > NOTHING, table, 0.0)


def _spread(middle: Tensor, part: Table, likelihoods: ColumnLikelihoods) -> Tensor:
    """Variance of every column over the rows, (p,); of categories that of all indicators."""
    targets, observed = part.targets.double(), part.masks[0][0]
    count = observed.sum(0).clamp(min=1)
    mean = targets.where(observed, 0.0).sum(0) / count
    variance = (targets - mean).where(observed, 0.0).square().sum(0) / count
    shares = middle.mean(0)
    of_indicators = torch.zeros_like(variance).index_add_(
        0, likelihoods.stat_columns, shares * (1 - shares)
    )
    return torch.where(likelihoods.finite, of_indicators, variance).clamp(min=1e-12)


def _signs(slope: Tensor, likelihoods: ColumnLikelihoods) -> Tensor:
    """Of every column, from the slopes of its statistics (s,); nominal ones have none."""
    signs = torch.ones(likelihoods.n_columns, dtype=slope.dtype)
    for j, kind in enumerate(likelihoods.likelihoods):
        own = slope[likelihoods.stat_columns == j]
        if len(own) == 1 or isinstance(kind, Bernoulli | Ordinal):
            upwards = own @ torch.linspace(-1, 1, len(own)).to(own) if len(own) > 1 else own[0]
            signs[j] = -1.0 if upwards < 0 else 1.0
    return signs
