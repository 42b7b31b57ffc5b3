"""Every row's own posterior."""

import torch

from skvae.inference import Table, noise_block
from skvae.inference.proposals import encode
from skvae.inference.refit import PosteriorRefit, RefitSettings, _Search, log_weights


def rows(toys, n=12):
    data = toys.mixed_tensors()
    model = toys.perturb(toys.mixed_vae(data, k=2), 0.3)
    model.requires_grad_(False)
    return model, Table(
        data.features[:n], data.targets[:n], data.observed[:n], data.feature_columns
    )


def bound(model, part, noise, own):
    posterior = model.posterior(part.features, part.masks[1], None).shifted(*own)
    return log_weights(model, part, posterior, noise).mean(-1)


def refit(model, part, noise, **options):
    generator = torch.Generator().manual_seed(0)
    return PosteriorRefit(model, part, noise, generator).run(RefitSettings(**options))


def test_no_row_loses_and_some_gain(toys):
    model, part = rows(toys)
    noise = noise_block(64, model.n_components, 0)
    own = refit(model, part, noise, max_iter=60)
    gain = bound(model, part, noise, own) - bound(model, part, noise, torch.zeros_like(own))
    assert (gain >= -1e-4).all()
    assert gain.max() > 0.01


def test_with_shared_noise_rows_do_not_depend_on_each_other(toys):
    model, part = rows(toys)
    noise = noise_block(64, model.n_components, 0)
    options = {"max_iter": 40, "tol": 0.0, "shared_noise": True}
    together = refit(model, part, noise, **options)
    alone = refit(model, part.take(slice(3, 4)), noise, **options)
    torch.testing.assert_close(together[:, :, 3:4], alone, atol=1e-3, rtol=1e-3)


def test_rows_that_no_longer_gain_leave(toys, monkeypatch):
    model, part = rows(toys, n=60)
    noise = noise_block(64, model.n_components, 0)
    sizes, step = [], _Search.step

    def counted(self, *args):
        sizes.append(len(self.part.features))
        step(self, *args)

    monkeypatch.setattr(_Search, "step", counted)
    options = {"max_iter": 200, "learning_rate": 0.05, "tol": 0.01, "shared_noise": True}
    found = refit(model, part, noise, patience=1, **options)
    assert sizes[0] == 64  # whole blocks
    assert sizes[-1] == 32
    # What leaves early is where it would have stopped by itself.
    alone = refit(model, part.take(slice(7, 8)), noise, patience=1, **options)
    torch.testing.assert_close(found[:, :, 7:8], alone, atol=1e-5, rtol=0)


def test_exact_posteriors_stay_where_they_are(toys):
    model = toys.gaussian_vae([toys.linear_vae(5, 2)]).requires_grad_(False)
    x = torch.randn(20, 5, generator=toys.seeded(1))
    part = Table(x, x, toys.random_mask(20, 5), torch.arange(5))
    found = refit(model, part, noise_block(64, 2, 0), max_iter=60, shared_noise=True)
    assert found.abs().max() < 0.05


def test_rows_that_are_served_well_stay(toys):
    model, part = rows(toys)
    noise = noise_block(64, model.n_components, 0)
    weights = log_weights(model, part, encode(model, part), noise)
    worth = 1 / weights.softmax(-1).square().sum(-1)
    limit = float(worth.median())
    own = refit(model, part, noise, max_iter=40, enough=limit / 64)
    moved, poor = (own != 0).any(0).any(-1).any(0), (worth < limit).any(0)
    assert torch.equal(moved, poor)
    assert not poor.all()
