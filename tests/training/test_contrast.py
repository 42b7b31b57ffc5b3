"""Telling contexts apart: the contrast is a log-posterior of contexts; starts reach the latents."""

import math

import pytest
import torch

from skvae.models.context import Context
from skvae.models.linear import LinearVAE
from skvae.models.priors import ConditionalNormal
from skvae.models.sources import LinearEffect
from skvae.models.start import DecoderStart
from skvae.training.contrast import (
    MOST_CONTEXTS,
    WEIGHT,
    ContextContrast,
    HeldOutContrast,
    ToldApart,
    _only,
    contrastive_start,
    follow,
    linear_decoder,
    sources_of,
    told_apart,
    widen,
)
from skvae.training.loop import LoopSettings
from skvae.training.objectives import ImportanceWeightedBound


def segments(n, m=5):
    """Indicators of m segments that follow each other."""
    return torch.eye(m).repeat_interleave(n // m, 0)


def told_vae(toys, d=4, k=2, m=5, noise=0.05, hidden=(6,)):
    """Sources with moments of their own in each segment; the encoder does not hear which."""
    g = toys.seeded(2)
    loadings = torch.randn(d, k, generator=g)
    linear = LinearVAE(loadings, torch.zeros(d), torch.full((d,), noise))
    model = toys.gaussian_vae([linear], hidden, context=Context(m, encoded=False))
    model.prior = ConditionalNormal(m, k, hidden or (6,), toys.seeded(), factorial=True)
    model.prior.start_at(
        LinearEffect(torch.randn(m, k, generator=g), torch.zeros(k)),
        LinearEffect(0.5 * torch.randn(m, k, generator=g), torch.zeros(k)),
    )
    return model


def drawn(toys, model, n=500, seed=3):
    """Rows of the model itself, with its contexts."""
    context, g = segments(n, model.prior.n_context), toys.seeded(seed)
    with torch.no_grad():
        z = model.prior.sample(n, model, g, context)[0]
    noise = torch.randn(n, len(model.mean[0]), generator=g)
    x = z @ model.loadings[0].mT + model.noise_variance[0].sqrt() * noise
    table = toys.gaussian_table(x, fraction=1e-9)
    object.__setattr__(table, "context", context)
    return table, z


def settings(max_iter=64, **options):
    return LoopSettings(max_iter, 64, 5e-3, torch.zeros(1), **options)


def everything(table):
    return table.batch(torch.arange(table.n_rows))


# The contrast ---------------------------------------------------------------------------------


@torch.no_grad()
def test_it_is_how_much_more_probable_latents_make_their_context(toys):
    """Bayes' rule: ``p(c | z) / p(c) = p(z | c) / p(z)``."""
    model = told_vae(toys)
    table, _ = drawn(toys, model)
    weight = torch.rand(500, generator=toys.seeded(1)) + 0.1
    contrast = ContextContrast.of(table.context, weight)
    found = contrast(model, table, everything(table), torch.Generator())
    share = torch.stack([weight[table.context[:, j] == 1].sum() for j in range(5)])
    share = share / share.sum()
    z = model.posterior(table.features, table.observed[None], table.context).centre
    densities = torch.stack([model.log_prior(z, c.expand(500, -1))[0] for c in torch.eye(5)], dim=1)
    posterior = (densities + share.log()).log_softmax(1)
    own = table.context.argmax(1)
    expected = posterior[torch.arange(500), own] - share.log()[own]
    assert found.shape == (1, 500)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_latents_that_say_nothing_of_the_context_have_none(toys):
    model = told_vae(toys)
    table, _ = drawn(toys, model)
    model.prior = ConditionalNormal(5, 2, (6,), toys.seeded(), factorial=True)
    contrast = ContextContrast.of(table.context, table.weight)
    found = contrast(model, table, everything(table), torch.Generator())
    torch.testing.assert_close(found, torch.zeros(1, 500), atol=1e-4, rtol=0)


@torch.no_grad()
def test_many_contexts_are_compared_with_those_of_the_batch(toys):
    n = MOST_CONTEXTS + 8
    model = told_vae(toys, m=1)
    context = torch.linspace(-1, 1, n)[:, None]
    table, _ = drawn(toys, model, n)
    object.__setattr__(table, "context", context)
    contrast = ContextContrast.of(context, table.weight)
    assert contrast.contexts is None
    batch = table.batch(torch.arange(0, n, 8))
    found = contrast(model, table, batch, torch.Generator())
    listed = ContextContrast.of(batch.context, batch.weight)
    assert len(listed.contexts) == len(batch.context)
    torch.testing.assert_close(found, listed(model, table, batch, torch.Generator()))


@torch.no_grad()
def test_its_mean_is_the_information_of_latents_about_contexts(toys):
    """Positive at the true prior, and no more than the contexts' entropy."""
    model = told_vae(toys)
    table, _ = drawn(toys, model, 2000)
    judge = HeldOutContrast(ContextContrast.of(table.context, table.weight), table)
    true = judge(model)
    assert true.shape == (1,)
    assert 0.2 < float(true) < math.log(5)
    with torch.no_grad():
        model.prior.effect.mul_(-1)
    assert float(judge(model)) < float(true) - 0.5


@torch.no_grad()
@pytest.mark.parametrize("garbage", [math.nan, 1e30])
def test_hidden_entries_cannot_move_it(toys, garbage):
    model = toys.perturb(told_vae(toys), 0.1)
    table, _ = drawn(toys, model)
    observed = toys.random_mask(*table.features.shape)
    object.__setattr__(table, "observed", observed)
    contrast = ContextContrast.of(table.context, table.weight)
    values = []
    for features in (table.features, table.features.where(observed, garbage)):
        object.__setattr__(table, "features", features)
        values.append(contrast(model, table, everything(table), torch.Generator()))
    assert torch.equal(*values)


@torch.no_grad()
def test_the_encoder_does_not_hear_the_context(toys):
    model = toys.perturb(told_vae(toys))
    table, _ = drawn(toys, model)
    one, other = (
        model.posterior(table.features, table.observed[None], c)
        for c in (table.context, table.context.flip(0))
    )
    assert torch.equal(one.centre, other.centre)
    assert torch.equal(one.covariance, other.covariance)


@torch.no_grad()
def test_it_is_added_to_the_bound(toys):
    model = told_vae(toys)
    table, _ = drawn(toys, model, 50)
    batch, bound = everything(table), ImportanceWeightedBound(4)
    whole, loop = told_apart(bound, table, settings(1600))
    assert isinstance(whole, ToldApart)
    assert loop.max_iter < 1600
    assert loop.learning_rate < 5e-3
    contrast = ContextContrast.of(table.context, table.weight)
    torch.testing.assert_close(
        whole(model, table, batch, toys.seeded()),
        bound(model, table, batch, toys.seeded())
        + WEIGHT * contrast(model, table, batch, toys.seeded()),
    )


# The start ------------------------------------------------------------------------------------


def test_sources_of_a_table_are_those_of_its_linear_model(toys):
    model = told_vae(toys, m=10)
    table, _ = drawn(toys, model, 8000)
    linear = LinearVAE(model.loadings[0], model.mean[0], model.noise_variance[0])
    found = sources_of(linear, table)
    recovered = found.axes / found.axes.norm(dim=1, keepdim=True)
    assert (recovered.abs().max(dim=1).values > 0.97).all()
    assert found.axes.dtype == torch.float64


def test_the_best_start_wins_and_only_encoder_and_prior_learn(toys):
    truth = told_vae(toys)
    table, _ = drawn(toys, truth, 500)
    judge = HeldOutContrast(ContextContrast.of(table.context, table.weight), table)

    def blind():
        model = told_vae(toys)
        model.prior = ConditionalNormal(5, 2, (6,), toys.seeded(), factorial=True)
        return model

    before = {name: value.clone() for name, value in truth.state_dict().items()}
    start = float(judge(truth))
    found = contrastive_start([blind, lambda: truth], table, table, settings(32), toys.seeded())
    assert found is truth
    assert float(judge(found)) > start - 0.05
    learnt = {
        name.split(".")[0]
        for name, value in found.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert learnt == {"encoder", "prior"}
    assert all(p.requires_grad for p in found.parameters())


def test_training_tells_contexts_apart_from_a_blind_start(toys):
    truth = told_vae(toys)
    table, _ = drawn(toys, truth, 1000)
    judge = HeldOutContrast(ContextContrast.of(table.context, table.weight), table)
    model = told_vae(toys)
    model.prior = ConditionalNormal(5, 2, (6,), toys.seeded(), factorial=True)
    before = float(judge(model))
    found = contrastive_start([lambda: model], table, table, settings(400), toys.seeded())
    assert float(judge(found)) > before + 0.6 * (float(judge(truth)) - before)


def test_the_decoder_follows_alone_from_its_start(toys):
    model = toys.perturb(told_vae(toys), 0.05)
    table, _ = drawn(toys, model, 300)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = DecoderStart(model.weight[0] + 1.0, model.bias[0, 0] + 0.5, model.free.flatten() - 0.3)
    follow(model, start, table, settings(8, n_iter_no_change=0), toys.seeded())
    after = model.state_dict()
    learnt = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert learnt == {"weight", "bias", "free", "decoder"}
    # One step is no further than its learning rate from the start that was given.
    assert (after["weight"] - before["weight"] - 1.0).abs().max() < 0.05
    assert all(p.requires_grad for p in model.parameters())


def test_only_the_named_parts_are_trained_even_if_training_fails(toys):
    model = told_vae(toys)
    model.free.requires_grad_(False)

    def fail():
        with _only(model, model.prior.parameters()):
            trained = {name for name, p in model.named_parameters() if p.requires_grad}
            assert trained
            assert all(name.startswith("prior") for name in trained)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not model.free.requires_grad
    assert all(p.requires_grad for p in model.encoder.parameters())


@torch.no_grad()
@pytest.mark.parametrize("noise", [2.0, 0.05, 0.02])
def test_wide_coordinates_start_at_the_same_posterior(toys, noise):
    model = told_vae(toys, noise=noise)
    table, _ = drawn(toys, model, 50)
    seen = table.observed[None]
    before = model.posterior(table.features, seen, table.context)
    widen(model, table)
    assert (model.width > 1) == (noise < 1)
    after = model.posterior(table.features, seen, table.context)
    torch.testing.assert_close(after.centre, before.centre)
    torch.testing.assert_close(after.covariance, before.covariance, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_a_linear_decoder_is_the_regression_of_features_on_centres(toys):
    model = told_vae(toys)
    table, _ = drawn(toys, model, 300)
    observed = toys.random_mask(*table.features.shape)
    dirty = table.features.where(observed, 1e6)
    object.__setattr__(table, "observed", observed)
    object.__setattr__(table, "features", dirty)
    found = linear_decoder(model, table)
    z = model.posterior(dirty, observed[None], table.context).centre[0].double()
    design = torch.cat([z, torch.ones(300, 1).double()], 1)
    for j in range(4):
        rows = observed[:, j]
        x = dirty[rows, j].double()
        exact = torch.linalg.lstsq(design[rows], x[:, None]).solution[:, 0]
        fitted = torch.cat([found.loadings[j], found.mean[j : j + 1]]).double()
        torch.testing.assert_close(fitted, exact, atol=0.01, rtol=0)
        rest = (x - design[rows] @ exact).square().mean()
        torch.testing.assert_close(found.noise_variance[j].double(), rest, rtol=0.05, atol=1e-3)
    assert found.loadings.dtype == torch.float32
