"""The linear VAE of blocks: experts multiply, absent blocks say nothing."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits

from skvae.models.blocks import fit_block_linear_vae
from skvae.models.linear import fit_linear_vae

SIZES = (5, 4, 6)
BLOCK_OF = torch.arange(3).repeat_interleave(torch.tensor(SIZES))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def block_data(n=300, seed=0, noise=0.5):
    """Two factors that all blocks share, one for each block alone."""
    loadings = torch.zeros(sum(SIZES), 5, dtype=torch.float64)
    loadings[:, :2] = normal(sum(SIZES), 2, seed=seed)
    for b in range(3):
        mine = BLOCK_OF == b
        loadings[mine, 2 + b] = normal(int(mine.sum()), seed=seed + 10 + b)
    x = normal(n, 5, seed=seed + 1) @ loadings.mT + 0.3
    return x + noise * normal(n, sum(SIZES), seed=seed + 2), loadings


def absent_blocks(n, share=0.4, seed=5):
    held = torch.rand(n, 3, generator=seeded(seed)) >= share
    held[torch.arange(n), torch.arange(n) % 3] = True
    return held[:, BLOCK_OF]


def everything(x):
    return torch.ones_like(x, dtype=torch.bool)


@pytest.fixture(scope="module")
def fitted():
    x, _ = block_data()
    observed = absent_blocks(len(x))
    return fit_block_linear_vae(x, observed, BLOCK_OF, 5), x, observed


def test_posterior_is_the_product_of_prior_and_experts(fitted):
    model, x, observed = fitted
    x, observed = x[:20], observed[:20]
    product = model.posterior(x, observed)
    precision = torch.eye(5, dtype=x.dtype).repeat(20, 1, 1)
    shift = x.new_zeros(20, 5)
    for block in range(3):
        expert = model.expert(block, x, observed)
        precision, shift = precision + expert.precision, shift + expert.shift
    torch.testing.assert_close(product.precision, precision)
    torch.testing.assert_close(product.shift, shift)


def test_posterior_is_that_of_normal_equations_under_drawn_loadings(fitted):
    """The expected information is the mean over the loadings' posterior, and so is the shift."""
    model, x, _ = fitted
    row, expected = x[:1], model.posterior(x[:1], everything(x[:1]))
    draws = 20_000
    precision, shift = torch.eye(5, dtype=x.dtype), x.new_zeros(5)
    for j in range(sum(SIZES)):
        factor = torch.linalg.cholesky(
            model.point.noise_variance[j] * model.uncertainty[model.block_of[j]]
        )
        both = torch.cat([model.point.loadings[j], model.point.mean[j : j + 1]])
        drawn = both + normal(draws, 6, seed=j) @ factor.mT
        w, mean = drawn[:, :5], drawn[:, 5]
        precision = precision + w.mT @ w / draws / model.point.noise_variance[j]
        shift = shift + ((row[0, j] - mean) @ w) / draws / model.point.noise_variance[j]
    torch.testing.assert_close(expected.precision[0], precision, rtol=0.02, atol=0.05)
    torch.testing.assert_close(expected.shift[0], shift, rtol=0.02, atol=0.1)


def test_a_block_that_is_absent_might_not_exist(fitted):
    model, x, _ = fitted
    observed = everything(x)
    observed[:, BLOCK_OF == 1] = False
    others = (BLOCK_OF != 1).nonzero().squeeze(1)
    scaled = model.point.loadings[others] / model.point.noise_variance[others, None]
    precision = torch.eye(5, dtype=x.dtype) + scaled.mT @ model.point.loadings[others]
    shift = (x - model.point.mean)[:, others] @ scaled
    for block in (0, 2):
        precision = precision + SIZES[block] * model.uncertainty[block, :5, :5]
        shift = shift - SIZES[block] * model.uncertainty[block, 5, :5]
    mean, deviation = model.moments(x, observed)
    torch.testing.assert_close(mean, torch.linalg.solve(precision, shift.mT).mT)
    variance = torch.linalg.inv(precision).diagonal()
    torch.testing.assert_close(deviation, variance.sqrt().expand_as(deviation))


def test_hidden_values_change_nothing(fitted):
    model, x, observed = fitted
    other = torch.where(observed, x, 1e6)
    again = fit_block_linear_vae(other, observed, BLOCK_OF, 5)
    torch.testing.assert_close(again.point.loadings, model.point.loadings)
    torch.testing.assert_close(
        model.conditional_mean(other, observed), model.conditional_mean(x, observed)
    )


def test_the_point_model_has_exact_densities(fitted):
    model, x, observed = fitted
    covariance = model.point.loadings @ model.point.loadings.mT + torch.diag(
        model.point.noise_variance
    )
    for row in range(5):
        o = observed[row]
        expected = multivariate_normal(model.point.mean[o], covariance[o][:, o]).logpdf(x[row, o])
        ours = model.point.log_prob(x[row : row + 1], o[None])
        assert float(ours) == pytest.approx(expected)


