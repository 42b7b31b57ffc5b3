"""Regressions beside the model of blocks: what they see, and how much they count."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine

from skvae import MultimodalVAE

BLOCKS = {"a": slice(0, 4), "b": slice(4, 8), "c": slice(8, 13)}


def linear(blocks, **options):
    return MultimodalVAE(blocks, hidden_layer_sizes=(), random_state=0, **options)


def wine(share=0.3):
    X = load_wine().data.copy()
    random = np.random.default_rng(0)
    for columns in BLOCKS.values():
        X[random.random(len(X)) < share, columns] = np.nan
    nothing = np.isnan(X).all(axis=1)
    X[nothing, :4] = load_wine().data[nothing, :4]
    return X


@pytest.fixture(scope="module")
def fitted():
    X = wine()
    return linear(BLOCKS).fit(X), X


def test_shares_are_shares(fitted):
    model, _ = fitted
    assert list(model.decoder_shares_) == list(BLOCKS)
    assert all(0 <= share <= 1 for share in model.decoder_shares_.values())


def test_the_decoder_alone_is_a_share_of_one(fitted):
    model, X = fitted
    alone = linear(BLOCKS, readout="decoder").fit(X)
    assert set(alone.decoder_shares_.values()) == {1.0}
    share = model._latent.readout.share
    before = share.clone()
    try:
        share.fill_(1.0)
        np.testing.assert_allclose(model.predict(X), alone.predict(X))
    finally:
        share.copy_(before)
    assert np.abs(model.predict(X) - alone.predict(X)).max() > 1e-3


def test_rows_do_not_depend_on_each_other(fitted):
    model, X = fitted
    together = model.predict(X)
    few = [model.predict(X[rows]) for rows in (slice(0, 3), slice(3, 50), slice(50, None))]
    np.testing.assert_allclose(np.concatenate(few), together, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X[::-1])[::-1], together, rtol=1e-6)


def test_what_is_there_stays(fitted):
    model, X = fitted
    filled = model.predict(X)
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])


def test_densities_and_latents_do_not_change(fitted):
    model, X = fitted
    alone = linear(BLOCKS, readout="decoder").fit(X)
    np.testing.assert_array_equal(model.score_samples(X), alone.score_samples(X))
    np.testing.assert_array_equal(model.transform(X), alone.transform(X))


def test_the_share_has_the_least_squared_error(fitted):
    model, X = fitted
    readout = model._latent.readout
    whole = torch.from_numpy(np.nan_to_num(X[~np.isnan(X).any(axis=1)]))
    features = ((whole - whole.mean(0)) / whole.std(0)).float()
    observed = torch.ones_like(features, dtype=torch.bool)
    answers = features + torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    share = readout.weigh(1, answers, features, observed)
    shown = torch.tensor([True, False, True])
    read = readout.regression(shown, 1).predict(readout.points(features, observed, shown))
    true, said = features[:, 4:8].double(), answers[:, 4:8].double()
    errors = [
        float((each * said + (1 - each) * read - true).square().sum())
        for each in np.linspace(0, 1, 1001)
    ]
    assert 0 < share < 1
    assert share == pytest.approx(np.argmin(errors) / 1000, abs=1e-3)


def test_draws_have_the_mean_that_is_predicted(fitted):
    model, _ = fitted
    X = load_wine().data[:3]
    drawn = np.array(model.sample_conditional(X, "b", 4000, random_state=0))
    spread = drawn.std(axis=0) / 4000**0.5
    assert (np.abs(drawn.mean(axis=0) - model.predict(X, target="b")) < 5 * spread).all()


def test_a_row_without_a_block_has_the_mean_of_the_model(fitted):
    model, X = fitted
    nothing = np.full((2, X.shape[1]), np.nan)
    with pytest.warns(UserWarning, match="no block at all"):
        filled = model.predict(nothing)
    np.testing.assert_allclose(filled[0], np.nanmean(X, axis=0), rtol=0.25)


def test_categories_are_the_models():
    frame = load_wine(as_frame=True).data
    frame["kind"] = pd.Categorical(np.array(["red", "dry", "old"])[load_wine().target])
    blocks = {"acids": list(frame.columns[:5]), "rest": list(frame.columns[5:])}
    shown = frame.copy()
    shown.loc[::3, blocks["rest"]] = np.nan
    model = linear(blocks).fit(shown)
    filled = model.predict(frame, target="rest")
    assert filled["kind"].dtype == frame["kind"].dtype
    assert (filled["kind"] == frame["kind"]).mean() > 0.6


def test_what_latents_do_not_pass_is_read_out():
    """Curves of another block's columns, more than there are latents for."""
    random = np.random.default_rng(0)
    x = random.uniform(-2, 2, (900, 2))
    noise = 0.1 * random.normal(size=(900, 6))
    y = np.concatenate([np.sin(2 * x), np.cos(2 * x), np.prod(x, axis=1, keepdims=True)], axis=1)
    X = np.concatenate([x, y], axis=1) + np.pad(noise, ((0, 0), (0, 1)))
    blocks = {"x": [0, 1], "y": [2, 3, 4, 5, 6]}
    errors = []
    for readout in ("decoder", "kernel"):
        model = linear(blocks, readout=readout, prior="normal").fit(X[:600])
        missed = model.predict(X[600:], target="y") - X[600:, 2:]
        errors.append((missed**2).mean())
    assert errors[1] < 0.3 * errors[0]


def test_halves_of_digits_that_few_rows_have_both_of():
    """Better than the same on these few rows, and than ridge regression on them."""
    from sklearn.linear_model import RidgeCV

    X = load_digits().data
    random = np.random.default_rng(0)
    order = random.permutation(len(X))
    train, test = X[order[:1200]], X[order[1200:]]
    lost = random.integers(2, size=1200)
    lost[:60] = -1  # whole
    shown = np.where(lost[:, None] == np.repeat([0, 1], 32), np.nan, train)
    blocks = {"top": slice(0, 32), "bottom": slice(32, 64)}

    def missed(prediction):
        return float(((prediction - test[:, 32:]) ** 2).mean())

    every = missed(linear(blocks).fit(shown).predict(test, target="bottom"))
    pairs = missed(linear(blocks).fit(shown[:60]).predict(test, target="bottom"))
    ridge = RidgeCV(np.logspace(-1, 4, 20)).fit(train[:60, :32], train[:60, 32:])
    assert every < 0.995 * pairs
    assert every < 0.98 * missed(ridge.predict(test[:, :32]))
