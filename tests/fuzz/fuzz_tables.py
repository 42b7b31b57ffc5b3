"""Tables of random kinds, holes and sizes, and new rows for what was fitted on them."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from fuzz_columns import (
    ARROW,
    CATEGORIES,
    FLOATS,
    NULLABLE,
    OBJECTS,
    REFUSED,
    SOUND,
    TEXT,
    WHOLE,
    complaint,
    make_column,
    punched,
)
from hypothesis import strategies as st

# Columns that another one determines.
COPIES = ("copy", "line", "above")
NAMES = {
    "words": lambda p: [f"c{j}" for j in range(p)],
    "numbers": lambda p: list(range(7, 7 + p)),
    "pairs": lambda p: pd.MultiIndex.from_tuples([(f"g{j % 2}", j) for j in range(p)]),
    "odd words": lambda p: (
        ["", "ä ö", "x0", "a\nb", "'", "value", "row", "{}"][:p] + [f"c{j}" for j in range(8, p)]
    ),
    "days": lambda p: list(pd.date_range("2020", periods=p)),
}
REFUSED_NAMES = {
    "twice": lambda p: ["c0", *[f"c{max(j, 0)}" for j in range(p - 1)]],
    "words and numbers": lambda p: [j if j % 2 else f"c{j}" for j in range(p)],
}
INDICES = {
    "range": pd.RangeIndex,
    "all the same": lambda n: pd.Index([3] * n),
    "days": lambda n: pd.date_range("2020", periods=n),
    "pairs": lambda n: pd.MultiIndex.from_arrays([np.arange(n) % 2, np.arange(n) // 3]),
    "words": lambda n: pd.Index([f"row {k % 4}" for k in range(n)], name="id"),
    "with holes": lambda n: pd.Index([np.nan, *range(1, n)]),
}
# What numbers of a frame become.
ARRAYS = {
    "float64": lambda frame: frame.to_numpy(dtype=np.float64, na_value=np.nan),
    "float32 by columns": lambda frame: np.asfortranarray(
        frame.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
    ),
    "read-only": lambda frame: _frozen(frame.to_numpy(dtype=np.float64, na_value=np.nan)),
    "strided": lambda frame: np.repeat(
        np.repeat(frame.to_numpy(dtype=np.float64, na_value=np.nan), 2, axis=0), 2, axis=1
    )[::2, ::2],
    "lists": lambda frame: frame.to_numpy(dtype=np.float64, na_value=np.nan).tolist(),
}
OBJECT_ARRAYS = {
    "objects": lambda frame: frame.to_numpy(dtype=object),
    "lists of objects": lambda frame: frame.to_numpy(dtype=object).tolist(),
}
CONTAINERS = {"frame": lambda frame: frame, **ARRAYS, **OBJECT_ARRAYS}
# Kinds that single precision, or an array of objects, cannot hold in their own way.
TOO_FAR = {"huge", "ends", "magnitudes", "decades", "ends of float32", "tiny", "subnormal"}
FOR_NUMBERS = tuple(kind for kind in (*FLOATS, "counts", "Int64") if kind not in TOO_FAR)
FOR_OBJECTS = ("normal", "counts", "bool", *TEXT, *OBJECTS)


def as_frame(table):
    """Whatever an estimator takes or returns, by columns."""
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, dict):
        return pd.concat([as_frame(block) for block in table.values()], axis=1)
    array = table if isinstance(table, np.ndarray) else np.array(table, dtype=object)
    return pd.DataFrame(array, dtype=array.dtype)


def _frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Recipe:
    """All that makes a table: print one, and anyone can make it again."""

    n: int
    kinds: tuple[str, ...]
    shares: tuple[float, ...]
    names: str = "words"
    index: str = "range"
    container: str = "frame"
    silent_rows: bool = False
    twins: bool = False
    seed: int = 0

    @cached_property
    def frame(self):
        """The table as a frame."""
        rng, n, columns = np.random.default_rng(self.seed), self.n, []
        for kind in self.kinds:
            column = _copy(kind, columns[0], rng) if kind in COPIES else make_column(kind, rng, n)
            columns.append(column)
        silent = self.silent_rows & (rng.random(n) < 0.3)
        for j, share in enumerate(self.shares):
            if self.kinds[j] not in REFUSED:
                columns[j] = punched(columns[j], silent | (rng.random(n) < share), rng)
        frame = pd.DataFrame(dict(enumerate(columns)))
        if self.twins:
            frame = frame.iloc[rng.integers(0, n, n)]
        frame.index = INDICES[self.index](n)
        frame.columns = {**NAMES, **REFUSED_NAMES}[self.names](len(columns))
        return frame

    @property
    def X(self):
        """The table as a user has it."""
        return self.contained(self.frame)

    def contained(self, frame):
        """Rows in the container of the table."""
        return CONTAINERS[self.container](frame)

    @property
    def labels(self):
        """What an estimator calls the columns: names, or positions of an array."""
        return list(as_frame(self.X).columns)

    def name(self, j):
        """How errors call a column, as a pattern."""
        return re.escape(repr(self.labels[j]))

    def without_holes(self):
        """The same table, complete."""
        return replace(self, shares=(0.0,) * len(self.kinds), silent_rows=False)

    def complaints(self):
        """Patterns of errors with which the table must be refused."""
        found = [
            complaint(kind, self.name(j)) for j, kind in enumerate(self.kinds) if kind in REFUSED
        ]
        if self.names == "twice" and len(self.kinds) > 1:
            found.append(r"X has duplicate column names: \['c0'")
        if self.names == "words and numbers" and len(self.kinds) > 1:
            found.append("Feature names are only supported if all input features have string names")
        return found


def _copy(kind, column, rng):
    """A column that the first one determines."""
    if kind == "copy" or not pd.api.types.is_float_dtype(column.dtype):
        return column.copy()
    values = column.to_numpy(dtype=float)
    if kind == "line":
        return pd.Series(3 * (values / 4) - 2)
    return pd.Series(np.where(values > np.median(values), "above", "below"), dtype=object)


def _kinds(some):
    return st.lists(st.sampled_from([*some]), min_size=1, max_size=8)


def _mostly(first, *others):
    """The first option in half of the draws."""
    return st.one_of(st.just(first), st.sampled_from([first, *others]))


@st.composite
def recipes(draw):
    """Tables of any kind; one in fifteen or so is to be refused."""
    container = draw(_mostly("frame", *CONTAINERS))
    mixture = st.one_of(*(_kinds(group) for group in _GROUPS), _kinds([*SOUND, *COPIES]))
    names, index = "words", "range"
    if container == "frame":
        kinds = draw(mixture)
        names = draw(_mostly("words", *NAMES))
        if draw(st.integers(0, 29)) == 29:
            names = draw(st.sampled_from([*REFUSED_NAMES]))
        index = draw(_mostly("range", *INDICES))
    else:
        kinds = draw(_kinds(FOR_NUMBERS if container in ARRAYS else FOR_OBJECTS))
    if kinds[0] in COPIES:
        kinds[0] = "normal"
    if container == "frame" and draw(st.integers(0, 19)) == 19:
        kinds.insert(draw(st.integers(0, len(kinds))), draw(st.sampled_from([*REFUSED])))
        kinds[0] = "normal" if kinds[0] in REFUSED and len(kinds) > 1 else kinds[0]
    shares = st.sampled_from([0.0, 0.1, 0.3, 0.0, 0.1, 0.9, 0.3, 0.0, 0.1, 1.0])
    return Recipe(
        draw(st.one_of(st.integers(1, 60), st.integers(2, 60), *[st.integers(4, 40)] * 2)),
        tuple(kinds),
        tuple(draw(shares) for _ in kinds),
        names,
        index,
        container,
        draw(st.integers(0, 4)) == 4,
        draw(st.integers(0, 7)) == 7,
        draw(st.integers(0, 2**16)),
    )


_GROUPS = (FLOATS, WHOLE, {**NULLABLE, **ARROW}, {**TEXT, **OBJECTS}, CATEGORIES)


def weights(n):
    """Weights of rows, or none."""

    def make(kind, seed):
        rng = np.random.default_rng(seed)
        extreme = [1e-300, 1e-3, 1.0, 1e300] if kind == "extreme" else [1.0, 2.0]
        weight = rng.choice(extreme, n)
        if kind == "zeros":
            weight[rng.random(n) < 0.3] = 0.0
            weight[rng.integers(n)] = 1.0
        return weight

    kinds = st.sampled_from(["some", "zeros", "extreme"])
    return st.one_of(st.none(), st.none(), st.builds(make, kinds, st.integers(0, 2**16)))


def counted(recipe, weight):
    """Which rows count in a fit; weights that vanish beside the largest do not."""
    return np.ones(recipe.n, dtype=bool) if weight is None else weight / weight.max() > 1e-37


def live(recipe, weight):
    """The rows that count, as the estimator gets them."""
    return as_frame(recipe.X)[counted(recipe, weight)]


# New rows ---------------------------------------------------------------------------------------


def holed(frame, rng):
    """Rows with more holes: numbers without a place for these become floats or objects."""
    return frame.mask(rng.random(frame.shape) < 0.5)


def silent(frame, rng):
    """A row without any value."""
    return frame.iloc[:1].mask(np.ones((1, frame.shape[1]), dtype=bool))


def with_strange_levels(frame, rng):
    """Rows with words and levels that nobody has seen."""
    frame = frame.copy()
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        if isinstance(column.dtype, pd.CategoricalDtype):
            numbers = pd.api.types.is_numeric_dtype(column.cat.categories.dtype)
            column = column.astype(object)
            column.iloc[0] = 77 if numbers else "never seen"
            frame.isetitem(j, column.astype("category"))
        elif pd.api.types.infer_dtype(column, skipna=True) == "string":
            column = column.copy()
            column.iloc[0] = "never seen"
            frame.isetitem(j, column)
    return frame


def far_out(frame, rng):
    """Rows with numbers that are far from those seen."""
    frame = frame.copy()
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
            times = 10.0 ** rng.integers(1, 14)
            with np.errstate(over="ignore"):
                moved = np.clip(column.astype(float) * times + 7, -1e308, 1e308)
            frame.isetitem(j, moved)
        elif pd.api.types.is_integer_dtype(column.dtype):
            frame.isetitem(j, column + column.dtype.type(1))
    return frame


NEW_ROWS = {"holed": holed, "silent": silent, "strange": with_strange_levels, "far out": far_out}