def test_many_rows_give_factor_analysis():
    """With 5,000 rows the prior and the loadings' uncertainty fade."""
    x, _ = block_data(5000)
    ours = fit_block_linear_vae(x, everything(x), BLOCK_OF, 5, max_iter=400, tol=1e-7)
    theirs = fit_linear_vae(x, everything(x), 5, max_iter=400, ridge=0.0)
    score = ours.point.log_prob(x, everything(x)).mean()
    assert float(score) == pytest.approx(float(theirs.log_prob(x, everything(x)).mean()), abs=0.02)


def test_dimensions_that_nobody_needs_fall_silent():
    """Five dimensions offered to a factor that both blocks share and one of the first block."""
    n, block_of = 1000, torch.tensor([0] * 6 + [1] * 6)
    shared, private = normal(n, 1, seed=1), normal(n, 1, seed=2)
    x = shared @ normal(1, 12, seed=3) + 0.3 * normal(n, 12, seed=4)
    x[:, :6] += private @ normal(1, 6, seed=5)
    model = fit_block_linear_vae(x, everything(x), block_of, 5, max_iter=500, tol=1e-6)
    first, second = (torch.linalg.svdvals(model.point.loadings[block_of == b]) for b in range(2))
    assert first[1] > 5 * first[2]
    assert second[0] > 5 * second[1]


def test_rounds_are_counted():
    x, _ = block_data(60)
    for most in (0, 3):
        model = fit_block_linear_vae(x, everything(x), BLOCK_OF, 2, max_iter=most, tol=0.0)
        assert model.point.n_iter == most


def test_weights_count_as_rows():
    x, _ = block_data(80)
    observed = absent_blocks(80)
    times = torch.from_numpy(np.random.default_rng(0).integers(1, 4, 80))
    once = fit_block_linear_vae(x, observed, BLOCK_OF, 3, sample_weight=times.double())
    rows = torch.arange(80).repeat_interleave(times)
    many = fit_block_linear_vae(x[rows], observed[rows], BLOCK_OF, 3)
    torch.testing.assert_close(
        once.point.noise_variance, many.point.noise_variance, rtol=1e-5, atol=1e-8
    )
    torch.testing.assert_close(
        once.conditional_mean(x, observed), many.conditional_mean(x, observed), rtol=1e-5, atol=1e-6
    )


def test_single_holes_in_a_block():
    """Absent entries of held blocks are predicted almost as well as the truth's model does it."""
    x, loadings = block_data(600, noise=0.3)
    observed = torch.rand(x.shape, generator=seeded(3)) > 0.2
    model = fit_block_linear_vae(x, observed, BLOCK_OF, 5, max_iter=300, tol=1e-5)
    truth = fit_linear_vae(x, everything(x), 5, max_iter=0)
    truth = type(truth)(loadings, x.new_full((15,), 0.3), x.new_full((15,), 0.09))

    def error(of):
        return float((of.conditional_mean(x, observed) - x)[~observed].square().mean())

    assert error(model) < 1.25 * error(truth)
    assert error(model) < 0.5 * float(x[~observed].var())


def test_rows_that_show_nothing_have_the_prior(fitted):
    model, x, _ = fitted
    nothing = torch.zeros_like(x, dtype=torch.bool)
    mean, deviation = model.moments(x, nothing)
    assert float(mean.abs().max()) == 0
    torch.testing.assert_close(deviation, torch.ones_like(deviation))
    torch.testing.assert_close(model.conditional_mean(x, nothing), model.point.mean.expand_as(x))


def test_a_block_without_rows_is_an_error():
    x, _ = block_data(30)
    observed = everything(x)
    observed[:, BLOCK_OF == 2] = False
    with pytest.raises(ValueError, match="Block number 2"):
        fit_block_linear_vae(x, observed, BLOCK_OF, 2)


def test_averaged_loadings_predict_halves_of_digits_better_than_best_ones():
    """Few rows, many columns: factor analysis with as many dimensions overfits."""
    x = torch.from_numpy(load_digits().data)
    x = x[torch.randperm(len(x), generator=seeded())]
    train, test = x[:200], x[200:]
    keep = train.std(0) > 0.5
    mean, scale = train[:, keep].mean(0), train[:, keep].std(0)
    train, test = (train[:, keep] - mean) / scale, (test[:, keep] - mean) / scale
    block_of = (keep.nonzero().squeeze(1) >= 32).long()
    observed = everything(train)
    observed[:60, block_of == 1] = False
    shown = everything(test)
    shown[:, block_of == 1] = False

    def error(model):
        return float((model.conditional_mean(test, shown) - test)[~shown].square().mean())

    averaged = error(fit_block_linear_vae(train, observed, block_of, 25))
    best = error(fit_linear_vae(train, observed, 25))
    assert averaged < 0.95 * best
    assert averaged < 0.85 * float(test[~shown].square().mean())
