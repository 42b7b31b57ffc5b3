"""Models of the mask are normalised, read the values they should, and integrate out the rest."""

import math

import numpy as np
import pytest
import torch

from skvae.distributions import Bernoulli, Categorical, ColumnLikelihoods, Gaussian, Ordinal
from skvae.models.missingness import (
    STEEPEST,
    STEP,
    Columns,
    ConnectedMasking,
    LatentMasking,
    SelfMasking,
    Values,
)
from skvae.tabular.scaling import TableScaler

# No kind next to its like, so that groups and columns are in different orders.
KINDS = ["binary", "continuous", "categorical", "ordinal", "continuous", "binary", "categorical"]
LEVELS = [2, 0, 3, 4, 0, 2, 4]
E, BATCH, S, K = 2, 5, 3, 2


def likelihoods():
    kinds = {"binary": lambda n: Bernoulli(), "categorical": Categorical, "ordinal": Ordinal}
    return ColumnLikelihoods(
        [kinds[kind](n) if n else Gaussian() for kind, n in zip(KINDS, LEVELS, strict=True)]
    )


@pytest.fixture
def table(toys):
    """Values, scaler and columns of a mixed table."""
    rng = np.random.default_rng(0)
    values = np.stack(
        [rng.normal(size=60) if not n else np.r_[:n, rng.integers(n, size=60 - n)] for n in LEVELS],
        1,
    ).astype(float)
    columns = [toys.column(kind, n) for kind, n in zip(KINDS, LEVELS, strict=True)]
    scaler = TableScaler().fit(values, np.ones_like(values, dtype=bool), columns)
    return values, scaler, Columns.of(likelihoods(), scaler.specs)


def one_hot(columns, values):
    """(n, n_levels)"""
    codes = torch.from_numpy(values).float()[:, columns.level_columns]
    return (codes == columns.level_codes).float()


def batch(columns, toys, seed=0, **given):
    """Random rows at random samples."""
    g = toys.seeded(seed)
    m, p = len(columns.numeric), columns.n_columns
    probabilities = torch.rand(E, BATCH, S, len(columns.level_columns), generator=g)
    total = torch.zeros(E, BATCH, S, p).index_add(-1, columns.level_columns, probabilities)
    codes = torch.stack([torch.randint(max(n, 1), (BATCH,), generator=g) for n in LEVELS], 1)
    visible = torch.rand(1, BATCH, 1, p, generator=g) < 0.5
    numbers = torch.randn(E, BATCH, 1, m, generator=g)
    location = torch.randn(E, BATCH, S, m, generator=g)
    drawn = location + torch.randn(location.shape, generator=g)
    parts = {
        "z": torch.randn(E, BATCH, S, K, generator=g),
        "numbers": numbers,
        "location": location,
        "variance": 0.3 + torch.rand(E, 1, 1, m, generator=g),
        "probabilities": probabilities / total[..., columns.level_columns],
        "codes": one_hot(columns, codes.numpy())[:, None],
        "visible": visible,
        "missing": ~visible[0],
        "completed": torch.where(visible[..., columns.numeric], numbers, drawn),
        "limits": torch.zeros(E, p),
    }
    return Values(**(parts | given))


def self_masking(columns, toys, selected=None, step=None, seed=0):
    g, p = toys.seeded(seed), columns.n_columns
    selected = torch.ones(E, p, dtype=torch.bool) if selected is None else selected
    law = SelfMasking(
        columns,
        selected,
        torch.randn(E, p, generator=g).sign(),
        torch.randn(E, p, generator=g),
        torch.ones(p),
        torch.zeros(p, dtype=torch.bool) if step is None else step,
        torch.tensor([1.5, 3.0]),
    )
    with torch.no_grad():
        law.level_logit.copy_(torch.randn(law.level_logit.shape, generator=g))
    return law


