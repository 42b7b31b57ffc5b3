"""Fits of values and holes find what hides values, and where."""

from functools import cache

import pytest
import torch

from skvae.distributions import Gaussian
from skvae.inference.ensemble import Table
from skvae.inference.selection import SelectionSource, Units
from skvae.training.selection import MaskPlan, SelectionFitter

FIRST = torch.tensor([True, False, False, False])
NONE = torch.zeros(4, dtype=torch.bool)
STEPS = 200


def hiding(law):
    """Of the first column; a fifth of the last is missing for no reason."""

    def hidden(x, generator):
        uniform = torch.rand(x.shape, generator=generator)
        holes = torch.zeros_like(x, dtype=torch.bool)
        if law in ("above", "below"):
            holes[:, 0] = x[:, 0] > 0.4 if law == "above" else x[:, 0] < -0.4
        else:
            holes[:, 0] = uniform[:, 0] < torch.sigmoid(3.0 * (x[:, 0] - 0.6))
        holes[:, 3] = uniform[:, 3] < 0.2
        return holes

    return hidden


def plan(direction=1.0, model="self_masking", selected=FIRST, limit=None, p=4):
    censored = torch.zeros(p, dtype=torch.bool)
    limits = torch.zeros(p)
    if limit is not None:
        censored[0], limits[0] = True, limit
    return MaskPlan(model, selected, torch.full((p,), direction), censored, limits)


def fit(fitter, of, n_steps=STEPS, slope=2.0):
    data, fitter.n_steps = fitter.data, n_steps
    return fitter.fit(
        of, data.observed[None], of.selected[None], data.weight[None], torch.tensor([slope])
    )


def predictions(model, data):
    """Expected features of numbers and probabilities of levels, (n, n_statistics)."""
    x = data.features[:, model.numeric_features]
    zero, one = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
    units = Units(zero.long(), zero, one, -20 * one, 20 * one, one, zero)
    table = Table(data.features, data.targets, data.observed, data.feature_columns)
    return SelectionSource(model, units, model.likelihoods.stat_order, 0).statistics(table)[0]


@pytest.fixture(scope="module")
def fitted(toys):
    """By law: values, fitter and model."""

    @cache
    def get(law):
        data, x = toys.one_factor_tensors(hiding(law))
        fitter = SelectionFitter(data, 1, 0)
        return x, fitter, fit(fitter, plan(-1.0 if law == "below" else 1.0))

    return get


@pytest.mark.parametrize("law", ["above", "below", "logistic"])
def test_hidden_values_come_out_less_biased_than_if_holes_said_nothing(fitted, law):
    x, fitter, model = fitted(law)
    hidden = ~fitter.data.observed[:, 0]
    truth = x[hidden, 0].mean()
    ours = predictions(model, fitter.data)[hidden, 0].mean()
    ignoring = fitter.linear.conditional_mean(fitter.data.features, fitter.data.observed)
    assert (ours - truth).abs() < 0.25 * (ignoring[hidden, 0].mean() - truth).abs()


@pytest.mark.parametrize("law", ["above", "below", "logistic"])
def test_the_law_is_found(fitted, law):
    x, fitter, model = fitted(law)
    observed = fitter.data.observed[:, 0]
    slope = float(model.mask_model.slope[0, 0])
    threshold = model.untransform(model.mask_model.threshold[:, None, None])[0, 0, 0, 0]
    if law == "logistic":
        # Where it is as likely as not that a value is hidden; 3 in units of the column.
        near = (x[:, 0] - threshold).abs() < 0.25
        assert 0.35 < (~observed[near]).float().mean() < 0.65
        slope_there = 3.0 * (x[:, 0].std() ** -1)
        assert 0.6 < slope / slope_there < 1.6
    else:
        sign = 1.0 if law == "above" else -1.0
        assert slope * sign > 15
        edge = x[observed, 0].amax() if law == "above" else x[observed, 0].amin()
        assert (threshold - edge).abs() < 0.15


def test_a_known_limit_stays_where_it_is(toys):
    data, x = toys.one_factor_tensors(hiding("above"), 600)
    limit = float(x[data.observed[:, 0], 0].max())
    fitter = SelectionFitter(data, 1, 0)
    model = fit(fitter, plan(limit=limit), 150)
    _, threshold = model.mask_model.tilt(model._limits())
    moved = model.transform(torch.full((4,), limit))[0]
    torch.testing.assert_close(threshold[0, 0, 0, 0], moved[0, 0, 0])
    hidden = ~data.observed[:, 0]
    assert (predictions(model, data)[hidden, 0] > limit).all()


