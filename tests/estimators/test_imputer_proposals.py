"""`VAEImputer(inference=...)`: where the density's samples come from."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skvae import VAEImputer
from skvae.datasets import ampute

WAYS = ["amortized", "posterior_matching", "adaptive"]
QUICK = {"n_components": 2, "hidden_layer_sizes": (12,), "max_iter": 150, "random_state": 0}


@pytest.fixture(scope="module")
def curved():
    """Training rows, some whole, and others with many holes."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(-2, 2, size=300)
    X = np.column_stack([np.sin(angle), np.cos(angle), angle, angle**2])
    X += 0.1 * rng.normal(size=X.shape)
    train, test = X[:200].copy(), X[200:]
    train[:120] = ampute(train[:120], rate=0.3, random_state=0)
    return train, ampute(test, rate=0.5, random_state=1)


@pytest.fixture(scope="module")
def fitted(curved):
    return {way: VAEImputer(inference=way, **QUICK).fit(curved[0]) for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_all_fill_draw_bound_and_score(way, fitted, curved):
    model, X = fitted[way], curved[1]
    seen = ~np.isnan(X)
    for filled in (model.transform(X), *model.sample_imputations(X, 2, random_state=0)):
        assert_array_equal(filled[seen], X[seen])
        assert np.isfinite(filled).all()
    lower, upper = model.predict_interval(X)
    assert (lower <= upper).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


@pytest.mark.parametrize("way", WAYS)
def test_all_report_an_effective_sample_size(way, fitted, curved):
    size = fitted[way].effective_sample_size(curved[1])
    assert size.shape == (len(curved[1]),)
    assert ((size >= 1) & (size <= 32 + 1e-9)).all()


def test_adaptive_samples_are_worth_more(fitted, curved):
    amortized, adaptive = (fitted[way] for way in ("amortized", "adaptive"))
    assert (
        adaptive.effective_sample_size(curved[1]).mean()
        > amortized.effective_sample_size(curved[1]).mean()
    )
    assert adaptive.score(curved[1]) > amortized.score(curved[1]) - 0.01


def test_matching_is_part_of_the_history(fitted):
    model = fitted["posterior_matching"]
    assert set(model.loss_curve_) == {"generative", "masked", "matching"}
    assert model.validation_scores_["matching"].shape[1] == 2
    assert set(fitted["adaptive"].loss_curve_) == {"generative", "masked"}


@pytest.mark.parametrize("way", WAYS)
def test_rows_do_not_depend_on_each_other(way, fitted, curved):
    model, X = fitted[way], curved[1]
    filled, score = model.transform(X), model.score_samples(X)
    some = np.random.default_rng(0).permutation(len(X))[:21]
    assert_allclose(model.transform(X[some]), filled[some], atol=1e-5)
    assert_allclose(model.score_samples(X[some]), score[some], atol=1e-4)


@pytest.mark.parametrize("way", WAYS[1:])
def test_pickles_and_clones(way, fitted, curved):
    model, X = fitted[way], curved[1]
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))
    assert clone(model).inference == way


def test_linear_models_adapt_to_categories(curved):
    """Their posterior is exact for numbers only."""
    X = np.column_stack([curved[0], curved[0][:, 2] > 0])
    options = {**QUICK, "hidden_layer_sizes": (), "column_types": {4: "binary"}}
    one, two = (VAEImputer(inference=way, **options).fit(X) for way in WAYS[::2])
    gain = two.effective_sample_size(X) - one.effective_sample_size(X)
    assert gain.mean() > 0
    assert two.score(X) > one.score(X) - 0.01


@pytest.mark.parametrize("options", [{"hidden_layer_sizes": ()}, {"max_iter": 0}])
def test_linear_models_have_no_encoder_to_match(options, curved):
    model = VAEImputer(inference="posterior_matching", **{**QUICK, **options})
    with pytest.raises(ValueError, match=r"is for the networks"):
        model.fit(curved[0])


def test_matching_without_complete_rows(curved):
    model = VAEImputer(inference="posterior_matching", **QUICK)
    with pytest.raises(ValueError, match=r"rows are, and 20 must be.*inference='adaptive'"):
        model.fit(curved[0][:60])


def test_tables_that_do_not_vary():
    model = VAEImputer(inference="adaptive").fit([[1.0, 2.0], [1.0, 2.0]])
    assert_array_equal(model.effective_sample_size([[1.0, np.nan]]), 1.0)


def test_several_models(curved):
    model = VAEImputer(inference="adaptive", n_estimators=2, **QUICK).fit(curved[0])
    assert len(model.sample_imputations(curved[1], 2, random_state=0)) == 2


@pytest.mark.parametrize("value", ["exact", None, 1])
def test_bad_values_are_rejected(value, curved):
    with pytest.raises(InvalidParameterError, match="'inference' parameter"):
        VAEImputer(inference=value).fit(curved[0])
