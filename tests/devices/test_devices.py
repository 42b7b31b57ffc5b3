"""Names of devices, and what happens to tensors, random numbers and arrays on one."""

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae.inference import devices
from skvae.inference.devices import CPU, OnDevice, active_device, find_device
from skvae.inference.session import torch_defaults

X = np.random.RandomState(0).randn(30, 3)
HAS_ACCELERATOR = torch.cuda.is_available() or torch.backends.mps.is_available()


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "tpu"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=r"no device that torch knows: use 'auto', 'cpu'.*cpu"):
        find_device(name)


@pytest.mark.parametrize("name", ["meta", "cuda:99", "xpu:7"])
def test_absent_devices_are_refused_with_what_there_is(name):
    with pytest.raises(ValueError, match=r"is not there: this machine.*\['cpu'.*'auto' takes"):
        find_device(name)


def test_auto_takes_what_there_is(monkeypatch):
    assert HAS_ACCELERATOR or find_device("auto") == CPU
    here = {"cpu": CPU, "mps": torch.device("mps:0")}
    monkeypatch.setattr(devices, "_probe", here.get)
    assert find_device("auto") == torch.device("mps:0")
    here["cuda"] = torch.device("cuda:0")
    assert find_device("auto") == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_estimators_refuse_devices_before_they_learn(name):
    with pytest.raises(ValueError, match="device="):
        VAETransformer(device=name).fit(X)


def test_the_cpu_is_not_named():
    """It would cost time in every operation."""
    with torch_defaults():
        assert not torch._C._len_torch_function_stack()
        assert active_device() == CPU


def test_new_tensors_land_on_the_device(pretence, pretended):
    with pretence(), torch_defaults(device=pretended):
        made = [
            torch.zeros(2),
            torch.arange(3),
            torch.tensor([1.0]),
            torch.as_tensor(X),
            torch.randn(2),
            torch.zeros(2).new_ones(3),
        ]
        assert all(tensor.device == pretended for tensor in made)
        assert torch.zeros(2, device="cpu").device == CPU
        with torch_defaults():
            assert torch.zeros(1).device == active_device() == pretended
        with torch_defaults(device=CPU):
            assert torch.zeros(1).device == active_device() == CPU
    assert active_device() == CPU


def draws(generator):
    weights = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    return [
        torch.randn(4, generator=generator),
        torch.rand(2, 3, generator=generator),
        torch.randint(9, (5,), generator=generator),
        torch.randperm(6, generator=generator),
        torch.multinomial(weights, 3, True, generator=generator),
        torch.empty(3).normal_(1.0, 2.0, generator=generator),
        torch.poisson(torch.full((4,), 3.0), generator=generator),
    ]


def test_draws_are_those_of_the_cpu(pretence, pretended):
    there = draws(torch.Generator().manual_seed(3))
    with pretence(), OnDevice(pretended):
        here = draws(torch.Generator().manual_seed(3))
        assert all(tensor.device == pretended for tensor in here)
        for own, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(own.numpy(), other.cpu().numpy())


def test_mixing_devices_is_an_error_here_too(pretence, pretended):
    """What the tests of fits on the pretended device stand on."""
    with pretence(), pytest.raises(RuntimeError, match="both devices"):
        torch.zeros(3, device=pretended) + torch.zeros(3)


def double_sum(x):
    """Of what needs double precision, with masks and places in single."""
    wide = x.double() + 1e-12
    seen = wide > 0.5
    out = torch.zeros(2, 2, dtype=torch.float64)
    out[:, 0] = wide.where(seen, 0.0).sum(0)[:2]
    x[0] = (wide / 3).mean(0)
    values, _ = torch.linalg.eigh(wide.mT @ wide)
    return (out.sum() + values.sum()).float(), seen, x, torch.as_tensor(X).mean()


def test_double_precision_stays_on_the_cpu_where_a_device_lacks_it(
    pretence, pretended, monkeypatch
):
    plain = double_sum(torch.arange(6.0).view(2, 3))
    monkeypatch.setattr(devices, "SINGLE", (pretended.type,))
    with pretence(double=False), OnDevice(pretended):
        total, seen, x, mean = double_sum(torch.arange(6.0).view(2, 3))
        assert [total.device, seen.device, x.device, mean.device] == [pretended] * 3 + [CPU]
        for own, other in zip((total, seen, x, mean), plain, strict=True):
            np.testing.assert_array_equal(own.cpu().numpy(), other.cpu().numpy())
