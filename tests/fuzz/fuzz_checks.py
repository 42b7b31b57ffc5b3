"""What is asked of every estimator, whatever the table."""

import copy
import pickle
import re
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn.utils
from fuzz_tables import NEW_ROWS, as_frame, live
from pandas.api import types

import skvae

# Where an error that a user is to understand may be raised.
OWN_FOLDERS = (Path(skvae.__file__).parent, Path(sklearn.utils.__file__).parent)
# Share of a column's range by which a result may hang on the other rows of a call.
TOLERANCE = 1e-3
# Results in the units of the table.
TABLES = ("filled", "lower", "upper", "reconstruct", "predicted blocks", "a block")


class Unclear(AssertionError):
    """An error that a user would not understand, or that the table does not deserve."""


@contextmanager
def loud():
    """Warnings are errors, but for the sentences that skvae itself says to users."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sentence in SENTENCES:
            warnings.filterwarnings("ignore", message=sentence)
        yield


SENTENCES = (
    "Skipping features without any observed values",
    "Columns with more than max_categories=",
    "Values not seen during fit",
    r"\d+ row\(s\) of X have no observed value",
    "The loss (of the .* members )?stopped being finite",
    "No loading of decoder='sparse' became zero",
    "The columns of condition_on take",
    r"\d+ rows of X have",
    "No row has blocks of more than one of",
    r"Columns \[.*\] have no holes at fit",
    r"Values of \[.*\] are taken to hide because of what they are",
    "Held-out rows speak against what is assumed",
    "Shifts take hidden values of",
    r"Column .* holds .*: \d+ value\(s\) of it lie more than 100 interquartile ranges",
)


def refused(call, patterns):
    """The result of a call, and whether it was refused by an error that fits one of the patterns.

    Raises
    ------
    Unclear
        If another error came up, or one from the depths of a library.
    """
    try:
        with loud():
            return call(), False
    except (ValueError, TypeError) as error:
        check_clear(error, patterns)
        return None, True
    except Exception as error:
        raise Unclear(f"{type(error).__name__}: {error}") from error


def check_clear(error, patterns):
    """Hold an error to what a user may ask of it.

    It is a ValueError or a TypeError, raised by skvae or by scikit-learn's validation, and its
    message is one that this table and these parameters deserve: a pattern names the column, the
    parameter or the number of rows that is to blame.
    """
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    if isinstance(error, np.linalg.LinAlgError | UnicodeError):
        raise Unclear(f"{type(error).__name__}: {error}") from error
    if not any(folder in place.parents for folder in OWN_FOLDERS):
        raise Unclear(f"raised in {place}: {error}") from error
    if not any(re.search(pattern, str(error), re.DOTALL) for pattern in patterns):
        raise Unclear(f"not deserved, expected one of {patterns}: {error}") from error


def check_refused(call, patterns):
    """Raise where a call is not refused clearly."""
    if not refused(call, patterns)[1]:
        raise Unclear(f"accepted what should be refused as one of {patterns}")


# Tables ---------------------------------------------------------------------------------------


def holes_of(table, sentinel=None):
    """Where cells are absent, bool (n, p)."""
    frame = as_frame(table)
    holes = frame.isna().to_numpy().copy()
    if sentinel is not None and not pd.isna(sentinel):
        for j in range(frame.shape[1]):
            cells = frame.iloc[:, j].to_numpy(dtype=object)
            kind = isinstance(sentinel, str)
            same = [
                isinstance(c, str) == kind and not h and c == sentinel
                for c, h in zip(cells, holes[:, j], strict=True)
            ]
            holes[:, j] |= np.array(same, dtype=bool)
    return holes


def check_complete(table, what):
    """No cell is absent or infinite."""
    frame = as_frame(table)
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        assert not column.isna().any(), f"{what}: holes in {frame.columns[j]!r}"
        if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
            cells = column.to_numpy(dtype=float)
        else:
            cells = np.array([c for c in column if isinstance(c, float)])
        assert np.isfinite(cells).all(), f"{what}: infinity in {frame.columns[j]!r}"


def check_kept(before, after, holes):
    """Cells that were there are there, to the last bit, under the same names and labels."""
    before, after = as_frame(before), as_frame(after)
    assert after.index.equals(before.index)
    assert after.columns.equals(before.columns)
    for j in range(before.shape[1]):
        old, new = before.iloc[:, j], after.iloc[:, j]
        assert _same_cells(old[~holes[:, j]], new[~holes[:, j]]), f"changed: {before.columns[j]!r}"


def _same_cells(old, new):
    if old.dtype == new.dtype and isinstance(old.dtype, np.dtype) and old.dtype.kind == "f":
        return old.to_numpy().tobytes() == new.to_numpy().tobytes()
    same_type = old.dtype == new.dtype or old.dtype == object == new.dtype
    return all(
        a == b and (type(a) is type(b) or not same_type) for a, b in zip(old, new, strict=True)
    )


def check_same(table, other, what):
    """Two results are the same to the last bit."""
    one, two = as_frame(table), as_frame(other)
    pd.testing.assert_frame_equal(one, two, check_exact=True, obj=what)


def check_close(result, other, what, least=0.0):
    """Two results are the same but for rounding, in units of the largest number of a column.

    Parameters
    ----------
    result, other : table
    what : str
    least : float, default=0.0
        The smallest such unit.
    """
    one, two = as_frame(result), as_frame(other)
    assert one.shape == two.shape, what
    for j in range(one.shape[1]):
        a, b = one.iloc[:, j], two.iloc[:, j]
        if not holds_numbers(a):
            different = [(x, y) for x, y in zip(a, b, strict=True) if x is not y and x != y]
            assert not different, f"{what}, column {j}: {different[:3]}"
            continue
        whole = not any(isinstance(cell, float) for cell in a)
        a, b = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
        unit = max(np.abs(a).max(), least, 5e-324)
        size = np.abs(a / unit - b / unit)
        slack = 1 / unit if whole else 0.0  # a number between two whole ones may go either way
        assert (size <= TOLERANCE + slack).all(), (
            f"{what}, column {j}: {a[size.argmax()]} and {b[size.argmax()]}"
        )


def holds_numbers(column):
    """Whether cells are numbers, no booleans, and no levels of a category."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    return types.infer_dtype(column, skipna=True) in ("floating", "integer", "mixed-integer-float")


