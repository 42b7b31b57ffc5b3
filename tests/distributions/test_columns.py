"""A table of mixed columns is its columns, one by one."""

import copy
import math

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
    Poisson,
    StudentT,
)

MIXED = [
    Gaussian(),
    Categorical(3),
    Ordinal(4),
    Gaussian(),
    Poisson(),
    StudentT(),
    Categorical(3),
    Bernoulli(),
    Categorical(2),
    NegativeBinomial(),
    Ordinal(4),
    LogNormal(),
    Bernoulli(),
]
TABLES = {
    "mixed": MIXED,
    "gaussian": [Gaussian()] * 5,
    "categorical": [Categorical(3)] * 2,
    "poisson": [Poisson()] * 3,
    "sorted": [Gaussian(), Gaussian(), Ordinal(3), Bernoulli()],
}


@pytest.fixture(params=TABLES)
def table(request):
    """Columns, parameters for 2 samples of z and 6 rows, and rows drawn from them."""
    columns = ColumnLikelihoods(TABLES[request.param])
    generator = torch.Generator().manual_seed(0)
    driven = torch.randn(2, 6, columns.n_driven, generator=generator, dtype=torch.float64)
    free = torch.randn(columns.n_free, generator=generator, dtype=torch.float64)
    x = columns.sample(driven, free, generator)[0]
    return columns, driven, free, x


def one_by_one(columns, driven, free):
    """Each column's likelihood with its own share of the parameters."""
    for j, likelihood in enumerate(columns.likelihoods):
        yield (
            j,
            likelihood,
            driven[..., columns.driven_columns == j].unsqueeze(-2),
            free[..., columns.free_columns == j].unsqueeze(-2),
        )


def test_widths_add_up(table):
    columns, *_ = table
    assert columns.n_columns == len(columns.likelihoods)
    for name, index in [
        ("n_driven", columns.driven_columns),
        ("n_free", columns.free_columns),
        ("n_statistics", columns.stat_columns),
    ]:
        expected = torch.tensor([getattr(one, name) for one in columns.likelihoods])
        assert torch.equal(index.bincount(minlength=columns.n_columns), expected)
        assert getattr(columns, name) == expected.sum() == len(index)


def test_groups_partition_the_columns(table):
    columns, *_ = table
    seen = torch.cat([group.columns for group in columns.groups])
    assert sorted(seen.tolist()) == list(range(columns.n_columns))
    assert len({group.likelihood for group in columns.groups}) == len(columns.groups)
    for group in columns.groups:
        assert all(columns.likelihoods[j] == group.likelihood for j in group.columns)
        owners = columns.driven_columns[group.driven]
        assert torch.equal(owners, group.columns.repeat_interleave(group.likelihood.n_driven))


def test_log_prob_is_that_of_each_column(table):
    columns, driven, free, x = table
    result = columns.log_prob(driven, free, x)
    assert result.shape == (2, 6, columns.n_columns)
    for j, likelihood, own_driven, own_free in one_by_one(columns, driven, free):
        expected = likelihood.log_prob(own_driven, own_free, x[:, [j]])
        torch.testing.assert_close(result[..., [j]], expected)


def test_statistics_and_points_are_those_of_each_column(table):
    columns, driven, free, _ = table
    statistics = columns.statistics(driven, free).mean(0)
    points = columns.point(statistics)
    assert points.shape == (6, columns.n_columns)
    for j, likelihood, own_driven, own_free in one_by_one(columns, driven, free):
        expected = likelihood.statistics(own_driven, own_free).mean(0)
        torch.testing.assert_close(statistics[:, columns.stat_columns == j], expected.squeeze(-2))
        torch.testing.assert_close(points[:, [j]], likelihood.point(expected))
    torch.testing.assert_close(
        columns.mean(driven, free), columns.point(columns.statistics(driven, free))
    )


def test_points_decide_as_each_kind_asks():
    columns = ColumnLikelihoods([Gaussian(), Categorical(3), Ordinal(3), Bernoulli()])
    statistics = torch.tensor([[1.5, 0.4, 0.25, 0.35, 0.4, 0.25, 0.35, 0.3, 0.7]])
    assert columns.point(statistics).tolist() == [[1.5, 0.0, 1.0, 1.0]]


