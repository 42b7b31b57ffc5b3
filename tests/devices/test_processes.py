"""Fits in several processes end where a single one does."""

import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris

from skvae import FabricEngine, MultimodalVAE, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.datasets import ampute
from skvae.training.objectives import ImportanceWeightedBound
from skvae.training.run import current_run

pytest.importorskip("lightning_fabric")
forks = pytest.mark.skipif(
    "fork" not in torch.multiprocessing.get_all_start_methods(), reason="no forks here"
)

X = ampute(load_iris().data, rate=0.1, random_state=0)
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 64, "random_state": 0}
BLOCKS = {"sepal": [0, 1], "petal": [2, 3]}
TWO = FabricEngine("ddp_fork", devices=2)
MODEL = VAETransformer(2, early_stopping=False, **SMALL)
FITS = {
    "imputer": VAEImputer(n_components=2, inference="posterior_matching", **SMALL),
    "transformer": MODEL,
    "layers": VAETransformer((2, 1), kl_warmup=0.5, **SMALL),
    "detector": VAEOutlierDetector(n_components=2, **SMALL),
    "multimodal": MultimodalVAE(
        BLOCKS, 2, n_prior_components=3, early_stopping=False, n_importance_samples=2, **SMALL
    ),
}


def answers(fitted):
    return fitted.transform(X) if hasattr(fitted, "transform") else fitted.score_samples(X)


@forks
@pytest.mark.parametrize("name", FITS)
def test_two_processes_learn_what_one_does(name):
    one = clone(FITS[name]).fit(X)
    two = clone(FITS[name]).set_params(engine=TWO).fit(X)
    np.testing.assert_allclose(answers(two), answers(one), atol=1e-4)
    assert two.n_iter_ == one.n_iter_
    curves = [each.loss_curve_ for each in (one, two)]
    if name == "imputer":
        curves = [np.concatenate(list(curve.values())) for curve in curves]
    np.testing.assert_allclose(*curves, rtol=1e-4)
    assert two.engine is TWO


@forks
def test_processes_share_the_rows(tmp_path, monkeypatch):
    bound = ImportanceWeightedBound.__call__

    def counted(self, model, table, batch, generator):
        with open(tmp_path / str(current_run().team.rank), "a") as file:
            file.write(f"{len(batch.features)} ")
        return bound(self, model, table, batch, generator)

    monkeypatch.setattr(ImportanceWeightedBound, "__call__", counted)
    clone(MODEL).set_params(engine=TWO, batch_size=65).fit(X)
    assert [(tmp_path / rank).read_text().split() for rank in "01"] == [["32"] * 5, ["33"] * 5]


@forks
def test_an_interruption_of_one_process_ends_all(monkeypatch):
    bound = ImportanceWeightedBound.__call__

    def interrupted(self, *args):
        if current_run().team.rank == 1:
            current_run().interrupted = True
        return bound(self, *args)

    monkeypatch.setattr(ImportanceWeightedBound, "__call__", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match="interrupted"):
        fitted = clone(MODEL).set_params(engine=TWO, max_iter=100).fit(X)
    assert fitted.n_iter_ == 5  # a twentieth of the loop
    assert signal.getsignal(signal.SIGINT) is before


@forks
def test_errors_and_warnings_come_back(capfd):
    with pytest.raises(ValueError, match="No column of X varies") as caught:
        clone(MODEL).set_params(engine=TWO).fit(np.ones((50, 3)))
    assert "In a process of the fit" in str(caught.value.__cause__)
    empty = np.where(np.arange(150)[:, None] == 3, np.nan, X)
    for engine in (None, TWO):
        with pytest.warns(UserWarning, match="no block") as told:
            clone(FITS["multimodal"]).set_params(engine=engine).fit(empty)
        assert sum("no block" in str(each.message) for each in told) == 1
    assert capfd.readouterr().err == ""


@forks
def test_what_is_outside_of_the_fit_stays(tmp_path):
    threads, random = torch.get_num_threads(), np.random.RandomState(3)
    engine = FabricEngine("ddp_notebook", devices=2)
    model = clone(MODEL).set_params(checkpoint=tmp_path / "fits", random_state=random)
    fitted = clone(model).set_params(engine=engine, random_state=random).fit(X)
    assert torch.get_num_threads() == threads
    assert not (tmp_path / "fits").exists()
    again = np.random.RandomState(3)
    one = clone(model).set_params(checkpoint=None, random_state=again).fit(X)
    np.testing.assert_allclose(answers(fitted), answers(one), atol=1e-4)
    assert random.randint(10**9) == again.randint(10**9)


