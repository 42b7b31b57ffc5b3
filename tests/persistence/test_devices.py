"""State moves to main memory, sharing what was shared."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from skvae import VAETransformer
from skvae.persistence import devices
from skvae.persistence.devices import on_cpu


class Holder:
    def __init__(self, **parts):
        vars(self).update(parts)


@pytest.fixture
def doubles_elsewhere(monkeypatch):
    """Let numbers in double precision stand for those on an accelerator."""
    monkeypatch.setattr(devices, "is_elsewhere", lambda tensor: tensor.dtype == torch.float64)


def test_nothing_moves_where_all_is_here():
    state = {"tensor": torch.ones(2), "deep": Holder(array=np.ones(2))}
    assert on_cpu(object(), state) is state


@pytest.mark.usefixtures("doubles_elsewhere")
def test_what_moves_is_a_copy_that_shares_as_before():
    owner = Holder()
    module = nn.ParameterList([torch.ones(2, dtype=torch.float64), torch.ones(2)])
    there, here, array = torch.ones(3, dtype=torch.float64), torch.ones(3), np.ones(3)
    deep = Holder(module=module, array=array, back=owner, one={"key": (there, [here])})
    objects = np.array([there, None], dtype=object)
    state = {"deep": deep, "there": there, "objects": objects, "type": Holder}
    moved = on_cpu(owner, state)

    assert moved["deep"] is not deep
    assert moved["there"] is not there
    assert moved["deep"].one["key"][0] is moved["there"]
    assert moved["objects"][0] is moved["there"]
    assert moved["deep"].one["key"][1][0] is here
    assert moved["deep"].array is array
    assert moved["deep"].back is owner
    assert type(moved["deep"].module[0]) is nn.Parameter
    assert moved["deep"].module[0].requires_grad
    assert moved["deep"].module[1] is module[1]
    assert deep.module is module
    assert deep.one["key"][0] is there


@pytest.mark.usefixtures("doubles_elsewhere")
def test_pickles_of_moved_estimators(same):
    model = VAETransformer(2, hidden_layer_sizes=(), random_state=0)
    table = np.random.default_rng(0).normal(size=(30, 4))
    again = pickle.loads(pickle.dumps(model.fit(table)))
    same(model, again)
    assert again.transform(table).tobytes() == model.transform(table).tobytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerators_tensors_are_those_of_the_cpu(tmp_path):
    import skvae

    model = VAETransformer(2, hidden_layer_sizes=(), random_state=0)
    model.extra_ = [torch.ones(2, device="cuda")]
    assert pickle.loads(pickle.dumps(model)).extra_[0].device.type == "cpu"
    assert model.extra_[0].is_cuda
    model.save(tmp_path / "model")
    assert skvae.load(tmp_path / "model").extra_[0].tolist() == [1.0, 1.0]
