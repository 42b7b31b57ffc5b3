"""The display of one row's explanation."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skvae import VAEOutlierDetector, VAETransformer
from skvae.inspection import ExplanationDisplay

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    z = random.normal(size=200)
    frame = pd.DataFrame(
        {"a": z, "b": z + 0.1 * random.normal(size=200), "c": np.where(z > 0, "up", "down")}
    )
    return VAEOutlierDetector(max_iter=60, random_state=0).fit(frame), frame


def test_bars_are_the_contributions(fitted):
    detector, frame = fitted
    odd = frame.copy()
    odd.loc[4, "b"] = 8.0
    display = ExplanationDisplay.from_estimator(detector, odd, row=4)
    table = detector.explain(odd.iloc[[4]]).loc[4]
    heights = [bar.get_width() for bar in display.bars_][::-1]
    np.testing.assert_allclose(heights, table["contribution"])
    words = [label.get_text().split("\n") for label in display.ax_.get_yticklabels()][::-1]
    assert [name for name, _ in words] == list(table.index)
    assert words[0][0] == "b"
    assert words[0][1].startswith("8, expected ")
    plt.close(display.figure_)


def test_it_draws_on_given_axes_and_few_columns(fitted):
    detector, frame = fitted
    _, ax = plt.subplots()
    display = ExplanationDisplay.from_estimator(detector, frame, n_columns=2, ax=ax)
    assert display.ax_ is ax
    assert len(display.bars_) == 2
    plt.close(display.figure_)


def test_bad_input_is_named(fitted):
    detector, frame = fitted
    with pytest.raises(ValueError, match="fitted VAEOutlierDetector"):
        ExplanationDisplay.from_estimator(VAETransformer(), frame)
    with pytest.raises(NotFittedError):
        ExplanationDisplay.from_estimator(VAEOutlierDetector(), frame)
    with pytest.raises(ValueError, match="row=200 is past the last"):
        ExplanationDisplay.from_estimator(detector, frame, row=200)
    with pytest.raises(ValueError, match="n_columns"):
        ExplanationDisplay.from_estimator(detector, frame, n_columns=0)


def test_dollar_signs_are_no_formulas(fitted):
    frame = fitted[1].rename(columns={"a": "price_$_x^$"})
    detector = VAEOutlierDetector(max_iter=20, hidden_layer_sizes=(8,), random_state=0).fit(frame)
    display = ExplanationDisplay.from_estimator(detector, frame)
    display.figure_.canvas.draw()
    plt.close(display.figure_)
