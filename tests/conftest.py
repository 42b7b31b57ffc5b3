"""Small models and tables that several rooms' tests share."""

import math
import os
from dataclasses import replace
from types import SimpleNamespace

# Before torch is there: a process per core with a thread per core each would be many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from skvae.distributions import (
    Bernoulli,
    Categorical,
    ColumnLikelihoods,
    Gaussian,
    LogNormal,
    NegativeBinomial,
    Ordinal,
)
from skvae.models import VAE, LinearVAE, fit_linear_vae
from skvae.models.missingness import Columns, ConnectedMasking, LatentMasking, SelfMasking
from skvae.models.selection import Piles, SelectionVAE
from skvae.models.start import FeatureSpec, decoder_start
from skvae.nn import EncoderInputs, quantile_edges
from skvae.tabular.scaling import TableScaler
from skvae.tabular.schema import Column
from skvae.training import Tensors
from skvae.training.data import TrainingTable, hold_out

MIXED = {
    "continuous": Gaussian(),
    "positive": LogNormal(),
    "count": NegativeBinomial(),
    "binary": Bernoulli(),
    "categorical": Categorical(3),
    "ordinal": Ordinal(4),
}
LEVELS = {"binary": 2, "categorical": 3, "ordinal": 4}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_mask(n, p, share=0.7, seed=0):
    return torch.rand(n, p, generator=seeded(seed)) < share


def column(kind, n_categories=0):
    """What a scaler needs to know of a column."""
    categories = np.arange(n_categories) if n_categories else None
    return Column(kind, kind, np.dtype(float), categories, "modelled", None, False)


