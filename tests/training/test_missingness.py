"""What a table says for and against values that are missing because of what they are."""

import pytest
import torch

from skvae.training.missingness import FIRST_SLOPES, find_direction, find_start, weigh_evidence
from skvae.training.selection import MaskPlan, SelectionFitter

FIRST = torch.tensor([True, False, False, False])
ANYWHERE = torch.zeros(4, dtype=torch.bool)


def plan(direction, selected=FIRST):
    return MaskPlan("self_masking", selected, direction, ANYWHERE, torch.zeros(4))


def at_random(x, generator):
    return torch.rand(x.shape, generator=generator) < 0.2


def above(x, generator):
    holes = at_random(x, generator)
    holes[:, 0] = x[:, 0] > 0.4
    return holes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("soft", [False, True])
def test_directions_are_those_of_the_law(toys, seed, soft):
    direction = torch.tensor([1.0, -1.0, -1.0, 1.0])

    def hidden(x, generator):
        away = direction * x - 0.7
        if soft:
            return torch.rand(x.shape, generator=generator) < torch.sigmoid(3 * away)
        return away > 0

    data, _ = toys.one_factor_tensors(hidden, 600, seed)
    assert torch.equal(find_direction(SelectionFitter(data, 1, 0)), direction)


def test_directions_do_not_follow_values_that_are_seen(toys):
    # Holes go with what other columns predict: with a column's own values they would say that
    # large ones are seen.
    data, _ = toys.one_factor_tensors(above, 600)
    fitter = SelectionFitter(data, 1, 0, max_iter=100)
    assert find_direction(fitter)[0] == 1
    fitter.data.features[:, 0] = torch.where(data.observed[:, 0], 30.0, 0.0)
    assert find_direction(fitter)[0] == 1


def test_a_start_is_one_of_those_on_offer(toys):
    data, _ = toys.one_factor_tensors(above, 300)
    fitter = SelectionFitter(data, 1, 0, max_iter=100)
    direction = find_direction(fitter)
    assert find_start(fitter, plan(direction)) in FIRST_SLOPES
    assert find_start(fitter, plan(direction, ANYWHERE)) == FIRST_SLOPES[0]


def test_holes_at_random_are_no_evidence_and_hidden_values_are(toys):
    for law in (at_random, above):
        data, _ = toys.one_factor_tensors(law, 800)
        fitter = SelectionFitter(data, 1, 0, max_iter=100)
        direction = find_direction(fitter)
        evidence, _ = weigh_evidence(fitter, plan(direction), 2.0, toys.seeded())
        assert evidence.tenable[0] == (law is above)
        assert not evidence.clear[1:].any()
        if law is above:
            assert evidence.joint.errors[0] > 2
        else:
            assert not evidence.clear[0]


def test_evidence_is_reproducible_and_of_selected_columns_only(toys):
    data, _ = toys.one_factor_tensors(above, 200)
    state = torch.get_rng_state()
    first, again = (
        weigh_evidence(
            SelectionFitter(data, 1, 0, max_iter=10), plan(torch.ones(4)), 2.0, toys.seeded()
        )[0]
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("dependence", "mask", "joint"):
        one, other = getattr(first, name), getattr(again, name)
        assert torch.equal(one.mean, other.mean)
        assert torch.isfinite(one.mean).all()
        assert (one.mean[1:] == 0).all()
        assert (one.error >= 0).all()
