"""What the encoder sees: values, masks and how far values have passed through their bins."""

import math

import pytest
import torch

from skvae.nn import EncoderInputs, quantile_edges


def normals(n, q, seed=0):
    return torch.randn(n, q, generator=torch.Generator().manual_seed(seed))


def complete(x):
    return torch.ones_like(x, dtype=torch.bool)


def inputs_of(x, n_bins=4, **options):
    return EncoderInputs(*quantile_edges(x, complete(x), n_bins), **options)


def test_inputs_are_values_masks_and_encodings():
    x = normals(100, 3)
    x[:, 1] = (x[:, 1] > 0).float()
    inputs = inputs_of(x)
    assert inputs.encoded.tolist() == [0, 2]  # two values need no bins
    observed = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) < 0.7
    result = inputs(x, observed)
    assert result.shape == (100, inputs.width(3)) == (100, 2 * 3 + 2 * 4)
    torch.testing.assert_close(result[:, :3], x * observed)
    assert torch.equal(result[:, 3:6], observed.float())
    passed = result[:, 6:].unflatten(1, (2, 4))
    low, high = inputs.edges[:, :-1], inputs.edges[:, 1:]
    expected = ((x[:, [0, 2], None] - low) / (high - low)).clamp(0, 1)
    torch.testing.assert_close(passed, expected * observed[:, [0, 2], None])


def test_encodings_grow_from_zero_to_one():
    x = normals(200, 1)
    inputs = inputs_of(x, 8)
    line = torch.linspace(-10, 10, 500).unsqueeze(1)
    passed = inputs(line, complete(line))[:, 2:]
    assert (passed >= 0).all()
    assert (passed <= 1).all()
    assert (passed.diff(dim=0) >= 0).all()
    assert (passed[0] == 0).all()
    assert (passed[-1] == 1).all()
    # A bin fills only when the ones before it are full.
    assert (passed.diff(dim=1) <= 0).all()
    assert ((passed > 0) & (passed < 1)).sum(1).max() == 1


def test_values_enter_clamped():
    x = normals(100, 2)
    inputs = inputs_of(x, clip=2.5)
    extreme = torch.tensor([[1e30, -1e30], [math.inf, -math.inf]])
    result = inputs(extreme, complete(extreme))
    assert torch.isfinite(result).all()
    assert result[:, :2].tolist() == [[2.5, -2.5]] * 2


@pytest.mark.parametrize("garbage", [1e30, math.inf, -math.inf, math.nan])
def test_hidden_features_give_zeros(garbage):
    x = normals(50, 3)
    inputs = inputs_of(x)
    observed = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    clean = inputs(x, observed)
    assert clean.shape == (2, 50, inputs.width(3))
    dirty = torch.cat([inputs(x.where(mask, garbage), mask[None]) for mask in observed])
    assert torch.equal(clean, dirty)
    hidden = torch.cat([~observed, ~observed, (~observed).repeat_interleave(4, -1)], -1)
    assert (clean[hidden] == 0).all()


def test_inputs_without_any_bins():
    x = (normals(30, 2) > 0).float()
    inputs = inputs_of(x)
    assert inputs(x, complete(x)).shape == (30, inputs.width(2)) == (30, 4)


def test_edges_are_quantiles():
    x = normals(2000, 2)
    edges, encoded = quantile_edges(x, complete(x), 5)
    assert edges.shape == (2, 6)
    assert encoded.tolist() == [0, 1]
    share = (x.mT.unsqueeze(-1) <= edges.unsqueeze(1)).float().mean(1)
    torch.testing.assert_close(share, torch.linspace(0, 1, 6).expand(2, 6), atol=5e-3, rtol=0)


@pytest.mark.parametrize("n_bins", [1, 4, 9, 32])
@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([0.0, 1.0, 2.0]).repeat(20),
        torch.tensor([0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0]),
        torch.tensor([0.0] * 60 + [0.01 * i for i in range(60)]),
        torch.arange(5.0).repeat(7),
        torch.arange(33.0),
        torch.tensor([0.0, 1e-7, 2e-7]).repeat(9),
        torch.tensor([-30.0, 0.0, 500.0]).repeat(3),
    ],
    ids=["three", "rare", "half", "five", "distinct", "close", "far"],
)
def test_edges_increase_however_often_values_repeat(values, n_bins):
    x = values.unsqueeze(1)
    edges, encoded = quantile_edges(x, complete(x), n_bins)
    assert edges.shape == (1, n_bins + 1)
    assert encoded.tolist() == [0]
    assert (edges.diff() > 0).all()
    result = EncoderInputs(edges, encoded)(x, complete(x))
    assert torch.isfinite(result).all()


def test_few_distinct_values_are_told_apart():
    x = torch.tensor([-1.0, 0.0, 0.5, 2.0]).unsqueeze(1)
    passed = inputs_of(x, 8)(x, complete(x))[:, 2:]
    torch.testing.assert_close(passed[:, :3], torch.ones(4, 3).tril(-1), atol=0.01, rtol=0)
    assert (passed[:, 3:] == 0).all()  # nothing lies past the last value


def test_edges_come_from_observed_entries():
    x = normals(100, 2)
    observed = torch.rand(100, 2, generator=torch.Generator().manual_seed(1)) < 0.5
    clean = quantile_edges(x, observed, 4)
    dirty = quantile_edges(x.where(observed, 1e30), observed, 4)
    assert torch.equal(clean[0], dirty[0])
    observed[:, 0] = False
    assert quantile_edges(x, observed, 4)[1].tolist() == [1]


def test_bins_of_large_numbers_are_no_narrower_than_rounding():
    x = torch.cat([torch.zeros(60), torch.full((30,), 2e8), torch.tensor([1e8])]).unsqueeze(1)
    inputs = inputs_of(x, 24)
    assert (inputs.edges.diff(dim=1) > 0).all()
    assert torch.isfinite(inputs(x, complete(x))).all()
