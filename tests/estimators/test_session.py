"""Fits that are followed, interrupted, killed and taken up again."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.utils.fixes import parse_version
from torch import nn

from skvae import (
    MultimodalVAE,
    SemiSupervisedVAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)
from skvae.datasets import ampute
from skvae.estimators import _session
from skvae.training.checkpoint import Checkpoint
from skvae.training.run import Stage

X = ampute(load_iris().data, rate=0.15, random_state=0)
Y = np.where(np.arange(150) % 5, -1, load_iris().target)
WINE = load_wine().data
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 0}
BLOCKS = {"first": [0, 1, 2, 3, 4], "second": [5, 6, 7, 8], "third": [9, 10, 11, 12]}
with_new_sklearn = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="callbacks came with 1.9"
)


class DroppingEncoder(nn.Module):
    """Draws from torch's own generator."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 4))

    def forward(self, x, observed):
        return self.body(torch.cat([x, observed], -1))


FITS = {
    "imputer": (VAEImputer(**SMALL), X, None, "transform"),
    "two imputers": (VAEImputer(n_estimators=2, **SMALL), X, None, "transform"),
    "mnar": (VAEImputer(mechanism="mnar", **SMALL), X, None, "transform"),
    "matching": (VAEImputer(inference="posterior_matching", **SMALL), X, None, "transform"),
    "transformer": (VAETransformer(n_components=2, kl_warmup=0.5, **SMALL), X, None, "transform"),
    "sparse": (VAETransformer(n_components=2, decoder="sparse", **SMALL), X, None, "score_samples"),
    "conditions": (
        VAETransformer(n_components=1, condition_on=[0], conditioning="prior", **SMALL),
        np.column_stack([np.arange(150) % 8, X[:, 1:]]),
        None,
        "transform",
    ),
    "users": (
        VAETransformer(
            n_components=2,
            encoder=DroppingEncoder(),
            **SMALL,
        ),
        X,
        None,
        "transform",
    ),
    "layers": (VAETransformer(n_components=[2, 1], **SMALL), X, None, "transform"),
    "detector": (VAEOutlierDetector(**SMALL), X, None, "score_samples"),
    "classifier": (SemiSupervisedVAEClassifier(**SMALL), X, Y, "predict_proba"),
    "m2": (SemiSupervisedVAEClassifier(model="m2", **SMALL), X, Y, "predict_proba"),
    "multimodal": (MultimodalVAE(BLOCKS, **SMALL), WINE, None, "transform"),
}


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@contextlib.contextmanager
def killed_after(monkeypatch, n_states):
    """Checkpoints after every step, and the end of the process with the n-th."""
    written = []
    save = Stage._save

    def save_and_die(stage):
        save(stage)
        written.append(stage.name)
        if len(written) == n_states:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "is_due", True)
        patch.setattr(Stage, "_save", save_and_die)
        yield written


@pytest.mark.parametrize("name", FITS)
def test_a_killed_fit_goes_on_to_the_same_result(name, tmp_path, monkeypatch, quiet):
    """Killed early and late."""
    estimator, table, y, method = FITS[name]
    kept = clone(estimator).set_params(checkpoint=tmp_path / "fits")
    with killed_after(monkeypatch, None) as written:
        whole = getattr(clone(kept).fit(table, y), method)(table)
    for n_states in (3, len(written) - 5):
        with killed_after(monkeypatch, n_states), pytest.raises(Killed):
            clone(kept).fit(table, y)
        assert list((tmp_path / "fits").iterdir())
    resumed = getattr(clone(kept).fit(table, y), method)(table)
    np.testing.assert_array_equal(resumed, whole)
    assert not (tmp_path / "fits").exists()
    plain = getattr(clone(estimator).fit(table, y), method)(table)
    np.testing.assert_array_equal(plain, whole)


