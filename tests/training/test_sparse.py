"""Training masks: what the prior costs, which masks close, and which model of the path is kept."""

import copy
import math

import pytest
import torch

from skvae.distributions import ColumnLikelihoods, Gaussian
from skvae.models.linear import LinearVAE
from skvae.models.priors import CorrelatedNormal
from skvae.models.sparse import SparseVAE, SpikeAndSlab
from skvae.models.start import FeatureSpec, decoder_start
from skvae.training.loop import LoopSettings
from skvae.training.objectives import ImportanceWeightedBound
from skvae.training.sparse import (
    LEAST_SPIKE,
    SparseBound,
    _sparsest,
    close_masks,
    mask_prior,
    train_sparse,
)

# Two columns of either latent, one of both and one of none.
LOADINGS = torch.tensor([[2.0, 0], [-1.5, 0], [0, 2.0], [0, 1.5], [1.0, -1.0], [0, 0]])


def sparse_vae(toys, loadings=LOADINGS, hidden=(4,), noise=0.3):
    d, k = loadings.shape
    linear = LinearVAE(loadings, torch.zeros(d), torch.full((d,), noise))
    likelihoods = ColumnLikelihoods([Gaussian()] * d)
    specs = [FeatureSpec(slice(j, j + 1), 0.0, 1.0) for j in range(d)]
    start = decoder_start(linear, likelihoods, specs, torch.zeros(d))
    inputs = toys.gaussian_vae([toys.linear_vae(d, k)]).inputs
    model = SparseVAE([linear], [start], likelihoods, inputs, hidden, 1, toys.seeded())
    model.prior = CorrelatedNormal(k)
    return model


def drawn(toys, n=400, noise=0.3, seed=3):
    g = toys.seeded(seed)
    mean = torch.randn(n, 2, generator=g) @ LOADINGS.mT
    return toys.gaussian_table(mean + math.sqrt(noise) * torch.randn(n, 6, generator=g), None, 1)


def bound_of(table):
    batch = table.batch(torch.arange(table.n_rows))

    @torch.no_grad()
    def judge(model):
        return ImportanceWeightedBound(8)(model, table, batch, torch.Generator().manual_seed(0))

    return judge


def settings(max_iter=60, **options):
    return LoopSettings(max_iter, 64, 5e-3, torch.zeros(1), **options)


