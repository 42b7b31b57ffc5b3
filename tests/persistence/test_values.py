"""Values of all kinds through JSON and back, with what they share."""

import collections
import datetime
import decimal
import json
import pathlib
import uuid

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

from skvae.models.context import Context
from skvae.persistence.graph import Reader, Writer
from skvae.persistence.kinds import BY_TAG, find


def there_and_back(value):
    """What a value becomes, in the only slot of a list."""
    writer = Writer(find, "value")
    writer.value([value])
    nodes = json.loads(json.dumps(writer.nodes, allow_nan=False))
    return Reader(BY_TAG, writer.blobs).build(nodes)[-1][0]


PLAIN = [
    *(None, True, 0, -1, 2**63, -(2**70), 10**4000, 0.1, -0.0, 5e-324, 1e16, 1.5 + 2j),
    *(float("inf"), -float("inf"), "", "naïve\n\x00\ud800", b"\x00\xff"),
    *((), (1, (2.0, "three")), frozenset({1, "a"}), range(3, 9, 2), slice(None, 4), slice(1, 2, 3)),
    *(np.float64(0.1), np.float32(-np.inf), np.int8(-3), np.bool_(True), np.str_("é"), np.str_("")),
    *(
        np.bytes_(b"ab"),
        np.datetime64("2020-01-01", "D"),
        np.timedelta64(5, "ms"),
        np.uint64(2**64 - 1),
    ),
    *(np.dtype("float32"), np.dtype(object), np.dtype("M8[ns]"), np.dtype("<U7"), np.dtype(">i4")),
    *(torch.float32, torch.bool, torch.device("cuda:1"), torch.Size([2, 3])),
    *(datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.time(1, 2)),
    *(decimal.Decimal("1.10"), uuid.UUID(int=7), pathlib.Path("a") / "b"),
    *(
        pd.NA,
        pd.NaT,
        pd.Timestamp("2020-01-01 12:00"),
        pd.Timestamp("2020-06-01", tz="Europe/Rome"),
    ),
    *(pd.Timedelta("1h"), pd.Interval(0.5, 2, closed="left"), pd.Period("2020-03", "M")),
    *(pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")), pd.Timestamp("2020").as_unit("s")),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_immutable_values(value):
    again = there_and_back(value)
    assert type(again) is type(value)
    assert repr(again) == repr(value)


@pytest.mark.parametrize("bits", ["7ff8000000000000", "fff8000000000000", "7ff8000000000123"])
def test_every_nan_keeps_its_bits(bits):
    number = float(np.frombuffer(bytes.fromhex(bits), ">f8")[0])
    again = there_and_back(number)
    assert np.float64(again).tobytes() == np.float64(number).tobytes()


def test_the_usual_nan_is_found_in_containers():
    assert there_and_back(float("nan")) is np.nan


CONTAINERS = [
    {1: "int", "1": "str", (1, None): "tuple", np.int64(2): "numpy", np.nan: 0, True and 3: {}},
    {"b": [1, [2]], "a": (set(), {3, "x"})},
    collections.OrderedDict(b=1, a=2),
    [float("nan"), None],
]


@pytest.mark.parametrize("value", CONTAINERS)
def test_containers(value, same):
    same(value, there_and_back(value))
    if isinstance(value, dict):
        assert [type(key) for key in there_and_back(value)] == [type(key) for key in value]


ARRAYS = {
    **{
        name: np.arange(6).reshape(2, 3).astype(name)
        for name in ("bool", "int8", "int64", "uint16", "float16", "float32", "float64", ">f8")
    },
    "complex": np.array([1 + 2j, np.nan]),
    "words": np.array([["a", "bcd"], ["é", ""]]),
    "bytes": np.array([b"ab", b"c"]),
    "times": np.array(["2020", "NaT"], dtype="M8[s]"),
    "long double": np.array([1, 2], dtype=np.longdouble),
    "no axes": np.array(1.5),
    "no rows": np.empty((0, 3), dtype=np.float32),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "axes turned": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "backwards": np.arange(5)[::-1],
    "slice": np.arange(12.0).reshape(3, 4)[:, 1:3],
    "repeated": np.broadcast_to(np.arange(3), (2, 3)),
    "objects": np.array([["a", 1, None], [np.nan, (1, 2), pd.NA]], dtype=object),
    "no objects": np.empty((0, 2), dtype=object),
    "infinities": np.array([np.inf, -np.inf, np.nan, -0.0]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name, same):
    same(ARRAYS[name], there_and_back(ARRAYS[name]))


def test_arrays_of_arrays():
    outer = np.empty(2, dtype=object)
    outer[:] = [np.arange(2), [1, 2]]
    again = there_and_back(outer)
    assert again[0].tolist() == [0, 1]
    assert again[1] == [1, 2]


TENSORS = {
    **{
        str(dtype): torch.tensor([[0, 1], [2, 3]]).to(dtype)
        for dtype in (torch.bool, torch.int64, torch.float64, torch.float16, torch.bfloat16)
    },
    "complex": torch.tensor([1 + 2j]),
    "number": torch.tensor(2.5),
    "nothing": torch.empty(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).mT,
    "column": torch.arange(6.0).reshape(2, 3)[:, 1],
    "expanded": torch.arange(3.0).expand(2, 3),
    "gradient": torch.ones(2, requires_grad=True),
    "parameter": nn.Parameter(torch.ones(2)),
    "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name):
    one, other = TENSORS[name], there_and_back(TENSORS[name])
    assert type(one) is type(other)
    for what in ("dtype", "shape", "requires_grad"):
        assert getattr(one, what) == getattr(other, what)
    assert one.stride() == other.stride()
    assert torch.equal(one, other)


def test_tensors_on_the_same_memory():
    whole = torch.arange(6.0)
    again, part, once_more = there_and_back([whole, whole[2:4], whole])
    assert once_more is again
    again[2] = 7.0
    assert part[0] == 7.0


def test_an_empty_window_takes_nothing_along():
    writer = Writer(find, "value")
    writer.value(torch.zeros(1000)[:0])
    assert [blob.size for blob in writer.blobs.values()] == [0]


def test_a_tensor_that_hangs_on_others_is_cut_off():
    leaf = torch.ones(2, requires_grad=True)
    again = there_and_back(2 * leaf)
    assert again.tolist() == [2.0, 2.0]
    assert not again.requires_grad


def test_sparse_matrices():
    matrix = sparse.random_array((4, 5), density=0.4, format="csr", rng=0)
    again = there_and_back(matrix)
    assert type(again) is type(matrix)
    for part in ("data", "indices", "indptr"):
        assert getattr(again, part).tobytes() == getattr(matrix, part).tobytes()


DTYPES = [
    *(pd.Int8Dtype(), pd.UInt64Dtype(), pd.Float32Dtype(), pd.BooleanDtype()),
    *(pd.StringDtype("python"), pd.CategoricalDtype(), pd.CategoricalDtype(["b", "a"], True)),
    *(pd.CategoricalDtype([1.5, np.inf]), pd.CategoricalDtype(pd.interval_range(0, 3))),
    *(pd.IntervalDtype("float64", "left"), pd.PeriodDtype("M"), pd.DatetimeTZDtype("s", "UTC")),
    pd.CategoricalDtype(pd.to_datetime(["2020", "2021"])),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype):
    again = there_and_back(dtype)
    assert again == dtype
    assert repr(again) == repr(dtype)


@pytest.mark.parametrize("name", ["int64", "double", "float", "bool", "string", "large_string"])
def test_arrow_dtypes(name):
    arrow = pytest.importorskip("pyarrow")
    dtype = pd.ArrowDtype(arrow.type_for_alias(name))
    assert there_and_back(dtype) == dtype
    if name == "string":
        assert type(there_and_back(pd.StringDtype("pyarrow"))) is pd.StringDtype


INDEXES = [
    pd.RangeIndex(2, 10, 3, name="r"),
    pd.Index(["a", "b"], name=("a", 1)),
    pd.Index([1, "a", None, (1, 2)], tupleize_cols=False, dtype=object),
    pd.Index([1.5, np.nan]),
    pd.MultiIndex.from_tuples([("u", 1), ("u", 2), ("v", 1)], names=["p", None]),
    pd.CategoricalIndex(["x", "y", "x"], ordered=True),
    pd.IntervalIndex.from_breaks([0, 1, 2]),
    pd.DatetimeIndex(["2020-01-01", "NaT"]),
    pd.DatetimeIndex(["2020-01-01", "NaT"], tz="Asia/Tokyo"),
    pd.PeriodIndex(["2020-01", "2020-02"], freq="M"),
    pd.TimedeltaIndex(["1h", "2h"]),
    pd.Index(pd.array([1, None], dtype="Int64")),
    pd.Index(pd.array(["a", None], dtype="string")),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: type(index).__name__)
def test_indexes(index, same):
    same(index, there_and_back(index))


def test_frames_and_series(frame, same):
    odd = frame.rename(columns={"other": "real"})  # a name twice
    odd["arrays"] = [np.arange(2)] * len(odd)
    again = there_and_back(odd.drop(columns="arrays"))
    same(odd.drop(columns="arrays"), again)
    for name in ("count", "colour", "word", "constant"):
        same(frame[name], there_and_back(frame[name]))
    same(frame.iloc[:0, :0], there_and_back(frame.iloc[:0, :0]))
    same(odd["arrays"].iloc[0], there_and_back(odd["arrays"]).iloc[0])


def test_what_is_shared_is_shared_again():
    shared = np.arange(3)
    one, two = there_and_back([{"a": shared}, (shared, [shared])])
    assert one["a"] is two[0]
    assert one["a"] is two[1][0]


def test_cycles_close():
    inner = []
    outer = {"list": inner, "tuple": (inner,)}
    inner.append(outer)
    again = there_and_back(outer)
    assert again["list"][0] is again
    assert again["tuple"][0] is again["list"]


def test_modules_keep_their_shape(same):
    module = nn.ModuleList([nn.ParameterList([torch.ones(2)]), nn.ModuleDict()]).eval()
    module.append(module[0])
    again = there_and_back(module)
    assert again[2] is again[0]
    assert not again.training
    assert vars(again).keys() == vars(module).keys()
    again.register_forward_hook(lambda *parts: None)
    assert not module._forward_hooks


@pytest.mark.parametrize(
    "value",
    [
        *(len, lambda x: x, int, np, nn.ReLU(), iter([]), object(), collections.defaultdict(list)),
        *(np.ma.array([1]), np.zeros(1, dtype="i4,f4"), torch.zeros(1).to_sparse()),
        *(torch.zeros(1, device="meta"), np.random.default_rng(0), bytearray(b"a")),
        np.random.RandomState(np.random.PCG64(0)),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
    ],
    ids=lambda value: type(value).__name__,
)
def test_code_and_strangers_are_refused_by_name(value):
    with pytest.raises(TypeError, match=r"value\[0\]\['deep'\] cannot be saved.*joblib"):
        there_and_back({"deep": value})


def test_hooks_are_refused():
    module = nn.ModuleList()
    module.register_forward_hook(lambda *parts: None)
    with pytest.raises(TypeError, match="it has hooks"):
        there_and_back(module)


class WithSlots:
    __slots__ = ("__dict__", "one", "two")


class WithState:
    def __getstate__(self):
        return [1, 2]

    def __setstate__(self, state):
        self.total = sum(state)


class Reduced:
    def __reduce__(self):
        return Reduced, ()


def test_objects_have_their_own_ways(monkeypatch):
    known = {"slots": WithSlots, "state": WithState, "reduced": Reduced, "context": Context}
    monkeypatch.setattr("skvae.persistence.objects.classes", lambda: known)
    names = {kind: name for name, kind in known.items()}
    for place in ("kinds", "objects"):
        monkeypatch.setattr(f"skvae.persistence.{place}.names", lambda: names)
    value = WithSlots()
    value.one, value.other = [1], "attribute"
    again = there_and_back(value)
    assert (again.one, again.other, hasattr(again, "two")) == ([1], "attribute", False)
    assert there_and_back(WithState()).total == 3
    with pytest.raises(TypeError, match="a way of its own"):
        there_and_back(Reduced())
