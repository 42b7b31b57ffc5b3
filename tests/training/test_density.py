"""One VAE for a density: the start is exact, training helps, and its options do what they say."""

from dataclasses import replace

import pytest
import torch

from skvae.models import fit_linear_vae
from skvae.training.data import Batch
from skvae.training.density import DensityFitter, DensitySettings
from skvae.training.objectives import ImportanceWeightedBound, WarmUp

SETTINGS = DensitySettings(
    n_components=2,
    hidden_layer_sizes=(16,),
    prior="normal",
    n_mixture=4,
    n_importance_samples=2,
    beta=1.0,
    free_bits=0.0,
    kl_warmup=0.0,
    isotropic=False,
    weight_decay=0.1,
    max_iter=60,
    batch_size=32,
    learning_rate=5e-3,
    early_stopping=True,
    validation_fraction=0.2,
    n_iter_no_change=8,
    tol=1e-3,
)


def fit(data, **changes):
    return DensityFitter(data, replace(SETTINGS, **changes), seed=0).fit()


@pytest.mark.parametrize("prior", ["normal", "mixture", "vamp"])
def test_training_raises_the_held_out_bound(toys, prior):
    _, report = fit(toys.mixed_tensors(300), prior=prior, max_iter=200)
    scores = [score[0] for score in report.history.scores]
    assert max(scores) > scores[0]
    assert report.history.n_iter > 100


def test_the_prior_is_learnt(toys):
    for prior in ("mixture", "vamp"):
        model, _ = fit(toys.mixed_tensors(120), prior=prior)
        start, _ = fit(toys.mixed_tensors(120), prior=prior, max_iter=0)
        pairs = zip(model.prior.parameters(), start.prior.parameters(), strict=True)
        assert all(not torch.equal(after, before) for after, before in pairs)


def test_without_networks_it_is_factor_analysis_of_all_rows(toys):
    data = toys.mixed_tensors(150, kinds=("continuous", "positive"))
    model, report = fit(data, hidden_layer_sizes=(), n_components=1)
    exact = fit_linear_vae(
        data.features.double(), data.observed, 1, tol=1e-7, max_iter=2000, ridge=1e-6
    )
    shared, expected = (a @ a.mT for a in (model.loadings[0].double(), exact.loadings))
    torch.testing.assert_close(shared, expected, rtol=1e-4, atol=1e-4)
    assert report.history.n_iter == 0
    assert report.n_linear_iter > 0


def test_none_takes_as_many_components_as_features(toys):
    data = toys.mixed_tensors(80, kinds=("continuous", "positive", "categorical"))
    model, _ = fit(data, n_components=None, max_iter=2)
    assert model.n_components == data.features.shape[1] == 5


def test_without_early_stopping_no_row_is_held_out(toys):
    _, report = fit(toys.mixed_tensors(80), early_stopping=False)
    assert report.history.scores == []
    assert report.history.n_iter == SETTINGS.max_iter


def batch_of(data):
    return Batch(
        data.features, data.targets, data.observed, data.observed.unsqueeze(0), data.weight
    )


def test_the_divergence_warms_up(toys):
    data = toys.mixed_tensors(40)
    model = toys.perturb(toys.mixed_vae(data, n_members=1, n_replicas=1))
    table, batch = toys.training_table(data, 1), batch_of(data)
    warm = WarmUp(ImportanceWeightedBound(1, beta=2.0), 4)

    def bound(objective):
        with torch.no_grad():
            return objective(model, table, batch, toys.seeded(3))

    for share in (0.25, 0.5, 0.75, 1.0, 1.0):
        torch.testing.assert_close(bound(warm), bound(ImportanceWeightedBound(1, beta=2.0 * share)))


def test_free_bits_bound_the_divergence_from_below(toys):
    data = toys.mixed_tensors(60)
    model = toys.perturb(toys.mixed_vae(data, n_members=1, n_replicas=1))
    table, batch = toys.training_table(data, 1), batch_of(data)

    def bound(free_bits, beta=1.0):
        objective = ImportanceWeightedBound(1, beta=beta, free_bits=free_bits)
        return objective(model, table, batch, toys.seeded(3)).mean()

    fit_alone, plain = bound(0.0, beta=0.0), bound(0.0)
    divergence = float((fit_alone - plain).detach())
    below, above = 0.5 * divergence / 2, 2.0 * divergence / 2  # two latent dimensions
    torch.testing.assert_close(bound(below), plain)
    torch.testing.assert_close(bound(above), fit_alone - 2 * above)
    # Below its least, the divergence has no say in where parameters go.
    parameters = [p for p in model.parameters() if p.requires_grad]
    free = torch.autograd.grad(bound(above), parameters, allow_unused=True)
    without = torch.autograd.grad(bound(0.0, beta=0.0), parameters, allow_unused=True)
    for one, other in zip(free, without, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
