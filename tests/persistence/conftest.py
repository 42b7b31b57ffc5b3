"""What tests of saved estimators share: a frame of all dtypes, and equality of all bits."""

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("safetensors")

N = 40


@pytest.fixture(scope="session")
def frame():
    """A column of every sort, driven by two factors, with holes in all but one."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 2))
    scores = rng.gumbel(size=(N, 3)) + np.c_[z, -z[:, 0]]
    columns = {
        "real": 3 + 2 * z[:, 0] + 0.3 * rng.normal(size=N),
        "other": z[:, 1] + 0.3 * rng.normal(size=N),
        "count": pd.array(rng.poisson(np.exp(1 + 0.5 * z[:, 0])), dtype="Int64"),
        "colour": pd.Categorical(np.array(["red", "green", "blue"])[scores.argmax(1)]),
        "size": pd.Categorical.from_codes(
            np.digitize(z[:, 1], [-0.5, 0.5]), ["S", "M", "L"], ordered=True
        ),
        "word": pd.array(np.array(["p", "q", "r"])[rng.integers(0, 3, N)], dtype="string"),
        "flag": pd.array(z[:, 0] > 0, dtype="boolean"),
    }
    table = pd.DataFrame(columns, index=pd.date_range("2020-01-01", periods=N))
    for j, name in enumerate(columns):
        if name not in ("colour", "flag"):
            table.iloc[rng.random(N) < 0.1, j] = None
    return table.assign(constant=1.5)


@pytest.fixture(scope="session")
def array():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(N, 5))
    values[rng.random(values.shape) < 0.1] = np.nan
    return values


# What is computed anew from the rest, and is in no pickle either.
CACHES = {"BlockVAE": ("_kinds", "_kept")}


def check_same(one, other, met=None, path="estimator"):
    """Types, dtypes, memory layout, every bit, and what is shared."""
    met = {} if met is None else met
    if id(one) in met:
        if isinstance(one, np.ndarray | torch.Tensor | torch.nn.Module):
            assert met[id(one)][1] is other, f"{path} was shared"
        return
    met[id(one)] = one, other  # both live on: ids are not used again
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        for what in ("dtype", "shape", "requires_grad", "is_leaf"):
            assert getattr(one, what) == getattr(other, what), path
        assert one.stride() == other.stride(), path
        check_bits(one.detach().numpy(), other.detach().numpy(), path)
    elif isinstance(one, np.ndarray) and one.dtype != object:
        dense = one.size and (one.flags.c_contiguous or one.flags.f_contiguous)
        assert not dense or np.squeeze(one).strides == np.squeeze(other).strides, path
        check_bits(one, other, path)
    elif isinstance(one, np.ndarray):
        assert one.shape == other.shape, path
        check_same(one.ravel().tolist(), other.ravel().tolist(), met, path)
    elif isinstance(one, dict):
        check_same(list(one), list(other), met, f"{path}.keys")
        for (name, part), value in zip(one.items(), other.values(), strict=True):
            check_same(part, value, met, f"{path}[{name!r}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for place, pair in enumerate(zip(one, other, strict=True)):
            check_same(*pair, met, f"{path}[{place}]")
    elif isinstance(one, set | frozenset):
        assert one == other, path
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_freq=False)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True, check_freq=False)
    elif isinstance(one, pd.Index):
        pd.testing.assert_index_equal(one, other, exact=True)
    elif isinstance(one, np.random.RandomState):
        check_same(one.get_state(legacy=False), other.get_state(legacy=False), met, path)
    elif hasattr(one, "__dict__") and not isinstance(one, pd.api.extensions.ExtensionDtype):
        hidden = CACHES.get(type(one).__name__, ())
        parts, others = (
            {name: part for name, part in vars(each).items() if name not in hidden}
            for each in (one, other)
        )
        assert set(parts) == set(others), path
        for name, part in parts.items():
            check_same(part, others[name], met, f"{path}.{name}")
    else:
        assert repr(one) == repr(other), path


def check_bits(one, other, path):
    assert one.dtype == other.dtype, path
    assert one.shape == other.shape, path
    assert one.tobytes() == other.tobytes(), path


@pytest.fixture(scope="session")
def same():
    """Assert that two objects are the same to the last bit."""
    return check_same