def mixed_values(n, seed=0):
    """One column of every kind, driven by two factors; values (n, 6) and their columns."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    scores = np.stack([z[:, 0], z[:, 1], -z[:, 0]], 1) + rng.gumbel(size=(n, 3))
    values = np.stack(
        [
            3 + 2 * (z @ [0.8, 0.4]) + rng.normal(size=n),
            np.exp(1 + z @ [0.5, -0.3] + 0.3 * rng.normal(size=n)),
            rng.poisson(np.exp(1 + 0.5 * z[:, 0])),
            z @ [1.0, 1.0] + rng.logistic(size=n) > 0.5,
            scores.argmax(1),
            np.digitize(z[:, 1] + 0.5 * rng.normal(size=n), [-1.0, 0.2, 1.3]),
        ],
        axis=1,
    ).astype(float)
    return values, [column(kind, LEVELS.get(kind, 0)) for kind in MIXED]


def linear_vae(d, k, seed=0, dtype=torch.float32):
    g = seeded(seed)
    loadings = torch.randn(d, k, generator=g, dtype=dtype)
    mean = 0.3 * torch.randn(d, generator=g, dtype=dtype)
    return LinearVAE(loadings, mean, 0.2 + torch.rand(d, generator=g, dtype=dtype))


def encoder_inputs(features, observed):
    return EncoderInputs(*quantile_edges(features, observed, 4))


def gaussian_vae(linears, hidden=(6,), n_members=None, seed=0, effect=None, **options):
    """VAE of Gaussian columns that are their own features; options as of VAE.

    `effect` (n_context, d) is that of a context on the means.
    """
    d = len(linears[0].mean)
    likelihoods = ColumnLikelihoods([Gaussian()] * d)
    specs = [FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(d)]
    told = linears
    if effect is not None:
        told = [replace(one, loadings=torch.cat([one.loadings, effect.mT], 1)) for one in linears]
    starts = [decoder_start(one, likelihoods, specs, torch.zeros(d)) for one in told]
    x = torch.randn(200, d, generator=seeded(seed + 1))
    inputs = encoder_inputs(x, torch.ones_like(x, dtype=torch.bool))
    n_members = n_members or len(linears)
    return VAE(linears, starts, likelihoods, inputs, hidden, n_members, seeded(seed), **options)


def mixed_tensors(n=60, seed=0, share=0.8, kinds=tuple(MIXED)):
    """A mixed table with holes as an ensemble is fitted on."""
    values, columns = mixed_values(n, seed)
    places = [j for j, one in enumerate(columns) if one.kind in kinds]
    values, columns = values[:, places], [columns[j] for j in places]
    likelihoods = tuple(MIXED[one.kind] for one in columns)
    observed = random_mask(*values.shape, share, seed)
    values[~observed.numpy()] = math.nan
    scaler = TableScaler().fit(values, observed.numpy(), columns)
    slope, intercept = scaler.regression_from_targets
    return Tensors(
        features=torch.from_numpy(scaler.features(values, observed.numpy())),
        targets=torch.from_numpy(scaler.targets(values, observed.numpy())),
        regression_targets=torch.from_numpy(scaler.regression_targets(values, observed.numpy())),
        observed=observed,
        weight=torch.ones(n),
        feature_columns=torch.from_numpy(scaler.feature_columns),
        likelihoods=likelihoods,
        regression_likelihoods=tuple(
            kind if hasattr(kind, "n_categories") else Gaussian() for kind in likelihoods
        ),
        specs=scaler.specs,
        slope=torch.from_numpy(slope).float(),
        intercept=torch.from_numpy(intercept).float(),
    )


def mixed_vae(data, hidden=(6,), n_members=2, n_replicas=2, k=2, seed=0, density=True, **options):
    """VAE of a mixed table from a linear VAE per replica; without a density, of its regression."""
    seen = data.observed.index_select(1, data.feature_columns)
    linears = []
    for replica in range(n_replicas):
        visible = seen & random_mask(*seen.shape, 0.9, replica)
        # Broad posteriors: a coarse grid over z integrates them.
        fit = fit_linear_vae(data.features.double(), visible, k, max_iter=30, noise_floor=0.2)
        parts = fit.loadings, fit.mean, fit.noise_variance
        linears.append(LinearVAE(*(part.float() for part in parts)))
    likelihoods = ColumnLikelihoods(data.likelihoods if density else data.regression_likelihoods)
    free = likelihoods.init_free(
        data.targets if density else data.regression_targets, data.observed
    )
    starts = [decoder_start(one, likelihoods, data.specs, free) for one in linears]
    inputs = encoder_inputs(data.features, seen)
    return VAE(
        linears,
        starts,
        likelihoods,
        inputs,
        hidden,
        n_members,
        seeded(seed),
        density=density,
        **options,
    )


def training_table(data, n_replicas=2, fraction=0.15, seed=0, targets=None):
    return TrainingTable(
        data.features,
        data.targets if targets is None else targets,
        data.observed,
        hold_out(data.observed, fraction, n_replicas, seeded(seed)),
        data.weight,
        data.feature_columns,
        n_replicas,
    )


def gaussian_table(x, observed=None, n_replicas=1, fraction=0.1, seed=0):
    """A training table whose columns are their own features."""
    observed = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
    fold = hold_out(observed, fraction, n_replicas, seeded(seed))
    index = torch.arange(x.shape[1])
    return TrainingTable(x, x, observed, fold, torch.ones(len(x)), index, n_replicas)


def one_factor_tensors(hidden, n=1500, seed=0):
    """Four standardised columns of one factor, the third turned round, and their values.

    `hidden` takes values (n, 4) and a generator to the holes.
    """
    g = seeded(seed)
    loadings = torch.tensor([0.8, 0.9, -0.8, 0.7])
    noise = torch.randn(n, 4, generator=g) * (1 - loadings.square()).sqrt()
    x = torch.randn(n, 1, generator=g) * loadings + noise
    observed = ~hidden(x, g)
    x = torch.stack([standardised(x[:, j], observed[:, j]) for j in range(4)], 1)
    shown = x.where(observed, 0.0)
    ones, kinds = torch.ones(4), (Gaussian(),) * 4
    specs = tuple(FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(4))
    data = Tensors(
        features=shown,
        targets=shown,
        regression_targets=shown,
        observed=observed,
        weight=torch.ones(n),
        feature_columns=torch.arange(4),
        likelihoods=kinds,
        regression_likelihoods=kinds,
        specs=specs,
        slope=ones,
        intercept=0 * ones,
    )
    return data, x


def standardised(x, observed):
    """By what is observed."""
    return (x - x[observed].mean()) / x[observed].std()


def selection_vae(
    linears,
    selected,
    *,
    slope=2.0,
    direction=1.0,
    threshold=0.5,
    step=False,
    limit=0.0,
    piles=None,
):
    """Self-masking Gaussian columns that are their own features; a linear VAE's posterior."""
    d, n = len(linears[0].mean), len(linears)
    likelihoods = ColumnLikelihoods([Gaussian()] * d)
    specs = [FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(d)]
    starts = [decoder_start(one, likelihoods, specs, torch.zeros(d)) for one in linears]
    mask_model = SelfMasking(
        Columns.of(likelihoods, specs),
        torch.tensor(selected).expand(n, -1),
        torch.full((n, d), direction),
        torch.full((n, d), threshold),
        torch.ones(d),
        torch.full((d,), step),
        torch.full((n,), slope),
    )
    return SelectionVAE(
        linears,
        starts,
        likelihoods,
        no_inputs(),
        (),
        seeded(),
        mask_model=mask_model,
        feature_columns=torch.arange(d),
        direction=torch.full((d,), direction),
        limits=torch.full((d,), limit),
        piles=piles or Piles(torch.zeros(d), torch.zeros(d), torch.ones(d)),
    )


