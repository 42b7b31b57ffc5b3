"""`linear_report`: eigenvalues against the noise, what must collapse, and that it does."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from skvae import MultimodalVAE, VAETransformer
from skvae.datasets import ampute
from skvae.inspection import LinearReportDisplay, latent_report, linear_report

TABLES = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
KINDS = ["diagonal", "isotropic", 0.5, 1]


def fit(X, k, noise="diagonal", **options):
    return VAETransformer(k, hidden_layer_sizes=(), noise=noise, **options).fit(X)


def standardised(X):
    return StandardScaler().fit_transform(X)


def eigenvalues(Z):
    return np.linalg.eigvalsh(Z.T @ Z / len(Z))[::-1]


# The mathematics --------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, 0.5, 1, 3.0])
@pytest.mark.parametrize("name", TABLES)
def test_just_those_dimensions_collapse_that_must(name, noise):
    X = TABLES[name]().data
    k = min(8, X.shape[1])
    report = linear_report(fit(X, k, noise), X)
    frame, values = report.dimensions, eigenvalues(standardised(X))
    assert_allclose(frame["standardised_eigenvalue"], values[:k], rtol=1e-4)
    assert_allclose(frame["eigenvalue"], values[:k] / noise, rtol=1e-4)
    assert_array_equal(frame["must_collapse"], values[:k] <= noise)
    assert_array_equal(frame["collapsed"], values[:k] <= noise)
    assert report.agrees
    assert report.n_collapsed == (values[:k] <= noise).sum()
    assert report.noise_variance == pytest.approx(noise)
    assert (frame.loc[frame["collapsed"], "decoder_norm"] < 1e-6).all()


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("name", TABLES)
def test_decoder_columns_are_scaled_principal_components(name, noise):
    X = TABLES[name]().data
    report = linear_report(fit(X, 3, noise), X)
    frame = report.dimensions
    assert_allclose(frame["decoder_norm"], frame["expected_norm"], rtol=1e-3, atol=1e-5)
    assert_allclose(frame["decoder_norm"] ** 2 + 1, frame["eigenvalue"].clip(lower=1), rtol=1e-3)
    alive = frame[~frame["collapsed"]]
    assert_allclose(alive["alignment"], 1, atol=1e-4)
    assert frame.loc[frame["collapsed"], "alignment"].isna().all()
    assert (frame["noise_level"] == 1).all()
    assert report.agrees


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("name", TABLES)
def test_divergence_of_a_dimension_is_half_the_logarithm_of_its_eigenvalue(name, noise):
    X = TABLES[name]().data
    model = fit(X, 3, noise)
    frame = linear_report(model, X).dimensions
    assert_allclose(frame["kl"], 0.5 * np.log(frame["eigenvalue"].clip(lower=1)), atol=1e-3)
    assert_allclose(frame["kl"], latent_report(model, X).dimensions["kl"], rtol=1e-3, atol=1e-5)


def test_eigenvalues_are_those_of_the_noise_scaled_covariance():
    X = load_wine().data
    model = fit(X, 4)
    report = linear_report(model, X)
    scaled = standardised(X) / np.sqrt(model._latent.model.noise_variance[0].numpy())
    assert_allclose(report.eigenvalues, eigenvalues(scaled), rtol=1e-3)
    assert report.noise_variance is None
    assert "standardised_eigenvalue" not in report.dimensions


@pytest.mark.parametrize("noise", ["isotropic", 0.5, 1.2])
@pytest.mark.parametrize("name", TABLES)
def test_with_holes_the_relation_holds_for_what_is_expected(name, noise):
    X = ampute(TABLES[name]().data, "mar", rate=0.3, random_state=0)
    report = linear_report(fit(X, 3, noise), X)
    frame = report.dimensions
    assert report.agrees
    # Just above the noise rounds of expectation maximisation take long for the last of it.
    assert_allclose(frame["decoder_norm"] ** 2, frame["expected_norm"] ** 2, rtol=1e-3, atol=5e-3)
    assert_allclose(frame.loc[~frame["collapsed"], "alignment"], 1, atol=1e-3)


def test_noise_of_all_columns_with_holes():
    X = ampute(load_wine().data, rate=0.2, random_state=0)
    frame = linear_report(fit(X, 3), X).dimensions
    assert_allclose(frame["decoder_norm"], frame["expected_norm"], rtol=1e-2)
    assert_allclose(frame["alignment"], 1, atol=1e-3)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_weight_on_the_divergence_raises_the_noise(beta):
    X = load_wine().data
    report = linear_report(fit(X, 5, 0.5, beta=beta), X)
    values = eigenvalues(standardised(X))[:5]
    assert report.noise_variance == pytest.approx(0.5 * beta)
    assert_array_equal(report.dimensions["collapsed"], values <= 0.5 * beta)
    assert report.agrees
    assert_allclose(
        report.dimensions["decoder_norm"], report.dimensions["expected_norm"], atol=1e-4
    )


@pytest.mark.parametrize("rotation", ["varimax", "random"])
def test_turned_latents_are_turned_back(rotation):
    X = load_wine().data
    plain = linear_report(fit(X, 4, 1.0), X)
    turned = linear_report(fit(X, 4, 1.0, rotation=rotation, random_state=0), X)
    pd.testing.assert_frame_equal(turned.dimensions, plain.dimensions, rtol=1e-3, atol=1e-4)
    assert "turned to principal axes" in turned.verdict
    assert "turned" not in plain.verdict


def test_conditions_are_taken_off_first():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(load_iris().data, columns=list("abcd"))
    X["given"] = 3 * X["a"] + rng.normal(size=150)
    report = linear_report(fit(X, 3, 0.3, condition_on=["given"]), X)
    Z, given = standardised(X[list("abcd")]), standardised(X[["given"]])
    left = Z - given @ np.linalg.lstsq(given, Z, rcond=None)[0]
    # The effect of the condition is shrunk by a percent.
    assert_allclose(report.dimensions["standardised_eigenvalue"], eigenvalues(left)[:3], rtol=0.01)
    assert report.agrees
    assert report.n_collapsed == (eigenvalues(left)[:3] <= 0.3).sum() > 0


def test_beyond_the_rank_dimensions_collapse():
    X = np.random.default_rng(0).normal(size=(4, 8))
    for noise in ("isotropic", 0.01):
        report = linear_report(fit(X, 6, noise), X)
        assert_array_equal(report.dimensions["collapsed"], [False] * 3 + [True] * 3)
        assert report.agrees


def test_eigenvalues_level_with_the_noise_do_not_rise_above_it(tables):
    X = tables.two_factors()
    report = linear_report(fit(X, 4, "isotropic"), X)
    assert_array_equal(report.dimensions["must_collapse"], [False, False, True, True])
    assert report.agrees


def test_rows_come_in_pieces(monkeypatch):
    X = ampute(load_wine().data, rate=0.2, random_state=0)
    model = fit(X, 3, 0.5)
    whole = linear_report(model, X)
    monkeypatch.setattr("skvae.inspection.linear.HELD_AT_ONCE", 500)
    pd.testing.assert_frame_equal(linear_report(model, X).dimensions, whole.dimensions)


# In words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "noise", "verdict"),
    [
        (3, 0.1, "All 3 dimensions rise above the noise; none must collapse."),
        (1, 0.5, "The dimension rises above the noise; it must not collapse."),
        (3, 0.5, "1 of 3 dimensions lies below the noise: it must collapse, and does."),
        (4, 1.0, "3 of 4 dimensions lie below the noise: they must collapse, and do."),
    ],
)
def test_verdicts(k, noise, verdict):
    X = load_iris().data
    report = linear_report(fit(X, k, noise), X)
    assert report.verdict.startswith(verdict)
    assert ("loses nothing" in report.verdict) == (report.n_collapsed > 0)
    assert str(report).startswith(report.verdict)
    assert "expected_norm" in str(report)


def test_how_many_would_lose_nothing():
    X = load_iris().data
    assert linear_report(fit(X, 3, 0.5), X).verdict.endswith("n_components=2 loses nothing.")


def test_too_few_components_for_a_known_noise():
    X = load_iris().data
    verdict = linear_report(fit(X, 1, 0.5), X).verdict
    assert verdict.endswith("1 more would rise above it: n_components=2.")
    assert "more would" not in linear_report(fit(X, 1, "isotropic"), X).verdict


def test_remedies_where_all_must_collapse(tables):
    X = load_iris().data
    assert linear_report(fit(X, 2, 5), X).verdict.endswith("Lower noise (now 5).")
    weighed = linear_report(fit(X, 2, 2, beta=3), X)
    assert weighed.verdict.endswith("Lower noise (now 2) or beta.")
    nothing = tables.exact(150, np.eye(4))
    assert (
        "hidden_layer_sizes='auto'" in linear_report(fit(nothing, 2, "isotropic"), nothing).verdict
    )


def test_other_rows_may_disagree():
    X = standardised(load_wine().data)
    model = fit(X, 3, 1.0)
    report = linear_report(model, 0.1 * X)
    assert not report.agrees
    assert report.dimensions["must_collapse"].all()
    assert "Still in use: 0, 1, 2." in report.verdict
    assert "not the rows of the fit" in report.verdict
    wider = linear_report(fit(X, 4, 1.0), 3 * X)
    assert "Collapsed against theory: 3." in wider.verdict


def test_mixed_frames_are_looked_at_through_their_features():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    X = pd.DataFrame(
        {
            "amount": np.exp(z + 0.5 * rng.normal(size=300)),
            "group": np.where(z + rng.normal(size=300) > 0, "high", "low"),
            "visits": rng.poisson(np.exp(1 + 0.5 * z)),
        }
    )
    report = linear_report(fit(X, 2, "isotropic"), X)
    assert report.agrees
    assert "Not all columns are Gaussian" in report.verdict


def test_logarithms_of_positive_columns_are_gaussian():
    X = np.exp(load_iris().data)
    model = fit(X, 2, 0.5, column_types=dict.fromkeys(range(4), "positive"))
    report = linear_report(model, X)
    assert "Gaussian" not in report.verdict
    values = eigenvalues(standardised(np.log(X)))
    assert_allclose(report.dimensions["standardised_eigenvalue"], values[:2], rtol=1e-4)


# Bad input --------------------------------------------------------------------------------------


def test_networks_are_refused(cases):
    with pytest.raises(ValueError, match=r"exact for hidden_layer_sizes=\(\) only.*latent_report"):
        linear_report(*cases.bent)


def test_blocks_are_refused():
    X = pd.DataFrame(load_iris().data, columns=list("abcd"))
    model = MultimodalVAE({"one": ["a", "b"], "two": ["c", "d"]}, hidden_layer_sizes=()).fit(X)
    with pytest.raises(ValueError, match="takes a VAETransformer"):
        linear_report(model, X)


def test_a_single_row_is_refused(cases):
    model, X = cases.linear
    with pytest.raises(ValueError, match="single row"):
        linear_report(model, X[:1])


# The picture --------------------------------------------------------------------------------------


def heights(line):
    return line.get_ydata()


@pytest.mark.parametrize("noise", ["diagonal", 1.0])
def test_scree_plot(plt, noise):
    X = load_breast_cancer().data
    drawn = LinearReportDisplay.from_estimator(fit(X, 8, noise), X)
    frame = drawn.report.dimensions
    unit = 1.0 if noise == "diagonal" else noise
    gone = frame["collapsed"].to_numpy()
    assert_allclose(heights(drawn.points_["in use"]), unit * frame["eigenvalue"][~gone])
    assert_allclose(heights(drawn.points_["collapsed"]), unit * frame["eigenvalue"][gone])
    assert_allclose(
        heights(drawn.points_["beyond n_components"]), unit * drawn.report.eigenvalues[8:16]
    )
    assert_allclose(heights(drawn.level_), unit)
    assert drawn.points_["collapsed"].get_markerfacecolor() == "none"
    # Where theory holds, the decoder and the noise make up the eigenvalue.
    assert_allclose(heights(drawn.decoder_)[~gone], heights(drawn.points_["in use"]), rtol=1e-3)
    assert drawn.ax_.get_yscale() == "log"
    labels = [text.get_text() for text in drawn.ax_.get_legend().get_texts()]
    assert ("collapsed" in labels) == gone.any()
    assert any(label.startswith("noise level") for label in labels)
    drawn.figure_.canvas.draw()


def test_eigenvalues_of_zero_have_a_place(plt):
    X = np.random.default_rng(0).normal(size=(4, 8))
    drawn = LinearReportDisplay.from_estimator(fit(X, 6, 0.5), X)
    assert (heights(drawn.points_["collapsed"]) > 0).all()
    drawn.figure_.canvas.draw()


def test_given_axes_are_used(plt, cases):
    _, (left, right) = plt.subplots(1, 2)
    drawn = LinearReportDisplay.from_estimator(*cases.linear, ax=right)
    assert drawn.ax_ is right
    assert right.has_data()
    assert not left.has_data()
    assert drawn.plot() is drawn
    assert drawn.ax_ is not right