# Estimators -----------------------------------------------------------------------------------


def check_rows(estimator, recipe, results, rng, may=()):
    """Results are complete, survive a pickle, and hang on no other row of the table.

    Parameters
    ----------
    estimator : fitted estimator
    recipe : Recipe
    results : callable
        From the estimator and a table to a dict of what it says of the rows.
    rng : Generator
    may : sequence of str
        Patterns of errors with which the rows may be refused: some did not count in the fit.

    Returns
    -------
    dict or None
        The results; None where the rows were refused.
    """
    X, frame = recipe.X, recipe.frame
    said, was_refused = refused(lambda: results(estimator, X), may)
    if was_refused:
        return None
    with loud():
        for name, result in said.items():
            assert len(as_frame(result)) == len(frame), name
            check_complete(result, name)
        again = results(pickle.loads(pickle.dumps(estimator)), copy.deepcopy(X))
        for name, result in said.items():
            check_same(result, again[name], f"{name} after a pickle")
        order = rng.permutation(len(frame))
        for rows in (order, order[: len(order) // 2 + 1], order[:1]):
            part = results(estimator, recipe.contained(frame.iloc[rows]))
            for name, result in said.items():
                # Latents and nats have a unit of their own, tables may be of any size.
                least = 0.0 if name in TABLES else 1.0
                which = f"{name} of {len(rows)} rows"
                check_close(as_frame(result).iloc[rows], part[name], which, least)
    return said


def of_far_values(recipe):
    """Patterns of what is said of values that are nothing like those of the fit."""
    columns = "|".join(recipe.name(j) for j in range(len(recipe.kinds)))
    return [f"Column ({columns}) (holds .*single precision cannot model|is of kind)"]


def check_new_rows(estimator, recipe, results, rng, weight, also=()):
    """New rows with more holes, other levels and far values have complete results.

    `weight` is that of the fit's rows, and `also` are patterns of errors that may come up.
    """
    for name, change in NEW_ROWS.items():
        new = recipe.contained(change(recipe.frame, rng))
        patterns = [*also]
        if name == "far out":
            patterns += of_far_values(recipe)
        said, _ = refused(lambda new=new: results(estimator, new), patterns)
        for what, result in (said or {}).items():
            check_complete(result, f"{what} of {name} rows")
    check_bad_rows(estimator, recipe, results, live(recipe, weight))


def check_bad_rows(estimator, recipe, results, seen):
    """Rows that are not of the table are refused."""
    frame = recipe.frame
    floats = [j for j, dtype in enumerate(frame.dtypes) if dtype == np.float64]
    if not floats:
        return
    j = floats[-1]
    infinite, words, times = frame.copy(), frame.copy(), frame.copy()
    infinite.isetitem(j, frame.iloc[:, j] + np.inf)
    infinite.iloc[0, j] = np.inf
    words.isetitem(j, pd.Series("word", index=frame.index, dtype=object))
    times.isetitem(j, pd.Series(pd.Timestamp("2020"), index=frame.index))
    name = recipe.name(j)
    bad = {f"infinity.*{name}": infinite}
    if recipe.container == "frame":
        bad[f"Column {name} holds times"] = times
        if not seen.iloc[:, j].isna().all():
            bad[f"Column {name} held numbers at fit but holds text now"] = words
        bad["feature"] = frame.iloc[:, :-1]
    for pattern, new in bad.items():
        new = recipe.contained(new)
        check_refused(lambda new=new: results(estimator, new), [pattern])