def laws(columns, toys, selected=None):
    """One of every kind, their networks not at zero."""
    selected = torch.ones(E, columns.n_columns, dtype=torch.bool) if selected is None else selected
    networks = [
        ConnectedMasking(columns, selected, (), toys.seeded(1)),
        ConnectedMasking(columns, selected, (8,), toys.seeded(1)),
        LatentMasking(columns, selected, K, (8,), toys.seeded(1)),
    ]
    for law in networks:
        with torch.no_grad():
            for parameter in law.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=toys.seeded(2)))
    return [self_masking(columns, toys, selected), *networks]


# Columns ----------------------------------------------------------------------------------------


def test_features_of_levels_are_the_scalers(table):
    values, scaler, columns = table
    observed = np.ones_like(values, dtype=bool)
    expected = torch.from_numpy(scaler.features(values, observed))
    finite = likelihoods().finite
    owners = torch.from_numpy(scaler.feature_columns)
    # Levels, and so their features, stand in the order of the likelihoods' statistics.
    order = [j for column in columns.level_columns.unique_consecutive() for j in at(owners, column)]
    assert len(order) == finite[owners].sum() == len(columns.feature_offset)
    features = one_hot(columns, values) @ columns.level_features + columns.feature_offset
    torch.testing.assert_close(features, expected[:, order], atol=1e-5, rtol=1e-5)


def at(owners, column):
    return (owners == column).nonzero().flatten().tolist()


def test_levels_have_codes_scores_and_their_place_among_statistics(table):
    _, scaler, columns = table
    assert columns.numeric.tolist() == [1, 4]
    assert columns.n_columns == len(KINDS)
    kinds = likelihoods()
    assert torch.equal(kinds.stat_columns[columns.level_statistics], columns.level_columns)
    for column, n in enumerate(LEVELS):
        own = columns.level_columns == column
        assert columns.level_codes[own].tolist() == list(range(n))
        nominal = KINDS[column] == "categorical"
        assert bool(columns.ordered[own].all()) == (not nominal)
        spec = scaler.specs[column]
        scores = (torch.arange(n) - spec.location) / spec.scale
        torch.testing.assert_close(
            columns.level_scores[own], torch.zeros(n) if nominal else scores.float()
        )


def test_tables_without_levels_or_without_numbers(toys):
    specs = toys.mixed_tensors(kinds=("continuous", "positive")).specs
    columns = Columns.of(ColumnLikelihoods([Gaussian()] * 2), specs)
    assert columns.numeric.tolist() == [0, 1]
    assert len(columns.level_columns) == len(columns.feature_offset) == 0
    data = toys.mixed_tensors(kinds=("binary", "ordinal"))
    columns = Columns.of(ColumnLikelihoods(data.likelihoods), data.specs)
    assert len(columns.numeric) == 0
    assert columns.level_codes.tolist() == [0, 1, 0, 1, 2, 3]


# Laws -------------------------------------------------------------------------------------------


def sides(law, columns, toys, **given):
    """Probability of a hole and of a value that is held out, everything else alike."""
    p = columns.n_columns
    unseen = torch.zeros(1, BATCH, 1, p, dtype=torch.bool)
    rows = {"visible": unseen} | given
    hidden = batch(columns, toys, missing=torch.ones(BATCH, 1, p, dtype=torch.bool), **rows)
    shown = batch(columns, toys, missing=torch.zeros(BATCH, 1, p, dtype=torch.bool), **rows)
    return law.log_prob(hidden), law.log_prob(shown)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("seen", [False, True])
def test_masks_are_normalised(table, toys, which, seen):
    columns = table[2]
    law = laws(columns, toys)[which]
    visible = torch.full((1, BATCH, 1, columns.n_columns), seen)
    hidden, shown = sides(law, columns, toys, visible=visible)
    assert hidden.shape == (E, BATCH, S, columns.n_columns)
    torch.testing.assert_close(hidden.exp() + shown.exp(), torch.ones_like(hidden))
    assert (hidden.exp() - 0.5).abs().max() > 0.1


