"""Training bends the linear VAE only as far as held-out scores allow."""

import itertools

import pytest
import torch

from skvae.inference import GenerativeSource, noise_block
from skvae.models.vae import LOG_SCALE_FLOOR
from skvae.training.loop import LoopSettings, train
from skvae.training.objectives import ImportanceWeightedBound, MaskedReconstruction
from skvae.training.validation import HeldOutError, HeldOutLikelihood


def curved(toys, n=200):
    """A parabola, of which no linear model knows anything."""
    t = torch.randn(n, 1, generator=toys.seeded(3))
    noise = 0.1 * torch.randn(n, 3, generator=toys.seeded(4))
    x = torch.cat([t, t.square() - 1, t], 1) + noise
    return x / x.std(0)


def two_members(toys, **options):
    linears = [toys.linear_vae(3, 1, seed) for seed in (0, 1)]
    return toys.gaussian_vae(linears, **({"hidden": (8,), "n_members": 2} | options))


@pytest.fixture
def setup(toys):
    """Two members and their table."""
    return two_members(toys), toys.gaussian_table(curved(toys), n_replicas=2)


def scored(setup, toys, validate, how):
    """History of two members of a bound, trained under a held-out score."""
    model, table = setup
    return train(model, table, ImportanceWeightedBound(2), validate, how, toys.seeded())


def held_out_error(table, generator):
    """For Gaussian columns that are their own features, in units of their own."""
    p = table.targets.shape[1]
    columns, one, zero = torch.arange(p), torch.ones(p), torch.zeros(p)

    def source_of(model):
        noise = noise_block(8, model.n_components, 0)
        return GenerativeSource(model, noise, columns, one, zero, one, zero)

    return HeldOutError(table, generator, source_of, table.targets, columns)


def settings(max_iter=40, decay=(0.01, 0.01), **options):
    options = {"batch_size": 32, "learning_rate": 1e-2, "n_iter_no_change": 0} | options
    return LoopSettings(max_iter=max_iter, weight_decay=torch.tensor(decay), **options)


