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
    names = [label.get_text() for label in display.ax_.get_yticklabels()][::-1]
    assert names[0] == "b"
    assert names == list(table.index)
    assert any("8, expected" in text.get_text() for text in display.ax_.texts)
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