@pytest.mark.parametrize("which", range(4))
def test_columns_without_a_model_say_nothing(table, toys, which):
    columns = table[2]
    selected = toys.random_mask(E, columns.n_columns, 0.5, 3)
    result = laws(columns, toys, selected)[which].log_prob(batch(columns, toys))
    everything = laws(columns, toys)[which].log_prob(batch(columns, toys))
    mask = selected[:, None, None].expand(result.shape)
    assert (result[~mask] == 0).all()
    torch.testing.assert_close(result[mask], everything[mask])


def test_self_masking_integrates_hidden_values_out(table, toys):
    # What is neither visible nor missing has a value that the mask let pass.
    columns = table[2]
    law = self_masking(columns, toys)
    rows = batch(columns, toys)
    hidden, shown = sides(law, columns, toys)
    noise = torch.special.ndtri((torch.arange(4000) + 0.5) / 4000)
    y = rows.location.unsqueeze(-1) + rows.variance.sqrt().unsqueeze(-1) * noise
    slope, threshold = (part.unsqueeze(-1) for part in law.tilt(rows.limits))
    share = torch.sigmoid(slope * (y - threshold)).mean(-1)
    numeric = columns.numeric
    torch.testing.assert_close(hidden[..., numeric].exp(), share, atol=1e-3, rtol=0)
    torch.testing.assert_close(shown[..., numeric].exp(), 1 - share, atol=1e-3, rtol=0)
    each = torch.sigmoid(law.level_logits())[:, None, None] * rows.probabilities
    for column in columns.level_columns.unique():
        share = each[..., columns.level_columns == column].sum(-1)
        torch.testing.assert_close(hidden[..., column].exp(), share)


def test_self_masking_reads_values_that_are_visible(table, toys):
    columns = table[2]
    law = self_masking(columns, toys)
    everything = torch.ones(1, BATCH, 1, columns.n_columns, dtype=torch.bool)
    _, shown = sides(law, columns, toys, visible=everything)
    rows = batch(columns, toys)
    slope, threshold = law.tilt(rows.limits)
    expected = torch.sigmoid(-slope * (rows.numbers - threshold)).expand(rows.location.shape)
    torch.testing.assert_close(shown[..., columns.numeric].exp(), expected)
    logits = (law.level_logits()[:, None] * rows.codes[:, 0]).unsqueeze(2)
    for column in columns.level_columns.unique():
        own = logits[..., columns.level_columns == column].sum(-1)
        expected = torch.sigmoid(-own).expand(E, BATCH, S)
        torch.testing.assert_close(shown[..., column].exp(), expected)


def test_ordered_levels_hide_by_their_code_others_by_a_logit_of_their_own(table, toys):
    columns = table[2]
    law = self_masking(columns, toys)
    logits, ordered = law.level_logits(), columns.ordered
    torch.testing.assert_close(logits[:, ~ordered], law.level_logit[:, ~ordered])
    for column in (0, 3, 5):
        steps = logits[:, columns.level_columns == column].diff(dim=-1)
        sign = law.direction[:, column, None]
        assert (steps * sign > 0).all()
        torch.testing.assert_close(steps, steps[:, :1].expand(steps.shape))