def state(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("density", [True, False])
def test_the_loss_falls_and_the_score_rises(toys, density):
    model = two_members(toys, density=density, n_extra_components=0 if density else 2)
    table = toys.gaussian_table(curved(toys), n_replicas=2)
    objective = ImportanceWeightedBound(4) if density else MaskedReconstruction()
    score = (held_out_error if density else HeldOutLikelihood)(table, toys.seeded())
    before = score(model)
    history = train(model, table, objective, score, settings(150), toys.seeded())
    assert history.loss[-1] < history.loss[0] - 0.1
    assert (score(model) > before + 0.05).all()
    assert history.n_iter == 150
    assert not history.recovered
    best = torch.tensor(history.scores).amax(0)
    torch.testing.assert_close(score(model), best, atol=1e-4, rtol=1e-4)


def test_each_member_keeps_its_own_best(setup, toys):
    model, table = setup
    start = state(model)
    count = itertools.count()
    seen = []

    def score(model):
        seen.append(state(model))
        step = float(next(count))
        return torch.tensor([step, -step])

    train(model, table, ImportanceWeightedBound(2), score, settings(), toys.seeded())
    for final, first, last in zip(state(model), start, seen[-1], strict=True):
        assert torch.equal(final[0], last[0])
        assert torch.equal(final[1], first[1])
    assert not torch.equal(seen[-1][0][0], start[0][0])


def test_scores_that_are_no_numbers_never_count_as_best(setup, toys):
    model, _ = setup
    start = state(model)
    scores = itertools.chain([torch.zeros(2)], itertools.repeat(torch.full((2,), torch.nan)))
    history = scored(setup, toys, lambda _: next(scores), settings())
    assert history.n_iter == 40  # nothing but n_iter_no_change ends early
    assert equal(start, state(model))


@pytest.mark.parametrize(
    ("progress", "n_iter"),
    [
        (0, 55),  # the first validation while the learning rate falls
        (7, 55),  # three validations without progress are over by step 50
        (10, 65),
        (14, 85),
        (18, 100),
    ],
)
def test_without_progress_training_ends_in_the_second_half(setup, toys, progress, n_iter):
    count = itertools.count()

    def validate(_):
        # As long as one member gets on, nobody stops.
        return torch.tensor([0.0, float(min(next(count), progress))])

    history = scored(setup, toys, validate, settings(100, n_iter_no_change=3))
    assert history.n_iter == n_iter
    assert len(history.scores) == n_iter // 5


def test_progress_below_the_tolerance_is_none(setup, toys):
    count = itertools.count()

    def validate(_):
        return torch.full((2,), 1e-3 * next(count))

    history = scored(setup, toys, validate, settings(100, n_iter_no_change=3, tol=0.1))
    assert history.n_iter == 55


def test_learned_scales_stay_above_the_floor_and_fixed_ones_where_they_are(toys):
    # Each column determines the others: the likelihood of their scales has no bound.
    table = toys.gaussian_table(curved(toys)[:, [0, 0, 0]], n_replicas=2)
    model = two_members(toys, n_members=4, density=False, n_fixed_scales=2)
    before = model.free_parameters.detach().clone()
    rows = settings(300, (0.0,) * 4, learning_rate=3e-2)
    train(model, table, MaskedReconstruction(0.0), None, rows, toys.seeded())
    after = model.free_parameters.detach()
    assert torch.equal(after[2:], before[2:])
    assert torch.equal(model.free[2:], before[2:])
    assert (before[:2] > LOG_SCALE_FLOOR).all()
    assert (after[:2] >= LOG_SCALE_FLOOR).all()
    # Nothing but the floor holds them.
    assert (after[:2] == LOG_SCALE_FLOOR).all()
    assert (model.free[:2] < LOG_SCALE_FLOOR).all()
    # Apart from their scales all members learn.
    start = two_members(toys, n_members=4, density=False, n_fixed_scales=2)
    for mine, old in zip(model.network_weights, start.network_weights, strict=True):
        assert ((mine - old).abs().amax((1, 2)) > 0).all()


def test_without_validation_the_last_state_stays(setup, toys):
    model, table = setup
    start = state(model)
    history = train(model, table, ImportanceWeightedBound(2), None, settings(10), toys.seeded())
    assert history.scores == []
    assert history.n_iter == 10
    assert not equal(start, state(model))


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_restores_a_good_state(setup, toys, validated, bad):
    model, table = setup
    bound, calls = ImportanceWeightedBound(2), itertools.count(1)

    def objective(*arguments):
        value = bound(*arguments)
        return value * bad if next(calls) == 5 else value

    validate = HeldOutLikelihood(table, toys.seeded()) if validated else None
    history = train(model, table, objective, validate, settings(), toys.seeded())
    assert history.recovered
    assert history.n_iter == 4
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_members_do_not_disturb_each_other(toys):
    table = toys.gaussian_table(curved(toys), n_replicas=2)
    results = []
    for decay in (0.0, 5.0):
        model = two_members(toys, density=False)
        rows = settings(15, (0.01, decay), learning_rate=1e-3)
        train(model, table, MaskedReconstruction(), None, rows, toys.seeded())
        results.append(state(model))
    for first, second in zip(*results, strict=True):
        # The same batches and masks; only the norm of the gradient is shared.
        torch.testing.assert_close(first[0], second[0], atol=1e-4, rtol=1e-3)
    assert max((a[1] - b[1]).abs().max() for a, b in zip(*results, strict=True)) > 1e-3


def test_decay_pulls_networks_towards_zero_and_leaves_the_linear_part(setup, toys):
    model, table = setup
    toys.perturb(model)

    def nothing(model, table, batch, generator):
        zero = sum((parameter * 0.0).sum() for parameter in model.parameters())
        return zero * torch.ones(2, len(batch.features))

    before, linear = [w.detach().clone() for w in model.network_weights], model.weight.clone()
    train(model, table, nothing, None, settings(20, (0.0, 5.0)), toys.seeded())
    for weight, old in zip(model.network_weights, before, strict=True):
        torch.testing.assert_close(weight[0], old[0])
        assert weight[1].norm() < 0.9 * old[1].norm()
        torch.testing.assert_close(weight[1] / weight[1].norm(), old[1] / old[1].norm())
    assert torch.equal(model.weight, linear)


def test_every_row_is_seen_once_per_pass(setup, toys):
    model, table = setup
    seen = []
    bound = ImportanceWeightedBound(1)

    def objective(model, table, batch, generator):
        seen.extend(batch.features[:, 0].tolist())
        return bound(model, table, batch, generator)

    train(model, table, objective, None, settings(10, batch_size=20), toys.seeded())
    assert sorted(seen) == sorted(table.features[:, 0].tolist())


def test_rows_weigh_as_their_weights_say(setup, toys):
    _, table = setup
    table.weight[:100] = 0.0
    rows = table.targets.clone()
    rows[:100] = 50.0  # would move everything
    from_all = []
    for targets in (table.targets, rows):
        model = two_members(toys)
        table.targets.copy_(targets)
        train(model, table, ImportanceWeightedBound(2), None, settings(10), toys.seeded())
        from_all.append(state(model))
    assert equal(*from_all)


def test_training_is_reproducible_and_needs_nothing_but_its_generator(toys):
    table = toys.gaussian_table(curved(toys), n_replicas=2)
    before = torch.get_rng_state()
    results = []
    for seed in (0, 0, 1):
        model = two_members(toys, density=False)
        score = HeldOutLikelihood(table, toys.seeded())
        train(model, table, MaskedReconstruction(), score, settings(20), toys.seeded(seed))
        results.append(state(model))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 4, 5, 21])
def test_any_number_of_steps_will_do(setup, toys, max_iter):
    model, table = setup
    score = HeldOutLikelihood(table, toys.seeded())
    history = train(model, table, MaskedReconstruction(), score, settings(max_iter), toys.seeded())
    assert history.n_iter == max_iter
    assert len(history.loss) == len(history.scores) >= 1
    assert all(loss == loss for loss in history.loss)