@forks
def test_chunks_are_read_where_fit_is_called():
    parts = np.array_split(np.arange(150), 3)
    settings = {"subsample": 100, "early_stopping": False}
    one, two, more = (clone(MODEL).set_params(**settings) for _ in range(3))
    one.fit(X[part] for part in parts)
    two.set_params(engine=TWO).fit(X[part] for part in parts)
    for part in parts:
        more.set_params(engine=TWO).partial_fit(X[part])
    np.testing.assert_allclose(answers(two), answers(one), atol=1e-4)
    np.testing.assert_allclose(answers(more), answers(one), atol=1e-4)
    assert set(vars(two)) == set(vars(one))  # nothing is left of an earlier fit
    assert set(vars(more.fit(X))) == set(vars(one))


SCRIPT = """
import os, sys
import numpy as np
from sklearn.datasets import load_iris
from skvae import FabricEngine, VAETransformer

if __name__ == "__main__":
    X = load_iris().data
    engine = FabricEngine(sys.argv[1], devices=2)
    for seed in sys.argv[2:]:  # the same processes, again; they agree without a seed
        model = VAETransformer(2, hidden_layer_sizes=(6,), max_iter=5, batch_size=64,
                               random_state=None if seed == "none" else int(seed), engine=engine)
        np.save(f"{seed} {os.getpid()}.npy", model.fit(X).transform(X[:20]))
"""


@pytest.mark.parametrize(
    ("strategy", "seeds", "n_processes"), [("ddp", ["0", "none"], 2), ("ddp_spawn", ["0"], 1)]
)
def test_scripts(strategy, seeds, n_processes, tmp_path):
    """Of the first all processes run the script, of the second one does."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", strategy, *seeds]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    said = {seed: [np.load(each) for each in tmp_path.glob(f"{seed} *")] for seed in seeds}
    assert [len(each) for each in said.values()] == [n_processes] * len(seeds)
    settings = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 64}
    alone = VAETransformer(2, random_state=0, **settings).fit(load_iris().data)
    for each in said["0"]:
        np.testing.assert_allclose(each, alone.transform(load_iris().data[:20]), atol=1e-4)
    for first, *rest in said.values():
        assert all(np.array_equal(first, each) for each in rest)


def test_one_process_in_mixed_precision():
    exact = clone(MODEL).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = clone(MODEL).set_params(engine=FabricEngine(precision="bf16-mixed")).fit(X)
        same = clone(MODEL).set_params(engine=FabricEngine()).fit(X)
    away = np.abs(answers(mixed) - answers(exact)).max()
    assert 0 < away < 0.1
    np.testing.assert_array_equal(answers(same), answers(exact))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "fsdp"}, r"strategy='fsdp'\) is not known.*'ddp_spawn'"),
        ({"accelerator": "tpu"}, "accelerator='tpu'"),
        ({"precision": "16-mixed"}, "precision='16-mixed'"),
        ({"devices": 0}, r"devices=0\) must be at least 1"),
    ],
)
def test_unknown_settings_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        FabricEngine(**settings)


def test_bad_engines_are_refused():
    with pytest.raises(TypeError, match=r"engine must be a skvae.FabricEngine or None, got 'ddp'"):
        clone(MODEL).set_params(engine="ddp").fit(X)
    with pytest.raises(ValueError, match=r"device='cuda' and FabricEngine.*contradict each other"):
        clone(MODEL).set_params(engine=TWO, device="cuda").fit(X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_engines_of_absent_accelerators_are_refused():
    with pytest.raises(ValueError, match="device='cuda' is not there: this machine"):
        clone(MODEL).set_params(engine=FabricEngine(accelerator="cuda")).fit(X)


def test_without_fabric_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"pip install 'skvae\[fabric\]'"):
        clone(MODEL).set_params(engine=FabricEngine()).fit(X)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two accelerators")
def test_every_process_has_its_accelerator():
    engine = FabricEngine("ddp_spawn", devices=2, accelerator="cuda")
    two = clone(MODEL).set_params(engine=engine).fit(X)
    np.testing.assert_allclose(answers(two), answers(clone(MODEL).fit(X)), atol=1e-3)
