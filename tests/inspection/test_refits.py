"""Copies of an estimator: their settings, and the rows that they see."""

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae.inspection.refits import part_of_rows, refits

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0}


def copies(model, X, n=2, fraction=0.8):
    return [one for one, _, _ in refits(model, X, n, fraction, 0)]


def draw(values, levels, fraction, seed=0, observed=None):
    values = np.asarray(values, dtype=float)
    observed = np.ones(values.shape, dtype=bool) if observed is None else observed
    random = np.random.RandomState(seed)
    return part_of_rows(values, observed, np.asarray(levels), fraction, random)


@pytest.mark.parametrize("seed", range(20))
def test_every_level_stays(seed):
    rng = np.random.default_rng(seed)
    values = np.zeros((100, 3))
    values[rng.integers(100), 0] = 1  # a single row of this level
    values[:, 1] = np.arange(100) % 10
    values[:3, 2] = [5, 6, 7]  # rare ones among zeros
    rows = draw(values, [True, True, True], 0.1, seed)
    for column in values.T:
        assert set(column[rows]) == set(column)


@pytest.mark.parametrize("seed", range(20))
def test_numbers_vary(seed):
    values = np.zeros((100, 2))
    values[seed, 0] = 3.0
    values[:, 1] = np.arange(100)
    rows = draw(values, [False, False], 0.2, seed)
    assert np.ptp(values[rows], axis=0).min() > 0
    assert 20 <= len(rows) <= 21


def test_holes_are_no_level():
    values, observed = np.zeros((50, 2)), np.zeros((50, 2), dtype=bool)
    values[[3, 4], 0], observed[[3, 4], 0] = [1, 2], True  # the second column is empty
    rows = draw(values, [True, True], 0.1, observed=observed)
    assert {3, 4} <= set(rows)
    assert len(rows) <= 7


def test_rows_are_distinct_in_order_and_as_many_as_asked():
    values = np.random.default_rng(0).normal(size=(100, 2))
    rows = draw(values, [False, False], 0.8)
    assert len(rows) == 80
    assert (np.diff(rows) > 0).all()
    assert len(draw(values, [False, False], 1.0)) == 100
    assert set(rows) != set(draw(values, [False, False], 0.8, seed=1))


def test_networks_start_at_axes_of_their_own():
    X = np.random.default_rng(0).normal(size=(60, 4))
    for rotation in ("auto", "varimax"):
        model = VAETransformer(2, rotation=rotation, **SMALL).fit(X)
        one, other = copies(model, X)
        assert (one.rotation, other.rotation) == ("random", "random")
        assert one.random_state != other.random_state
        assert model.rotation == rotation


@pytest.mark.parametrize("rotation", ["auto", "principal", "varimax", "random"])
def test_linear_models_keep_their_rotation(tables, rotation):
    X = tables.two_factors(60)
    model = VAETransformer(2, hidden_layer_sizes=(), rotation=rotation).fit(X)
    assert copies(model, X)[0].rotation == rotation


@pytest.mark.parametrize(("given", "kept"), [("auto", None), (None, 4), ((2, 1), (2, 1)), (3, 3)])
def test_numbers_of_latents_are_kept(given, kept):
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = VAETransformer(given, **SMALL).fit(X)
    kept = model.n_components_ if kept is None else kept
    assert [one.n_components for one in copies(model, X)] == [kept, kept]


def test_kinds_of_whole_numbers_are_kept():
    # Counts only thanks to their largest value: most parts of the rows do not have it.
    counts = np.r_[np.tile([0, 1, 1, 2], 15), 9]
    frame = pd.DataFrame({"n": counts, "x": np.random.default_rng(0).normal(size=61)})
    model = VAETransformer(1, **SMALL).fit(frame)
    assert model._codec.columns[0].kind == "count"
    for one in copies(model, frame, 4, 0.5):
        assert one._codec.columns[0].kind == "count"


def test_what_the_user_declared_is_kept():
    X = np.random.default_rng(0).integers(5, size=(60, 3))
    model = VAETransformer(1, column_types={0: "continuous", 1: "ordinal"}, **SMALL).fit(X)
    kinds = [column.kind for column in copies(model, X)[0]._codec.columns]
    assert kinds == ["continuous", "ordinal", model._codec.columns[2].kind]


def test_rare_levels_of_a_condition_are_known_to_all():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=50), "y": rng.normal(size=50), "group": "a"})
    frame.loc[7, "group"] = "b"
    model = VAETransformer(1, condition_on=["group"], **SMALL).fit(frame)
    for _, latents, _ in refits(model, frame, 5, 0.3, 0):
        assert latents.shape == (50, 1)


def test_containers(tables):
    X = tables.two_factors(40, 3)
    model = VAETransformer(1, hidden_layer_sizes=()).fit(X)
    model.set_output(transform="pandas")
    for table in (X, X.tolist()):
        assert next(refits(model, table, 1, 0.8, 0))[1].shape == (40, 1)
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
    model = VAETransformer(1, hidden_layer_sizes=()).fit(frame)
    assert next(refits(model, frame, 1, 0.8, 0))[1].shape == (40, 1)