SCRIPT = """
import os, signal, sys
import numpy as np
from sklearn.datasets import load_iris
from skvae import VAEImputer
from skvae.datasets import ampute
from skvae.training.checkpoint import Checkpoint
from skvae.training.run import Stage

Checkpoint.is_due = True
save, kill = Stage._save, int(sys.argv[2])

def save_and_die(stage):
    save(stage)
    if stage.name == "masked" and stage.step == kill:
        os.kill(os.getpid(), signal.SIGKILL)

Stage._save = save_and_die
X = ampute(load_iris().data, rate=0.15, random_state=0)
model = VAEImputer(max_iter=12, random_state=None, checkpoint=sys.argv[1]).fit(X)
np.save(sys.argv[3], model.transform(X))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_process_is_taken_up_by_another(tmp_path):
    """Whose seed is not given: that of the data is drawn."""

    def run(kill, out, folder):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / folder), str(kill), str(out)]
        return subprocess.run(command, capture_output=True, text=True).returncode

    assert run(-1, tmp_path / "whole.npy", "other") == 0
    assert run(7, tmp_path / "never.npy", "fits") == -signal.SIGKILL
    assert not (tmp_path / "never.npy").exists()
    assert run(-1, tmp_path / "resumed.npy", "fits") == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "resumed.npy"), np.load(tmp_path / "whole.npy")
    )


def test_other_data_and_parameters_start_anew(tmp_path, monkeypatch):
    model = VAEImputer(**SMALL, checkpoint=tmp_path / "fits")
    with killed_after(monkeypatch, 3), contextlib.suppress(Killed):
        model.fit(X)
    (left,) = (tmp_path / "fits").iterdir()
    model.fit(X[:100])
    clone(model).set_params(beta=0.5).fit(X)
    np.testing.assert_array_equal(
        clone(model).set_params(random_state=1).fit_transform(X),
        VAEImputer(**{**SMALL, "random_state": 1}).fit_transform(X),
    )
    assert list((tmp_path / "fits").iterdir()) == [left]  # others removed theirs


def test_checkpoints_work_in_a_search(tmp_path):
    search = GridSearchCV(
        VAETransformer(n_components=1, **SMALL, checkpoint=str(tmp_path / "fits")),
        {"beta": [0.5, 1.0]},
        cv=2,
    )
    search.fit(load_iris().data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert not (tmp_path / "fits").exists()


def test_a_checkpoint_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"checkpoint=.*file.*cannot be made"):
        VAEImputer(**SMALL, checkpoint=tmp_path / "file").fit(X)
    with pytest.raises(ValueError, match="checkpoint='' names no folder"):
        VAEImputer(**SMALL, checkpoint="").fit(X)


def test_a_full_disk_costs_the_checkpoint_but_not_the_fit(tmp_path, monkeypatch):
    def full(state, path):
        path.write_bytes(b"half of it")
        raise RuntimeError("unexpected pos 176128 vs 176016")

    monkeypatch.setattr(torch, "save", full)
    model = VAEImputer(**SMALL, checkpoint=tmp_path / "fits")
    with pytest.warns(UserWarning, match=r"checkpoint=.*fits.*went on without: unexpected pos"):
        filled = model.fit(X).transform(X)
    np.testing.assert_array_equal(filled, VAEImputer(**SMALL).fit(X).transform(X))
    assert not (tmp_path / "fits").exists()


def test_the_same_fit_may_run_twice_at_once(tmp_path, monkeypatch):
    """The one that ends first takes the folder with it."""
    write = Checkpoint.write

    def gone(self, *args):
        shutil.rmtree(tmp_path / "fits", ignore_errors=True)
        write(self, *args)

    monkeypatch.setattr(Checkpoint, "write", gone)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAEImputer(**SMALL, checkpoint=tmp_path / "fits").fit(X)


# Interruptions ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch):
    """No other test has pressed Ctrl-C just before."""
    monkeypatch.setattr(_session, "_last_interrupt", -np.inf)


@contextlib.contextmanager
def pressed(monkeypatch, step, times=1, handler=signal.default_int_handler):
    """Ctrl-C at a step of the first loop."""
    iterate = Stage.__iter__

    def pressing(stage):
        for number in iterate(stage):
            if stage.number == 1 and number == min(step, stage.n_steps):
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
            yield number

    # A test run in the background may have inherited that nothing interrupts it.
    before = signal.signal(signal.SIGINT, handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Stage, "__iter__", pressing)
            yield
    finally:
        assert signal.signal(signal.SIGINT, before) is handler


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_fit_is_fitted(name, step, monkeypatch, capsys):
    estimator, table, y, method = FITS[name]
    model = clone(estimator)
    with pressed(monkeypatch, step), pytest.warns(UserWarning, match="interrupted"):
        model.fit(table, y)
    assert np.isfinite(getattr(model, method)(table)).all()
    assert "Ctrl-C again" in capsys.readouterr().err


def test_a_second_interruption_ends_everything(monkeypatch):
    with pressed(monkeypatch, 2, times=2), pytest.raises(KeyboardInterrupt):
        VAEImputer(**SMALL).fit(X)


def test_a_second_interruption_may_come_in_the_next_fit(monkeypatch):
    """As in a search, whose first fit has ended by the first."""
    monkeypatch.setattr(_session, "SECONDS_OF_DOUBT", 1e9)
    with pressed(monkeypatch, 2):
        with pytest.warns(UserWarning, match="interrupted"):
            VAEImputer(**SMALL).fit(X)
        with pytest.raises(KeyboardInterrupt):
            VAEImputer(**SMALL).fit(X)
        monkeypatch.setattr(_session, "SECONDS_OF_DOUBT", 0.0)
        with pytest.warns(UserWarning, match="interrupted"):
            VAEImputer(**SMALL).fit(X)


def test_an_interrupted_fit_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    model = VAEImputer(**SMALL, checkpoint=tmp_path / "fits")
    with pressed(monkeypatch, 3), pytest.warns(UserWarning, match="goes on from its checkpoint"):
        model.fit(X)
    np.testing.assert_array_equal(
        clone(model).fit_transform(X), VAEImputer(**SMALL).fit_transform(X)
    )


def test_others_handlers_stay(monkeypatch):
    caught = []

    def handler(*_):
        caught.append(1)

    with pressed(monkeypatch, 2, handler=handler), warnings.catch_warnings():
        warnings.simplefilter("error")
        VAETransformer(n_components=1, **SMALL).fit(X)
    assert caught == [1]


def test_fits_in_threads():
    model, errors = VAETransformer(n_components=1, **SMALL), []

    def fit():
        try:
            model.fit(X)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert not errors
    np.testing.assert_array_equal(model.transform(X), clone(model).fit(X).transform(X))


# Progress -----------------------------------------------------------------------------------


def test_silent_by_default(capfd):
    VAEImputer(**SMALL).fit(X)
    assert capfd.readouterr() == ("", "")


def test_lines(capfd):
    VAEImputer(**SMALL, verbose=2).fit(X)
    lines = capfd.readouterr().out.splitlines()
    assert "[VAEImputer] masked step 12/12 loss" in lines[-1]
    assert sum("generative" in line for line in lines) == 4
    assert sum("masked" in line for line in lines) == 12


def test_plain_bars_where_there_are_no_others(monkeypatch, capfd):
    monkeypatch.setattr("skvae.estimators._callbacks.HAVE_CALLBACKS", False)
    VAEImputer(**SMALL, verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("VAEImputer masked")
    assert "[" + "=" * 30 + "] 12/12 loss" in last


@with_new_sklearn
def test_progress_bars(capfd):
    pytest.importorskip("rich")
    model = VAEImputer(**SMALL, verbose=True).fit(X)
    shown = capfd.readouterr().out
    assert "VAEImputer - fit" in shown
    assert "masked" in shown
    assert "100%" in shown
    assert "_skl_callbacks" not in vars(model)


# Callbacks ----------------------------------------------------------------------------------


class Diary:
    """A callback that writes down the tasks, and may stop a loop."""

    def __init__(self, stop=None):
        self.ended, self.stop, self.fitted, self.data = [], stop, None, None

    def setup(self, estimator, context):
        self.ended = []

    def teardown(self, estimator, context):
        self.ended.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.data = X

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.fitted = fitted_estimator
        parent = context.parent
        return parent is not None and parent.task_name == self.stop


@with_new_sklearn
def test_callbacks_hear_of_every_loop():
    diary = Diary()
    model = VAEImputer(**SMALL).set_callbacks(diary).fit(X)
    expected = ["steps"] * 4 + ["generative"] + ["steps"] * 12 + ["masked", "fit", "teardown"]
    assert diary.ended == expected
    assert diary.data is X
    np.testing.assert_array_equal(diary.fitted.transform(X), model.transform(X))


@with_new_sklearn
def test_callbacks_stop_a_loop():
    diary = Diary(stop="masked")
    model = VAEImputer(**SMALL).set_callbacks(diary).fit(X)
    assert diary.ended.count("steps") == 5
    assert model.n_iter_ == 5
    assert not np.isnan(model.transform(X)).any()


@with_new_sklearn
@pytest.mark.parametrize("name", FITS)
def test_callbacks_change_nothing(name, quiet):
    estimator, table, y, method = FITS[name]
    diary = Diary()
    followed = clone(estimator).set_callbacks(diary).fit(table, y)
    plain = clone(estimator).fit(table, y)
    np.testing.assert_array_equal(getattr(followed, method)(table), getattr(plain, method)(table))
    assert diary.ended[-2:] == ["fit", "teardown"]


@with_new_sklearn
def test_callbacks_end_with_a_fit_that_fails():
    diary = Diary()
    with pytest.raises(ValueError, match="infinit"):
        VAEImputer(**SMALL).set_callbacks(diary).fit(pd.DataFrame({"a": [1.0, np.inf, 2.0]}))
    assert diary.ended == ["teardown"]


@with_new_sklearn
def test_bars_of_a_search(capfd):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    search = GridSearchCV(VAETransformer(n_components=1, **SMALL), {"beta": [0.5, 1.0]}, cv=2)
    if not hasattr(search, "set_callbacks"):
        pytest.skip("searches have no callbacks yet")
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(load_iris().data)
    assert "VAETransformer" in capfd.readouterr().out