def test_a_censored_column_hides_beyond_its_limit_and_nothing_else(table, toys):
    columns = table[2]
    step = torch.zeros(columns.n_columns, dtype=torch.bool)
    step[1] = True
    law = self_masking(columns, toys, step=step)
    limits = torch.full((E, columns.n_columns), 0.4)
    slope, threshold = law.tilt(limits)
    assert torch.equal(slope[:, 0, 0, 0].abs(), torch.full((E,), STEP))
    assert torch.equal(threshold[:, 0, 0, 0], limits[:, 1])
    hidden, _ = sides(law, columns, toys, limits=limits)
    rows = batch(columns, toys)
    away = (rows.location[..., 0] - 0.4) / rows.variance[..., 0].sqrt()
    expected = torch.special.ndtr(law.direction[:, 1, None, None] * away)
    torch.testing.assert_close(hidden[..., 1].exp(), expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize("missing", [True, False])
def test_draws_are_beyond_or_before_the_limit(table, toys, missing):
    columns = table[2]
    step = torch.ones(columns.n_columns, dtype=torch.bool)
    law = self_masking(columns, toys, step=step)
    mask = torch.full((BATCH, 1, columns.n_columns), missing)
    rows = batch(columns, toys, visible=torch.zeros_like(mask)[None], missing=mask)
    g = toys.seeded(4)
    drawn = law.draw(rows, torch.rand(2, S, 2, generator=g), torch.randn(S, 2, generator=g))
    side = law.direction[:, None, None, columns.numeric] * (1 if missing else -1)
    assert (drawn * side > -0.02).all()


def test_draws_of_columns_without_a_model_are_those_of_the_decoder(table, toys):
    columns = table[2]
    selected = torch.zeros(E, columns.n_columns, dtype=torch.bool)
    selected[0, 1] = True
    rows = batch(columns, toys)
    uniform, noise = torch.rand(2, S, 2), torch.zeros(S, 2)
    drawn = self_masking(columns, toys, selected).draw(rows, uniform, noise)
    assert torch.equal(drawn[1], rows.completed[1])
    assert torch.equal(drawn[0, ..., 1], rows.completed[0, ..., 1])
    assert not torch.equal(drawn[0, ..., 0], rows.completed[0, ..., 0])
    for law in laws(columns, toys)[1:]:
        assert torch.equal(law.draw(rows, uniform, noise), rows.completed)
        assert law.level_logits() is None


def test_a_logistic_law_sees_the_features_of_the_whole_row(table, toys):
    values, _, columns = table
    law = laws(columns, toys)[1]
    codes = one_hot(columns, values[:BATCH])[:, None]
    numbers = torch.from_numpy(values[:BATCH, columns.numeric.numpy()]).float()[:, None]
    rows = batch(
        columns,
        toys,
        visible=torch.ones(1, BATCH, 1, columns.n_columns, dtype=torch.bool),
        missing=torch.ones(BATCH, 1, columns.n_columns, dtype=torch.bool),
        codes=codes,
        completed=numbers.expand(E, -1, S, -1),
    )
    finite = codes[:, 0] @ columns.level_features + columns.feature_offset
    row = torch.cat([numbers[:, 0], finite], -1)
    weight, bias = law.law.weights[0], law.law.biases[0]
    logits = row @ weight + bias.reshape(E, 1, -1)
    expected = torch.sigmoid(logits)[:, :, None].expand(-1, -1, S, -1)
    torch.testing.assert_close(law.log_prob(rows).exp(), expected)


# Priors and gradients ---------------------------------------------------------------------------


def test_usual_slopes_cost_least(table, toys):
    columns = table[2]
    law = self_masking(columns, toys)
    with torch.no_grad():
        law.level_logit.zero_()
        costs = []
        for slope in (0.02, 0.5, 2.0, 8.0, 200.0):
            law.log_slope.fill_(math.log(slope))
            costs.append(law.penalty())
    costs = torch.stack(costs)
    torch.testing.assert_close(costs[2], torch.zeros(E), atol=1e-5, rtol=0)
    assert (costs[1] > costs[2]).all()
    assert (costs[0] > costs[1]).all()
    torch.testing.assert_close(costs[1], costs[3], rtol=1e-4, atol=1e-4)
    assert law.slope.abs().max() == STEEPEST


def test_unselected_columns_cost_nothing(table, toys):
    columns = table[2]
    selected = torch.zeros(E, columns.n_columns, dtype=torch.bool)
    law = self_masking(columns, toys, selected)
    with torch.no_grad():
        law.level_logit.zero_()
    torch.testing.assert_close(law.penalty(), torch.zeros(E))


@pytest.mark.parametrize("which", range(4))
def test_gradients_and_penalties_are_finite(table, toys, which):
    columns = table[2]
    law = laws(columns, toys)[which]
    penalty = law.penalty()
    assert penalty.shape == (E,)
    assert (penalty >= 0).all()
    loss = penalty.sum() - law.log_prob(batch(columns, toys)).sum()
    for gradient in torch.autograd.grad(loss, list(law.parameters())):
        assert torch.isfinite(gradient).all()
        assert (gradient != 0).any()
