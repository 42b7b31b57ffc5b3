"""`SemiSupervisedVAEClassifier`: what it promises, and how it does on real data."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import SemiSupervisedVAEClassifier
from skvae.datasets import ampute

MODELS = ["m1", "m2", "m1+m2", "auxiliary", "skip_auxiliary"]
SMALL = {"hidden_layer_sizes": (12,), "max_iter": 60, "random_state": 0}


def blobs(n=300, share=(0.5, 0.3, 0.2), seed=0):
    """Three Gaussian classes in four dimensions."""
    random = np.random.default_rng(seed)
    y = random.choice(3, n, p=share)
    centres = np.array([[0, 0, 0, 0], [3, 1, 0, -2], [-2, 3, 1, 0]], dtype=float)
    return centres[y] + random.normal(size=(n, 4)), y


def mixed_frame(n=300, seed=0):
    random = np.random.default_rng(seed)
    y = random.choice(["cat", "dog"], n)
    z = np.where(y == "dog", 1.0, -1.0) + 0.7 * random.normal(size=n)
    frame = pd.DataFrame(
        {
            "weight": 8 + 3 * z + random.normal(size=n),
            "meals": random.poisson(np.exp(1 + 0.3 * z)),
            "coat": pd.Categorical(np.where(z + random.normal(size=n) > 0, "short", "long")),
        },
        index=pd.Index(np.arange(n) + 1000, name="id"),
    )
    return frame.mask(random.random(frame.shape) < 0.1), y.astype(object)


def hide_labels(y, n_known, seed=0):
    known = np.full(len(y), -1, dtype=np.asarray(y).dtype)
    random = np.random.default_rng(seed)
    each = [random.permutation(np.flatnonzero(y == c)) for c in np.unique(y)]
    chosen = np.concatenate([rows[: n_known // len(each)] for rows in each])
    known[chosen] = y[chosen]
    return known


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_classes(model):
    X, y = blobs(500)
    known = hide_labels(y, 30)
    classifier = SemiSupervisedVAEClassifier(model, **SMALL).fit(X[:400], known[:400])
    p = classifier.predict_proba(X[400:])
    assert p.sum(axis=1) == pytest.approx(1)
    assert np.exp(classifier.predict_log_proba(X[400:])) == pytest.approx(p)
    assert classifier.score(X[400:], y[400:]) > 0.85
    assert (classifier.predict(X[400:]) == classifier.classes_[p.argmax(axis=1)]).all()
    assert (classifier.transduction_ == y[:400]).mean() > 0.85
    labelled = known[:400] >= 0
    assert (classifier.transduction_[labelled] == y[:400][labelled]).all()
    latents = classifier.transform(X[400:])
    assert latents.shape == (100, len(classifier.get_feature_names_out()))
    assert np.isfinite(latents).all()


@pytest.mark.parametrize("model", MODELS)
def test_densities_and_rows_of_a_class(model):
    X, y = blobs(600)
    classifier = SemiSupervisedVAEClassifier(model, **SMALL).fit(X, hide_labels(y, 60))
    scores = classifier.score_samples(X)
    assert np.isfinite(scores).all()
    far = classifier.score_samples(X[:50] + 15)
    assert far.mean() < scores.mean() - 5
    for label in range(3):
        drawn = classifier.sample(200, y=label, random_state=0)
        assert drawn.shape == (200, 4)
        away = np.linalg.norm(X[y == label].mean(axis=0) - drawn.mean(axis=0))
        assert away < 1.2
        assert (classifier.predict(drawn) == label).mean() > 0.6
    labels = np.repeat([0, 1], 20)
    assert classifier.sample(40, y=labels, random_state=1).shape == (40, 4)
    assert classifier.sample(5, random_state=1).shape == (5, 4)


@pytest.mark.parametrize("model", ["m2", "auxiliary", "m1+m2"])
def test_densities_are_near_the_truth(model):
    share = np.array([0.5, 0.3, 0.2])
    X, y = blobs(1500, share)
    classifier = SemiSupervisedVAEClassifier(
        model, hidden_layer_sizes=(16,), max_iter=600, random_state=0
    ).fit(X[:1000], hide_labels(y, 90)[:1000])
    centres = np.array([[0, 0, 0, 0], [3, 1, 0, -2], [-2, 3, 1, 0]], dtype=float)
    density = sum(
        p * multivariate_normal.pdf(X[1000:], mean=c) for p, c in zip(share, centres, strict=True)
    )
    estimate = classifier.score_samples(X[1000:]).mean()
    assert np.log(density).mean() - 0.8 < estimate < np.log(density).mean() + 0.1


def test_linear_model_without_networks():
    X, y = blobs()
    classifier = SemiSupervisedVAEClassifier(hidden_layer_sizes=(), random_state=0)
    classifier.fit(X, hide_labels(y, 30))
    assert classifier.score(X, y) > 0.85
    assert classifier.n_iter_ >= 1
    assert np.isfinite(classifier.score_samples(X)).all()


def test_strings_holes_and_mixed_columns():
    frame, y = mixed_frame()
    known = y.copy()
    known[60:] = -1
    classifier = SemiSupervisedVAEClassifier(**SMALL).fit(frame, known)
    assert classifier.classes_.tolist() == ["cat", "dog"]
    assert classifier.score(frame, y) > 0.8
    drawn = classifier.sample(50, y="dog", random_state=0)
    assert list(drawn.columns) == ["weight", "meals", "coat"]
    assert drawn.dtypes["coat"] == frame.dtypes["coat"]
    assert drawn["weight"].mean() > classifier.sample(50, y="cat", random_state=0)["weight"].mean()
    nothing = frame.iloc[:2].copy()
    nothing.loc[:, :] = np.nan
    p = classifier.predict_proba(nothing.astype(frame.dtypes.drop("meals").to_dict()))
    assert p[0] == pytest.approx(p[1])
    assert 0.2 < p[0, 0] < 0.8  # a row that shows nothing says nothing
    assert classifier.score_samples(nothing.astype(frame.dtypes.drop("meals").to_dict())) == (
        pytest.approx(0)
    )


@pytest.mark.parametrize("absent", [np.nan, None, pd.NA, -1])
def test_labels_may_be_absent_in_any_way(absent):
    frame, y = mixed_frame(120)
    known = y.copy()
    known[40:] = absent
    classifier = SemiSupervisedVAEClassifier(**SMALL).fit(frame, known)
    other = known.copy()
    other[40:] = -1
    same = SemiSupervisedVAEClassifier(**SMALL).fit(frame, pd.Series(other))
    assert np.array_equal(classifier.predict_proba(frame), same.predict_proba(frame))


def test_float_labels_are_classes():
    X, y = blobs(150)
    known = np.where(np.arange(150) < 50, y.astype(float), np.nan)
    classifier = SemiSupervisedVAEClassifier(**SMALL).fit(X, known)
    assert classifier.classes_.tolist() == [0.0, 1.0, 2.0]
    assert classifier.predict(X).dtype == float


def test_holes_are_averaged_over():
    """Of a class told by one column, rows without it get the frequencies that the rest allows."""
    random = np.random.default_rng(0)
    y = random.choice(2, 400)
    X = np.column_stack([4.0 * y + random.normal(size=400), random.normal(size=400)])
    classifier = SemiSupervisedVAEClassifier(**SMALL).fit(X, y)
    whole = classifier.predict_proba(X)
    holed = X.copy()
    holed[:, 0] = np.nan
    p = classifier.predict_proba(holed)
    assert np.abs(whole - 0.5).mean() > 0.4
    assert np.abs(p - 0.5).mean() < 0.25
    assert p.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.15)


@pytest.mark.parametrize("model", MODELS)
def test_holes_that_training_never_showed(model):
    """Less shown is less said: of a discrete column left out, densities rise; nothing explodes."""
    frame, y = mixed_frame(300)
    whole = frame.dropna()
    known = np.where(np.arange(len(whole)) < 60, y[: len(frame)][frame.notna().all(axis=1)], -1)
    classifier = SemiSupervisedVAEClassifier(model, **SMALL).fit(whole, known)
    less = whole.assign(coat=None)
    assert (classifier.score_samples(less) > classifier.score_samples(whole) - 4).all()
    assert classifier.score_samples(less).mean() > classifier.score_samples(whole).mean()
    assert np.abs(classifier.transform(less)).max() < 2 * np.abs(classifier.transform(whole)).max()
    agree = classifier.predict(less) == classifier.predict(whole)
    assert agree.mean() > 0.8
    nothing = whole.head(1).assign(weight=np.nan, meals=np.nan, coat=None)
    assert classifier.predict_proba(nothing).max() < 0.8


def test_learned_label_prior():
    """Balanced labels, unbalanced rows: the frequencies of the rows are found."""
    X, y = blobs(1500, share=(0.8, 0.1, 0.1))
    known = hide_labels(y, 60)
    priors = {
        prior: SemiSupervisedVAEClassifier(label_prior=prior, **SMALL).fit(X, known).label_prior_
        for prior in ("learned", "empirical", "uniform")
    }
    assert priors["learned"][0] > 0.6
    assert priors["uniform"] == pytest.approx(1 / 3)
    assert priors["empirical"] == pytest.approx(1 / 3)


def test_class_weight_multiplies_odds():
    X, y = blobs()
    known = hide_labels(y, 60)
    plain = SemiSupervisedVAEClassifier(**SMALL).fit(X, known).predict_proba(X)
    weighted = SemiSupervisedVAEClassifier(class_weight={1: 3.0}, **SMALL).fit(X, known)
    p = weighted.predict_proba(X)
    sure = (plain > 1e-4).all(axis=1)
    ratio = (p[sure, 1] / p[sure, 0]) / (plain[sure, 1] / plain[sure, 0])
    assert ratio == pytest.approx(3)


def test_rows_of_weight_zero_are_not_there():
    X, y = blobs(200)
    known = hide_labels(y, 40)
    weight = (np.arange(200) < 150).astype(float)
    one = SemiSupervisedVAEClassifier(**SMALL).fit(X, known, sample_weight=weight)
    two = SemiSupervisedVAEClassifier(**SMALL).fit(X[:150], known[:150])
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    assert len(one.transduction_) == 150


def test_predictions_do_not_depend_on_company():
    frame, y = mixed_frame(200)
    classifier = SemiSupervisedVAEClassifier(**SMALL).fit(frame, y)
    whole = classifier.predict_proba(frame)
    assert classifier.predict_proba(frame.iloc[::-1])[::-1] == pytest.approx(whole, abs=1e-6)
    assert classifier.predict_proba(frame.iloc[17:18])[0] == pytest.approx(whole[17], abs=1e-6)


@pytest.mark.parametrize("model", ["m2", "m1+m2", "skip_auxiliary"])
def test_deterministic_and_picklable(model):
    X, y = blobs(150)
    known = hide_labels(y, 30)
    state = torch.random.get_rng_state()
    one = SemiSupervisedVAEClassifier(model, **SMALL).fit(X, known)
    two = clone(one).fit(X, known)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
    again = pickle.loads(pickle.dumps(one))
    assert np.array_equal(one.predict_proba(X), again.predict_proba(X))
    assert one.sample(4, random_state=3) == pytest.approx(again.sample(4, random_state=3))


def test_in_pipeline_and_grid_search():
    X, y = blobs(200)
    pipeline = make_pipeline(StandardScaler(), SemiSupervisedVAEClassifier(**SMALL))
    search = GridSearchCV(
        pipeline, {"semisupervisedvaeclassifier__model": ["m1", "m2"]}, scoring="accuracy", cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.8


def test_frames_out():
    X, y = blobs(120)
    classifier = SemiSupervisedVAEClassifier(**SMALL).set_output(transform="pandas")
    latents = classifier.fit(pd.DataFrame(X, columns=list("abcd")), y).transform(
        pd.DataFrame(X, columns=list("abcd"))
    )
    assert latents.columns[0] == "semisupervisedvaeclassifier0"


@pytest.mark.parametrize(
    ("load", "n_known", "least"),
    [(load_wine, 30, 0.9), (load_breast_cancer, 50, 0.9), (load_digits, 100, 0.85)],
)
def test_few_labels_on_real_data(load, n_known, least):
    X, y = load(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), stratify=y, random_state=0)
    known = hide_labels(y[train], n_known)
    classifier = SemiSupervisedVAEClassifier(random_state=0).fit(X[train], known)
    p = classifier.predict_proba(X[test])
    assert classifier.score(X[test], y[test]) > least
    scaler = StandardScaler().fit(X[train])
    labelled = known >= 0
    plain = LogisticRegression(max_iter=2000).fit(
        scaler.transform(X[train][labelled]), known[labelled]
    )
    rival = log_loss(y[test], plain.predict_proba(scaler.transform(X[test])))
    assert log_loss(y[test], p) < rival + 0.05


def test_holes_cost_little_on_real_data():
    X, y = load_breast_cancer(return_X_y=True)
    holed = ampute(X, rate=0.3, random_state=0)
    train, test = train_test_split(np.arange(len(y)), stratify=y, random_state=0)
    classifier = SemiSupervisedVAEClassifier(random_state=0)
    classifier.fit(holed[train], hide_labels(y[train], 50))
    assert classifier.score(holed[test], y[test]) > 0.88
