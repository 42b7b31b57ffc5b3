"""What the fit of a VAE of blocks decides, and by which rows."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine

from skvae import MultimodalVAE
from skvae.training import multimodal
from skvae.training.multimodal import TEMPERATURES, USUAL_TEMPERATURE

BLOCKS = {"top": slice(0, 32), "bottom": slice(32, 64)}


def linear(blocks, **options):
    return MultimodalVAE(blocks, hidden_layer_sizes=(), random_state=0, **options)


def digits(whole, n=600):
    X, random = load_digits().data[:n].copy(), np.random.default_rng(0)
    alone = random.random(n) >= whole
    top = random.random(n) < 0.5
    X[alone & top, 32:] = np.nan
    X[alone & ~top, :32] = np.nan
    return X


@pytest.fixture(scope="module")
def report(monkeypatch_module):
    """The reports of all fits of this file."""
    reports, before = [], multimodal.MultimodalFitter.fit

    def fit(self):
        found = before(self)
        reports.append(found[-1])
        return found

    monkeypatch_module.setattr(multimodal.MultimodalFitter, "fit", fit)
    return lambda: reports[-1]


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_rows_that_tell_choose_the_temperature(report):
    linear(BLOCKS).fit(digits(1.0))
    assert not report().guessed
    assert report().temperature in TEMPERATURES
    # Pixels of a half share more than the model knows: their evidence is too strong.
    assert report().temperature < 1


def test_few_rows_get_the_usual_temperature(report):
    linear(BLOCKS, n_prior_components=5).fit(digits(0.05))
    assert report().n_clusters > 1
    assert report().guessed
    assert report().temperature == USUAL_TEMPERATURE


def test_one_block_has_no_temperature(report):
    linear(None).fit(load_wine().data)
    assert report().temperature == 1.0


def test_networks_need_rows_with_several_blocks(report):
    model = MultimodalVAE(BLOCKS, max_iter=2, random_state=0).fit(digits(0.2, 300))
    assert not report().networks
    assert not model.uses_networks_
    assert len(model.validation_scores_) == 0
    MultimodalVAE(BLOCKS, max_iter=2, random_state=0).fit(digits(0.9, 300))
    assert len(report().history.loss) > 0


def test_few_links_bound_the_latents_where_they_know_better(report):
    n_components = linear(BLOCKS).fit(digits(0.1)).n_components_
    linked = 60
    if report().linked_rows_only:
        assert n_components <= linked / multimodal.ROWS_PER_COMPONENT + 1
    else:
        assert n_components > linked / multimodal.ROWS_PER_COMPONENT


def test_noise_brings_no_clusters(report):
    X = np.random.default_rng(0).normal(size=(300, 8))
    linear({"a": slice(0, 4), "b": slice(4, 8)}).fit(X)
    assert report().n_clusters == 1


def test_shares_come_from_rows_held_out(report):
    random = np.random.default_rng(0)
    z = random.normal(size=(800, 2))
    X = np.concatenate([z, z @ random.normal(size=(2, 3))], axis=1)
    X += 0.1 * random.normal(size=X.shape)
    linear({"z": [0, 1], "x": [2, 3, 4]}).fit(X)
    # The relation is linear: the model has the say.
    assert (report().shares > 0.5).all()
    curved = X.copy()
    curved[:, 2:] = np.cos(3 * z[:, :1] * [1.0, 0.8, 1.2]) + 0.1 * random.normal(size=(800, 3))
    linear({"z": [0, 1], "x": [2, 3, 4]}, prior="normal").fit(curved)
    assert report().shares[1] < 0.2


def test_without_rows_held_out_the_share_is_the_usual(report):
    linear(BLOCKS, early_stopping=False).fit(digits(1.0, 200))
    assert report().shares.tolist() == [multimodal.USUAL_SHARE] * 2