@torch.no_grad()
def test_the_prior_is_shared_out_among_the_rows(toys):
    model, table = sparse_vae(toys), drawn(toys, 50)
    model.mask.copy_(torch.rand(6, 2, generator=toys.seeded(1)))
    model.is_open[0, 1] = False
    bound, prior = ImportanceWeightedBound(4), SpikeAndSlab(20.0, 1.0, 6)
    batch = table.batch(torch.arange(50))
    plain = bound(model, table, batch, toys.seeded(0))
    whole = SparseBound(bound, prior, 50)(model, table, batch, toys.seeded(0))
    difference = (plain - whole).sum()
    torch.testing.assert_close(difference, prior.penalty(model.gates), rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("garbage", [math.nan, 1e30])
def test_hidden_entries_cannot_move_the_loss(toys, garbage):
    data = toys.mixed_tensors(40)
    linear = toys.linear_vae(data.features.shape[1], 2)
    likelihoods = ColumnLikelihoods(data.likelihoods)
    free = likelihoods.init_free(data.targets, data.observed)
    start = decoder_start(linear, likelihoods, data.specs, free)
    inputs = toys.mixed_vae(data, n_members=1, n_replicas=1).inputs
    model = SparseVAE([linear], [start], likelihoods, inputs, (6,), 1, toys.seeded())
    toys.perturb(model)
    table = toys.training_table(data, n_replicas=1)
    dirty = copy.copy(table)
    seen = table.batch(torch.arange(40)).visible[0]
    object.__setattr__(dirty, "targets", table.targets.where(seen, garbage))
    objective = SparseBound(ImportanceWeightedBound(4), mask_prior(table), 40)
    clean, other = (
        objective(model, t, t.batch(torch.arange(40)), toys.seeded()) for t in (table, dirty)
    )
    assert torch.equal(clean, other)
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    close_masks(one, table, 0.3, 0)
    close_masks(two, dirty, 0.3, 0)
    assert torch.equal(one.is_open, two.is_open)
    assert not one.is_open.all()


def test_the_spike_narrows_with_the_root_of_the_number_of_rows(toys):
    assert mask_prior(drawn(toys, 50)).spike == LEAST_SPIKE
    many = mask_prior(drawn(toys, 400))
    assert (many.spike, many.slab, many.n_columns) == (20.0, 1.0, 6)


def test_masks_close_that_their_columns_can_do_without(toys):
    model = sparse_vae(toys)
    close_masks(model, drawn(toys), 0.01, 0)
    assert torch.equal(model.is_open, LOADINGS != 0)


def test_closed_masks_stay_closed_and_higher_levels_close_more(toys):
    model, table = sparse_vae(toys), drawn(toys)
    model.is_open[4, 0] = False
    before, counts = model.is_open.clone(), []
    for level in (0.01, 0.1, 0.5, 0.95, 10.0):
        close_masks(model, table, level, 0)
        assert not (model.is_open & ~before).any()
        before = model.is_open.clone()
        counts.append(int(before.sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_of_two_latents_that_say_the_same_one_closes(toys):
    """Each can be done without, both cannot."""
    loadings = torch.cat([LOADINGS[:4], torch.tensor([[1.0, 1.0]])])
    model, n = sparse_vae(toys, loadings), 400
    g = toys.seeded(1)
    shared = torch.randn(n, 1, generator=g).expand(n, 2)
    x = shared @ loadings.mT + 0.3**0.5 * torch.randn(n, 5, generator=g)
    with torch.no_grad():  # a column that either latent would explain
        model.weight[0, :, 4] = torch.tensor([1.0, 1.0])
    close_masks(model, toys.gaussian_table(x), 0.6, 0)
    assert model.is_open[4].sum() == 1


@pytest.mark.parametrize("with_validation", [False, True])
def test_training_finds_the_support(toys, with_validation):
    model, table = sparse_vae(toys), drawn(toys)
    before = torch.get_rng_state()
    judge = bound_of(drawn(toys, seed=4))
    validate = (lambda m: judge(m).mean(1)) if with_validation else None
    bound = ImportanceWeightedBound(4)
    history = train_sparse(model, table, bound, validate, judge, settings(100), toys.seeded(0), 0)
    assert torch.equal(model.is_open, LOADINGS != 0)
    assert 0 < history.n_iter <= 100
    assert bool(history.scores) == with_validation
    assert history.loss
    assert not history.recovered
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_masks(toys):
    table, fits = drawn(toys, 200), []
    for _ in range(2):
        model = sparse_vae(toys)
        parts = (ImportanceWeightedBound(4), None, bound_of(table), settings(40))
        train_sparse(model, table, *parts, toys.seeded(0), 0)
        fits.append(model)
    for one, two in zip(*(fit.state_dict().values() for fit in fits), strict=True):
        assert torch.equal(one, two)


def test_nothing_is_dropped_while_masks_are_judged(toys):
    """Users' encoders may have layers that draw or count in training alone."""
    model, table, modes = sparse_vae(toys), drawn(toys, 100), []
    judge = bound_of(table)

    def spying(own):
        modes.append(own.training)
        return judge(own)

    bound = ImportanceWeightedBound(1)
    train_sparse(model, table, bound, None, spying, settings(10), toys.seeded(0), 0)
    assert modes
    assert not any(modes)
    assert model.training


# Which model of the path ----------------------------------------------------------------------


def test_the_sparsest_within_one_standard_error_of_the_best():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(400, generator=g).double()
    noise = torch.randn(5, 400, generator=g).double()
    # Behind the second by 0.5 with deviation 1, that is by 10 standard errors; then by 0.02.
    behind = torch.tensor([0.5, 0.0, 0.5, 0.02, 0.5]).double()[:, None]
    noise = (noise - noise.mean(1, keepdim=True)) / noise.std(1, keepdim=True)
    noise[1] = 0.0
    assert _sparsest(rows - behind + noise) == 3


def test_what_all_rows_share_decides_nothing():
    """Errors are those of differences: rows that all models find odd do not blur them."""
    odd = 100 * torch.randn(300, generator=torch.Generator().manual_seed(0)).double()
    assert _sparsest(torch.stack([odd, odd - 0.01])) == 0
    assert _sparsest(torch.stack([odd, odd])) == 1


def test_one_model_and_one_row_are_enough():
    assert _sparsest(torch.zeros(1, 5)) == 0
    assert _sparsest(torch.tensor([[1.0], [0.0]])) == 0