def no_inputs():
    """Nothing encoded."""
    return EncoderInputs(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


@torch.no_grad()
def mixed_selection_vae(law="self", hidden=()):
    """Two members, all kinds of columns, margins and networks away from their start."""
    data = mixed_tensors(kinds=("continuous", "positive", "binary", "categorical", "ordinal"))
    kinds = [kind if hasattr(kind, "n_categories") else Gaussian() for kind in data.likelihoods]
    likelihoods = ColumnLikelihoods(kinds)
    linears = [linear_vae(data.features.shape[1], 2, seed) for seed in range(2)]
    free = likelihoods.init_free(data.targets, data.observed)
    starts = [decoder_start(one, likelihoods, data.specs, free) for one in linears]
    columns, p = Columns.of(likelihoods, data.specs), len(kinds)
    selected = torch.tensor([[True] * p, [True, False, True, False, True]])
    if law == "self":
        mask = SelfMasking(
            columns,
            selected,
            torch.ones(2, p),
            torch.zeros(2, p),
            torch.ones(p),
            torch.tensor([False, True, False, False, False]),
            torch.tensor([1.0, 2.0]),
        )
    elif law == "network":
        mask = ConnectedMasking(columns, selected, (4,), seeded(1))
    else:
        mask = LatentMasking(columns, selected, 2, (4,), seeded(1))
    model = SelectionVAE(
        linears,
        starts,
        likelihoods,
        no_inputs(),
        hidden,
        seeded(),
        mask_model=mask,
        feature_columns=data.feature_columns,
        direction=torch.ones(2),
        limits=torch.full((p,), 0.7),
        piles=Piles(torch.zeros(2), torch.zeros(2), torch.ones(2)),
    )
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(3)))
    return model, data


@torch.no_grad()
def perturb(model, scale=0.3, seed=7):
    """Random weights for the networks, whose last layers start at zero."""
    g = seeded(seed)
    for network in (model.encoder, model.decoder):
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=g))
    return model


@pytest.fixture(scope="session")
def toys():
    return SimpleNamespace(
        seeded=seeded,
        random_mask=random_mask,
        column=column,
        mixed_values=mixed_values,
        linear_vae=linear_vae,
        gaussian_vae=gaussian_vae,
        mixed_tensors=mixed_tensors,
        mixed_vae=mixed_vae,
        one_factor_tensors=one_factor_tensors,
        selection_vae=selection_vae,
        mixed_selection_vae=mixed_selection_vae,
        training_table=training_table,
        gaussian_table=gaussian_table,
        perturb=perturb,
    )
