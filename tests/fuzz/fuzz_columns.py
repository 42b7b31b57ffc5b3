"""Columns of every sort that a table may have, made by a random generator."""

import datetime
import decimal

import numpy as np
import pandas as pd

try:
    import pyarrow  # noqa: F401

    HAVE_ARROW = True
except ImportError:
    HAVE_ARROW = False

LARGEST = np.finfo(np.float64).max


def _pick(values, dtype=None):
    """Cells drawn among a few values."""

    def make(rng, n):
        return pd.Series([values[k] for k in rng.integers(0, len(values), n)], dtype=dtype)

    return make


def _all(value, dtype=None):
    return lambda rng, n: pd.Series([value] * n, dtype=dtype)


def _whole(low, high, dtype):
    def make(rng, n):
        return pd.Series(rng.integers(low, high, n, endpoint=True).astype(np.int64)).astype(dtype)

    return make


def _levels(values, ordered=False):
    """Categories of which not all need to occur."""
    dtype = pd.CategoricalDtype(values, ordered)
    return lambda rng, n: pd.Series(
        pd.Categorical.from_codes(rng.integers(0, len(values), n), dtype=dtype)
    )


def _unused(rng, n):
    levels = ["never", "a", "b", "nor this"]
    return pd.Series(pd.Categorical(["a", "b"] * (n // 2) + ["a"] * (n % 2), categories=levels))


def _binned(rng, n):
    return pd.Series(pd.cut(rng.normal(size=n), [-9.0, -0.5, 0.5, 9.0]))


FLOATS = {
    "normal": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-3, 4),
    "skewed": lambda rng, n: np.exp(2 * rng.normal(size=n)),
    "rounded": lambda rng, n: rng.normal(size=n).round(1),
    "constant": lambda rng, n: np.full(n, rng.normal()),
    "nearly constant": lambda rng, n: 1 + 1e-12 * rng.integers(0, 3, n),
    "one differs": lambda rng, n: np.where(np.arange(n) == 0, 7.5, 0.0),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "tiny": lambda rng, n: 1e-300 * rng.normal(size=n),
    "subnormal": lambda rng, n: 5e-324 * rng.integers(-3, 9, n),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "ends": _pick([-LARGEST, 0.0, LARGEST]),
    "far away": lambda rng, n: 1e12 + 1e-3 * rng.normal(size=n),
    "magnitudes": _pick([1e-300, 1.0, 1e300]),
    "decades": lambda rng, n: 10.0 ** rng.uniform(-60, 60, n),
    "signed zeros": _pick([-0.0, 0.0, 1.5]),
    "two values": _pick([1.0, 2.0]),
    "whole floats": lambda rng, n: rng.poisson(3.0, n).astype(float),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "ends of float32": _pick([-3.4e38, 1e-45, 3.4e38], np.float32),
    "float16": lambda rng, n: rng.normal(size=n).astype(np.float16),
}
WHOLE = {
    "int8": _whole(-128, 127, np.int8),
    "int16": _whole(-9, 9, np.int16),
    "int32": _whole(0, 3, np.int32),
    "counts": lambda rng, n: rng.negative_binomial(1, 0.3, n),
    "zero-inflated": lambda rng, n: rng.poisson(20, n) * rng.integers(0, 2, n),
    "years": _whole(1950, 2020, np.int64),
    "uint8": _whole(0, 255, np.uint8),
    "uint64": lambda rng, n: np.uint64(2**63) + rng.integers(0, 9, n).astype(np.uint64),
    "large": _whole(-(10**18), 10**18, np.int64),
    "ends of int64": _pick([-(2**63), 0, 2**63 - 1], np.int64),
    "constant whole": _all(3, np.int64),
    "row numbers": lambda rng, n: np.arange(n),
    "bool": _pick([False, True], bool),
}
NULLABLE = {
    "Int64": lambda rng, n: pd.Series(rng.poisson(2.0, n), dtype="Int64"),
    "Int8": _whole(-128, 127, "Int8"),
    "UInt8": _whole(0, 255, "UInt8"),
    "large Int64": _whole(2**60, 2**62, "Int64"),
    "Float64": lambda rng, n: pd.Series(rng.normal(size=n), dtype="Float64"),
    "Float32": lambda rng, n: pd.Series(rng.normal(size=n), dtype="Float32"),
    "boolean": _pick([False, True], "boolean"),
    "constant boolean": _all(True, "boolean"),
}
TEXT = {
    "string": _pick(["a", "b", "c"], "string"),
    "text": _pick(["a", "b", "c"], "str"),
    "object text": _pick(["a", "b", "c"], object),
    "two words": _pick(["yes", "no"], object),
    "one word": _all("only", object),
    "unicode": _pick(["ä", "\u4e2d\u6587", "e\u0301", "\U0001f600", "a\nb"], object),
    "empty strings": _pick(["", " ", "a"], object),
    "like numbers": _pick(["1", "2", "1.0", "nan", "-1"], object),
    "identifiers": lambda rng, n: pd.Series([f"id {k}" for k in rng.permutation(n)], dtype="str"),
}
OBJECTS = {
    "object whole": _pick([1, 2, 30], object),
    "object floats": lambda rng, n: pd.Series(rng.normal(size=n), dtype=object),
    "object numbers": _pick([1, 2.5, 3], object),
    "object bools": _pick([True, False], object),
    "object nothing": _all(None, object),
}
CATEGORIES = {
    "category": _levels(["a", "b", "c"]),
    "ordered": _levels(["low", "middle", "high"], ordered=True),
    "ordered numbers": _levels([3, 1, 2], ordered=True),
    "number levels": _levels([10, 20, 30]),
    "float levels": _levels([0.5, 1.5]),
    "bool levels": _levels([False, True]),
    "unused levels": _unused,
    "one level": _levels(["only"]),
    "no level": lambda rng, n: pd.Series(pd.Categorical([None] * n, categories=[])),
    "many levels": _levels([f"level {k}" for k in range(40)]),
    "intervals": _binned,
    "days as levels": _levels(list(pd.date_range("2020", periods=3))),
}
ARROW = {
    "arrow whole": lambda rng, n: pd.Series(rng.poisson(2.0, n), dtype="int64[pyarrow]"),
    "arrow floats": lambda rng, n: pd.Series(rng.normal(size=n), dtype="double[pyarrow]"),
    "arrow text": _pick(["a", "b", "c"], "string[pyarrow]"),
    "arrow bools": _pick([False, True], "bool[pyarrow]"),
}
if not HAVE_ARROW:
    ARROW.clear()
SOUND = {**FLOATS, **WHOLE, **NULLABLE, **TEXT, **OBJECTS, **CATEGORIES, **ARROW}

# Columns that are to be refused, with what the error says of them.
REFUSED = {
    "times": (lambda rng, n: pd.date_range("2020", periods=n), "holds times"),
    "durations": (lambda rng, n: pd.to_timedelta(np.arange(n), unit="D"), "holds times"),
    "periods": (lambda rng, n: pd.period_range("2020", periods=n, freq="D"), "holds times"),
    "days": (_all(datetime.date(2020, 1, 1), object), "holds times"),
    "complex": (lambda rng, n: rng.normal(size=n) + 1j, "holds complex numbers"),
    "sparse": (lambda rng, n: pd.arrays.SparseArray(rng.poisson(0.5, n)), "holds sparse values"),
    "bytes": (_all(b"a", object), r"dtype object and mixes or holds .*\(bytes\)"),
    "lists": (_all([1, 2], object), r"dtype object and mixes or holds .*\(list\)"),
    "decimals": (_all(decimal.Decimal("1.5"), object), r"dtype object and .*\(Decimal\)"),
    "mixed": (
        lambda rng, n: pd.Series([1, "a"] * (n // 2 + 1), dtype=object)[:n],
        "dtype object and mixes",
    ),
    "infinite": (_all(np.inf), None),
    "minus infinity": (lambda rng, n: np.where(np.arange(n) == 0, -np.inf, 1.0), None),
    "infinite Float64": (_all(np.inf, "Float64"), None),
    "infinite object": (_all(np.inf, object), None),
}


def make_column(kind, rng, n):
    """A column without holes."""
    make = SOUND[kind] if kind in SOUND else REFUSED[kind][0]
    return pd.Series(make(rng, n))


def complaint(kind, name):
    """What the error must say of a refused column; a pattern."""
    what = REFUSED[kind][1]
    return f"infinity.*{name}" if what is None else f"Column {name} .*{what}"


def can_have_holes(column):
    """Whether a cell can be absent without another dtype."""
    return not (isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub")


def punched(column, holes, rng):
    """The column with cells absent where `holes`, in whatever way its dtype says so."""
    if not holes.any() or not can_have_holes(column):
        return column
    if column.dtype == np.dtype(object):
        cells = column.to_numpy(dtype=object).copy()
        markers = [None, np.nan, pd.NA, pd.NaT]
        cells[holes] = [markers[k] for k in rng.integers(0, len(markers), holes.sum())]
        return pd.Series(cells, index=column.index, dtype=object)
    return column.mask(holes)
