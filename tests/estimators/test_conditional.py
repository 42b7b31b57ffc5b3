"""Conditional VAEs: the columns of `condition_on` are given, the others modelled."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from skvae import VAETransformer

# Three species identify one latent of `p(z | c)`.
pytestmark = pytest.mark.filterwarnings("ignore:The columns of condition_on take 3 different")

FORMS = ["decoder", "prior", "both"]


def iris_frame():
    frame = load_iris(as_frame=True).frame
    frame["target"] = pd.Categorical(np.array(["setosa", "versicolor", "virginica"])[frame.target])
    return frame.rename(columns={"target": "species"})


@pytest.fixture(scope="module", params=FORMS)
def fitted(request):
    X = iris_frame()
    options = {"condition_on": ["species"], "conditioning": request.param}
    return X, VAETransformer(2, max_iter=400, random_state=0, **options).fit(X)


@pytest.fixture(scope="module")
def by_decoder():
    X = iris_frame()
    return X, VAETransformer(2, condition_on=["species"], max_iter=60, random_state=0).fit(X)


def test_draws_follow_their_condition(fitted):
    X, model = fitted
    for species in X["species"].cat.categories:
        drawn = model.sample(400, condition={"species": species}, random_state=0)
        assert (drawn["species"] == species).all()
        real = X.loc[X["species"] == species, "petal length (cm)"]
        assert drawn["petal length (cm)"].mean() == pytest.approx(real.mean(), abs=0.35)
        assert list(drawn.columns) == list(X.columns)
        assert (drawn.dtypes == X.dtypes).all()


def test_without_a_condition_those_of_training_rows_are_drawn(fitted):
    _, model = fitted
    share = model.sample(600, random_state=0)["species"].value_counts(normalize=True)
    assert_allclose(share, 1 / 3, atol=0.08)


def test_counterfactuals_change_the_condition_and_what_hangs_on_it(fitted):
    X, model = fitted
    setosa = X[X["species"] == "setosa"]
    as_virginica = model.counterfactual(setosa, condition={"species": "virginica"})
    assert_array_equal(as_virginica.index, setosa.index)
    assert (as_virginica["species"] == "virginica").all()
    assert as_virginica["petal length (cm)"].mean() > 4.5
    same = model.counterfactual(setosa, condition={"species": "setosa"})
    pd.testing.assert_frame_equal(same, model.reconstruct(setosa), rtol=1e-3, atol=1e-3)


def test_large_flowers_stay_large(fitted):
    X, model = fitted
    versicolor = X[X["species"] == "versicolor"]
    other = model.counterfactual(versicolor, condition={"species": "virginica"})
    name = "sepal length (cm)"
    assert np.corrcoef(versicolor[name], other[name])[0, 1] > 0.5


def test_the_right_condition_explains_a_row_better(fitted):
    X, model = fitted
    wrong = X.assign(species=X["species"].cat.rename_categories(lambda s: s).iloc[::-1].to_numpy())
    wrong["species"] = pd.Categorical(wrong["species"], X["species"].cat.categories)
    assert model.score(X) > model.score(wrong) + 1


def test_both_estimates_of_the_conditional_density_agree(fitted):
    X, model = fitted
    some = X.iloc[::10]
    importance = model.score_samples(some, n_samples=1024)
    prior = model.score_samples(some, method="prior", n_samples=50_000)
    assert_allclose(importance, prior, atol=0.3)


def test_rows_may_have_holes_elsewhere(fitted):
    X, model = fitted
    holes = X.copy()
    holes.iloc[:, 0] = np.nan
    assert np.isfinite(model.score_samples(holes)).all()
    assert model.reconstruct(holes).notna().all().all()


def test_same_model_after_pickling_and_for_any_order(fitted):
    X, model = fitted
    z = model.transform(X)
    assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), z)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(model.transform(X.iloc[order]), z[order], atol=1e-5)


def test_a_linear_conditional_model_regresses_on_its_condition():
    rng = np.random.default_rng(0)
    c = rng.normal(size=(3000, 2))
    z = rng.normal(size=(3000, 1))
    effect = np.array([[1.0, -0.5, 0.3, 0.0], [0.2, 0.8, 0.0, -1.0]])
    x = c @ effect + z @ np.array([[0.8, 0.6, -0.7, 0.5]]) + 0.4 * rng.normal(size=(3000, 4))
    X = np.column_stack([x, c])
    model = VAETransformer(1, hidden_layer_sizes=(), condition_on=[4, 5]).fit(X)
    at = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    means = model.inverse_transform(np.zeros((3, 1)), condition=at)[:, :4]
    regression = LinearRegression().fit(c, x)
    assert_allclose(means[:2] - means[2], regression.coef_.T, atol=0.05)
    residual = x - regression.predict(c)
    from sklearn.decomposition import FactorAnalysis

    exact = FactorAnalysis(1, tol=1e-8, max_iter=5000).fit(residual).score(residual)
    assert model.score(X) == pytest.approx(exact, abs=0.02)


def test_digits_of_a_label_look_like_it():
    X, y = load_digits(return_X_y=True)
    train, judge = slice(0, 1200), slice(1200, None)
    critic = SVC(C=10).fit(X[judge], y[judge])
    table = np.column_stack([X[train], y[train]])
    model = VAETransformer(
        10,
        condition_on=[64],
        column_types={64: "categorical"},
        max_iter=800,
        random_state=0,
    ).fit(table)
    labels = np.repeat(np.arange(10), 30)
    drawn = model.sample(300, condition=labels[:, None], random_state=0)
    assert_array_equal(drawn[:, 64], labels)
    assert (critic.predict(drawn[:, :64]) == labels).mean() > 0.85


def test_conditions_of_several_containers(by_decoder):
    _, model = by_decoder
    frame = pd.DataFrame({"other": [1, 2], "species": ["setosa", "virginica"]}, index=[5, 6])
    by_frame = model.sample(2, condition=frame, random_state=0)
    for same in (
        {"species": ["setosa", "virginica"]},
        [["setosa"], ["virginica"]],
        ["setosa", "virginica"],
    ):
        pd.testing.assert_frame_equal(by_frame, model.sample(2, condition=same, random_state=0))
    one = model.sample(3, condition="setosa", random_state=0)
    assert (one["species"] == "setosa").all()


def test_walks_keep_the_condition_of_their_start(by_decoder):
    X, model = by_decoder
    path = model.interpolate(X[:2], X[-2:], 4)
    assert (path["species"] == "setosa").all()
    path = model.interpolate(X[:2], X[-2:], 4, condition={"species": "virginica"})
    assert (path["species"] == "virginica").all()
    moved = model.shift(X[:3], np.ones(2), 0.5)
    assert_array_equal(moved["species"], X["species"][:3])


def test_numeric_conditions_and_searches():
    X = load_iris(as_frame=True).data
    name = "petal width (cm)"
    model = VAETransformer(
        condition_on=[name], hidden_layer_sizes=(8,), max_iter=30, random_state=0
    )
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2).fit(X)
    assert search.best_estimator_.sample(2, condition={name: [0.2, 2.0]}).shape == (2, 4)
    assert make_pipeline(FunctionTransformer(), model).fit(X).transform(X).shape[0] == 150


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_learnt_priors_go_with_a_conditional_decoder(prior):
    X = iris_frame()
    model = VAETransformer(
        2, prior=prior, condition_on=["species"], max_iter=40, random_state=0
    ).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert model.sample(5, condition="setosa", source="aggregated").shape == (5, 5)
    assert len(model.sample(5, condition="setosa")) == 5


# Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition_on", "words"),
    [
        (["colour"], "unknown column 'colour'; X has: .*species"),
        (["species", "species"], "twice: .'species'"),
        ([], "empty"),
        ("species", "condition_on"),
        (list(iris_frame().columns), "none is left to model"),
    ],
)
def test_bad_columns(condition_on, words):
    model = VAETransformer(2, condition_on=condition_on, max_iter=5)
    with pytest.raises(ValueError, match=words):
        model.fit(iris_frame())


def test_conditions_with_holes_or_without_variation():
    X = iris_frame()
    holes = X.copy()
    holes.loc[3, "species"] = None
    with pytest.raises(ValueError, match=r"'species' of condition_on is absent.*1 row.*position 3"):
        VAETransformer(2, condition_on=["species"], max_iter=5).fit(holes)
    with pytest.raises(ValueError, match=r"'species' of condition_on has a single value"):
        VAETransformer(2, condition_on=["species"], max_iter=5).fit(X[:50])
    X["empty"] = np.nan
    with (
        pytest.warns(UserWarning, match="empty"),
        pytest.raises(ValueError, match=r"'empty' of condition_on has no values"),
    ):
        VAETransformer(2, condition_on=["empty"], max_iter=5).fit(X)


def test_bad_conditions(by_decoder):
    X, model = by_decoder
    for condition, words in [
        ({"species": "tulip"}, r"'species'.*unknown \(known: 'setosa'.*position 0"),
        ({"species": None}, "'species' of condition_on is absent"),
        ({"colour": "red"}, r"lacks the columns \['species'\]"),
        ([["setosa", "x"]], "one column for each of condition_on"),
        ([["setosa"], ["setosa"], ["setosa"]], "3 rows, but n_samples is 2"),
        (["setosa"] * 3, "3 rows, but n_samples is 2"),
        (pd.DataFrame({"species": []}), r"0 sample\(s\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.sample(2, condition=condition)
    with pytest.raises(ValueError, match="pass condition="):
        model.inverse_transform(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="absent"):
        model.transform(X.assign(species=np.nan))
    with pytest.warns(UserWarning, match="tulip"), pytest.raises(ValueError, match="unknown"):
        model.transform(X[:3].assign(species="tulip"))


def test_whole_numbers_take_no_fractions():
    X = iris_frame().assign(n=pd.array(np.arange(150) % 40 + 20, dtype="Int64"))
    model = VAETransformer(2, condition_on=["n"], max_iter=10, random_state=0).fit(X)
    assert (model.sample(3, condition={"n": 50}, random_state=0)["n"] == 50).all()
    for strange in (50.7, 20.5):
        with pytest.raises(ValueError, match=f"'n' of condition_on cannot be {strange:g}"):
            model.sample(2, condition={"n": strange})
    with pytest.raises(ValueError, match=r"condition: .*infinity"):
        model.sample(2, condition={"n": np.inf})


def test_models_without_a_condition_take_none():
    X = load_iris().data
    model = VAETransformer(2, hidden_layer_sizes=()).fit(X)
    with pytest.raises(ValueError, match="has no condition"):
        model.sample(2, condition=[1.0])
    with pytest.raises(ValueError, match="condition_on"):
        model.counterfactual(X, condition=[1.0])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"conditioning": "prior", "prior": "vamp"}, "a prior of their own"),
        ({"conditioning": "both", "hidden_layer_sizes": ()}, "conditioning='both'.*has none"),
        ({"conditioning": "encoder"}, "'conditioning'"),
    ],
)
def test_contradictions(parameters, words):
    with pytest.raises(ValueError, match=words):
        VAETransformer(2, condition_on=["species"], **parameters).fit(iris_frame())
