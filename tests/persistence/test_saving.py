"""What can be saved, where to, and how files come to be."""

import os
import stat
import sys

import numpy as np
import pytest
import safetensors
import torch
from sklearn.pipeline import make_pipeline
from torch import nn

import skvae
from skvae import VAEImputer, VAETransformer
from skvae.persistence import files, save
from skvae.persistence.classes import classes

MODEL = VAEImputer(hidden_layer_sizes=(), random_state=0)


class Encoder(nn.Module):
    def forward(self, features, observed):
        return features


def test_users_own_modules_are_refused(array, tmp_path):
    model = VAETransformer(2, encoder=Encoder(), max_iter=2)
    for again in (model, model.fit(np.nan_to_num(array))):
        with pytest.raises(TypeError, match=r"VAETransformer\.encoder cannot.*Encoder.*state_dict"):
            again.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_functions_and_callbacks_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"VAEImputer\.alpha cannot be saved.*builtins\.function"):
        VAEImputer(alpha=lambda: 1.0).save(tmp_path / "model")
    watched = VAEImputer()
    watched._skl_callbacks = [print]
    with pytest.raises(TypeError, match="set_callbacks"):
        watched.save(tmp_path / "model")


def test_others_classes_are_refused(tmp_path):
    class Own(VAEImputer):
        pass

    for estimator in (Own(), make_pipeline(MODEL), 3, classes()["skvae.models.context.Context"](1)):
        with pytest.raises(TypeError, match="none of skvae's own estimators"):
            save(estimator, tmp_path / "model")


def test_known_classes_are_data_or_skvaes_own():
    for name, known in classes().items():
        assert name.startswith(("skvae.", "sklearn.", "torch.nn."))
        assert not issubclass(known, BaseException | type | dict | tuple)


def test_words_for_new_parameters(same, tmp_path):
    model = VAEImputer()
    model.checkpoint, model.device = tmp_path / "checkpoints", "cuda:0"
    model.save(tmp_path / "model")
    same(model, skvae.load(tmp_path / "model"))


def test_the_sessions_settings_do_not_matter(array, same, tmp_path):
    model = VAEImputer(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(array)
    with torch.device("meta"), torch.inference_mode():
        model.save(tmp_path / "model")
        again = skvae.load(tmp_path / "model")
    same(model, again)
    assert not again._predictor.ensemble.density.model.mean.is_inference()


def test_a_file_is_replaced_at_once(tmp_path, monkeypatch):
    path = tmp_path / "model.skvae"
    MODEL.save(path)
    before = path.read_bytes()

    def no_space(*parts):
        raise OSError("No space left")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        VAETransformer().save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    monkeypatch.undo()
    VAETransformer().save(path)
    assert type(skvae.load(path)) is VAETransformer


def test_where_files_go(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        MODEL.save(tmp_path / "nowhere" / "model")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        MODEL.save(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "model")
    MODEL.save(str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "model").is_file()
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_safetensors_alone_reads_the_arrays(array, tmp_path):
    model = MODEL.fit(array)
    model.save(tmp_path / "model")
    with safetensors.safe_open(tmp_path / "model", "numpy") as file:
        assert list(file.metadata()) == ["skvae"]
        names = file.keys()
        (name,) = (one for one in names if one.endswith("density.model._buffers['mean']"))
        mean = file.get_tensor(name)
    assert mean.tolist() == model._predictor.ensemble.density.model.mean.tolist()


def test_too_many_words(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_HEADER", 100)
    with pytest.raises(ValueError, match="too many words"):
        MODEL.save(tmp_path / "model")


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (MODEL.save, skvae.load, VAEImputer.load):
        with pytest.raises(ImportError, match=r"pip install 'skvae\[save\]'"):
            call(tmp_path / "model")