def test_members_of_one_fit_may_believe_different_things(toys):
    data, _ = toys.one_factor_tensors(hiding("above"), 600)
    fitter = SelectionFitter(data, 1, 0, max_iter=150)
    selected = torch.stack([FIRST, NONE])
    model = fitter.fit(
        plan(), data.observed[None], selected, data.weight.expand(2, -1), torch.ones(2)
    )
    zero, one = torch.zeros(4), torch.ones(4)
    units = Units(zero.long(), zero, one, -5 * one, 5 * one, one, zero)
    table = Table(data.features, data.targets, data.observed, data.feature_columns)
    both = SelectionSource(model, units, model.likelihoods.stat_order, 0).statistics(table)
    hidden = ~data.observed[:, 0]
    ignoring = fitter.linear.conditional_mean(data.features, data.observed)[hidden, 0].mean()
    believing, other = both[:, hidden, 0].mean(1)
    assert (other - ignoring).abs() < 0.25
    assert believing > other + 0.5


def test_rows_without_weight_are_not_learnt_from(toys):
    # Rows of another sign, without weight: loadings keep theirs.
    data, _ = toys.one_factor_tensors(lambda x, g: torch.rand(x.shape, generator=g) < 0.1, 400)
    fitter = SelectionFitter(data, 1, 0, max_iter=80)
    rows = torch.arange(400) < 200
    data.features[rows, 1] *= -1
    model = fitter.fit(
        plan(selected=NONE),
        data.observed[None],
        NONE[None],
        (~rows).float()[None],
        torch.ones(1),
    )
    loadings = model.weight[0, 0]
    assert loadings[0] * loadings[1] > 0.3


@pytest.mark.parametrize("model", ["self_masking", "fully_connected", "network", "latent"])
def test_tables_of_all_kinds_train(toys, model):
    data = toys.mixed_tensors(120)
    p = data.observed.shape[1]
    fitter = SelectionFitter(data, 2, 0)
    selected = torch.ones(p, dtype=torch.bool)
    state = torch.get_rng_state()
    result = fit(fitter, plan(1.0, model, selected, p=p), 20)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter in result.parameters():
        assert torch.isfinite(parameter).all()
        assert not parameter.requires_grad
    # Numbers are normal on a scale of their own, whatever their density elsewhere.
    kinds = result.likelihoods.likelihoods
    assert all(hasattr(kind, "n_categories") or kind == Gaussian() for kind in kinds)


def test_seeds_decide(toys):
    data = toys.mixed_tensors(60)
    p = data.observed.shape[1]
    of = plan(selected=torch.ones(p, dtype=torch.bool), p=p)
    # Models in other places in memory, and none of them twice in the same.
    fits = [fit(SelectionFitter(data, 2, 0), of, 20) for _ in range(5)]
    for again in fits[1:]:
        for name, value in fits[0].state_dict().items():
            assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(fits[0].weight, fit(SelectionFitter(data, 2, 1), of, 20).weight)


def test_what_hidden_entries_hold_does_not_matter(toys):
    data = toys.mixed_tensors(60)
    p = data.observed.shape[1]
    of = plan(selected=torch.ones(p, dtype=torch.bool), p=p)
    clean = fit(SelectionFitter(data, 2, 0), of, 5)
    data.features.masked_fill_(~data.observed[:, data.feature_columns], 7.0)
    data.targets.masked_fill_(~data.observed, 7.0)
    dirty = fit(SelectionFitter(data, 2, 0), of, 5)
    for name, value in clean.state_dict().items():
        assert torch.equal(value, dirty.state_dict()[name]), name


def test_floors_are_modelled_as_such(toys):
    # Values pile up at -0.5 and hide above: the floor is found, and predicted from.
    data, _ = toys.one_factor_tensors(hiding("above"), 600)
    data.features[:, 0].clamp_(min=-0.5)
    fitter = SelectionFitter(data, 1, 0)
    model = fit(fitter, plan(), 60)
    assert model.piles.side.tolist() == [-1.0, 0.0, 0.0, 0.0]
    assert model.piles.value[0] == -0.5
    assert predictions(model, data)[:, 0].min() >= -0.5


def test_a_known_limit_of_codes_stays_where_it_is(toys):
    data = toys.mixed_tensors(200, kinds=("ordinal", "continuous"))
    codes, observed = data.targets[:, 1], data.observed[:, 1]
    observed &= codes < 2
    spec = data.specs[1]
    limit = (1.5 - spec.location) / spec.scale
    censored = torch.tensor([False, True])
    of = MaskPlan("self_masking", censored, torch.ones(2), censored, torch.full((2,), limit))
    model = fit(SelectionFitter(data, 1, 0), of, 60)
    logits = model.mask_model.level_logits()[0]
    assert (logits[:2] < -50).all()
    assert (logits[2:] > 50).all()
    # After the number come four levels.
    above = predictions(model, data)[:, 3:].sum(-1)
    assert (above[~observed] > 0.999).all()
    assert (above[observed] < 0.001).all()
