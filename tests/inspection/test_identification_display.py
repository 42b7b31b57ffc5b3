"""The picture of what comes back."""

import numpy as np
import pytest

from skvae import VAETransformer
from skvae.inspection import IdentifiabilityDisplay, identifiability


@pytest.fixture(scope="module")
def report(cases):
    return identifiability(*cases.layered, n_refits=3)


def test_dots_and_means_are_those_of_the_report(report, plt):
    display = IdentifiabilityDisplay(report).plot()
    verdicts = report.latents["verdict"]
    assert set(display.dots_) == set(display.means_) == set(verdicts) - {"inactive"}
    for verdict, dots in display.dots_.items():
        at = np.flatnonzero(verdicts == verdict)
        places, heights = np.asarray(dots.get_offsets()).T
        assert sorted(heights) == pytest.approx(sorted(report.correlations[:, at].ravel()))
        assert set(places.round().astype(int)) == set(at)
        lines = display.means_[verdict].get_segments()
        assert [line[0, 1] for line in lines] == pytest.approx(report.latents["correlation"][at])


def test_from_estimator_draws_on_given_axes(cases, plt):
    _, ax = plt.subplots()
    display = IdentifiabilityDisplay.from_estimator(*cases.linear, 1, ax=ax, marker="x")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.report.refits.shape[0] == 1
    assert "after a linear map" in ax.get_title()


def test_nothing_active_is_drawn_on_grey(tables, plt):
    X = tables.exact(150, np.eye(4))
    model = VAETransformer(2, hidden_layer_sizes=(), noise="isotropic").fit(X)
    display = IdentifiabilityDisplay.from_estimator(model, X, 1, fraction=1.0)
    assert not display.dots_
    assert display.ax_.get_title() == ""