def test_samples_belong_to_their_columns(table):
    columns, driven, free, x = table
    assert torch.isfinite(columns.log_prob(driven[0], free, x)).all()
    state = torch.get_rng_state()
    draws = [columns.sample(driven, free, torch.Generator().manual_seed(s)) for s in (0, 0)]
    columns.sample(driven, free)
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(state, torch.get_rng_state())


def test_start_values_are_those_of_each_column(table):
    columns, _, _, x = table
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    driven, free = columns.init_driven(x, observed), columns.init_free(x, observed)
    for j, likelihood, own_driven, own_free in one_by_one(columns, driven, free):
        mine = x[:, [j]], observed[:, [j]]
        torch.testing.assert_close(own_driven, likelihood.init_driven(*mine))
        torch.testing.assert_close(own_free, likelihood.init_free(*mine))


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30])
def test_hidden_entries_cannot_matter(table, garbage):
    columns, driven, free, x = table
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    results = []
    for rows in (x, x.where(observed, garbage)):
        parameters = driven.clone().requires_grad_(), free.clone().requires_grad_()
        log_prob = columns.log_prob(*parameters, rows, observed)
        gradients = torch.autograd.grad(log_prob.sum(), parameters, allow_unused=True)
        results.append([log_prob, *(g for g in gradients if g is not None)])
    for clean, dirty in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, dirty)
    assert (results[0][0][:, ~observed] == 0).all()


def test_members_may_have_their_own_free_parameters(table):
    columns, driven, free, x = table
    shifted = torch.stack([free, free + 0.1]).unsqueeze(1)
    together = columns.log_prob(driven, shifted, x)
    for member in range(2):
        torch.testing.assert_close(
            together[member], columns.log_prob(driven[member], shifted[member, 0], x)
        )


def test_one_kind_of_columns_is_never_copied_or_reordered():
    columns = ColumnLikelihoods([Gaussian()] * 4)
    driven, x = torch.randn(3, 4), torch.randn(3, 4)
    assert columns.statistics(driven, torch.zeros(4)).data_ptr() == driven.data_ptr()
    assert columns.point(driven).data_ptr() == driven.data_ptr()
    log_prob = columns.log_prob(driven.requires_grad_(), torch.zeros(4), x)
    pending, operations = [log_prob.grad_fn], set()
    while pending:
        node = pending.pop()
        operations.add(node.name())
        pending += [parent for parent, _ in node.next_functions if parent is not None]
    copying = ("Index", "Cat", "Gather", "Slice", "Select", "Clone")
    assert not [name for name in operations if name.startswith(copying)]


def test_indices_are_buffers_but_no_state():
    columns = ColumnLikelihoods(MIXED)
    assert columns.state_dict() == {}
    moved = copy.deepcopy(columns).to("meta")
    assert moved.driven_columns.device.type == "meta"
    assert all(group.columns.device.type == "meta" for group in moved.groups)


def test_wrong_widths_are_named():
    columns = ColumnLikelihoods(MIXED)
    driven, free = torch.zeros(2, columns.n_driven), torch.zeros(columns.n_free)
    x = torch.zeros(2, columns.n_columns)
    with pytest.raises(ValueError, match="driven must have"):
        columns.log_prob(driven[:, 1:], free, x)
    with pytest.raises(ValueError, match="free must have"):
        columns.log_prob(driven, free[1:], x)
    with pytest.raises(ValueError, match="x must have"):
        columns.log_prob(driven, free, x[:, 1:])
    with pytest.raises(ValueError, match="at least one column"):
        ColumnLikelihoods([])


def test_variance_is_that_of_each_column_and_zero_for_categories(table):
    columns, driven, free, _ = table
    variance = columns.variance(driven, free)
    assert variance.shape == (2, 6, columns.n_columns)
    for j, likelihood, own_driven, own_free in one_by_one(columns, driven, free):
        if hasattr(likelihood, "n_categories"):
            assert (variance[..., j] == 0).all()
        else:
            expected = likelihood.variance(own_driven, own_free)
            torch.testing.assert_close(variance[..., [j]], expected)


def test_a_single_category_has_variance_zero():
    columns = ColumnLikelihoods([Categorical(1), Gaussian()])
    variance = columns.variance(torch.zeros(2, 2), torch.zeros(1))
    assert variance.tolist() == [[0.0, 1.0]] * 2
