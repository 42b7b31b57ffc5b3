"""How many tables are tried, and parameters that all estimators have."""

import re

import numpy as np
import pandas as pd
import pytest
from fuzz_tables import live
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Tables for each estimator: in the ordinary run, always the same, and with -m slow.
N_FEW, N_MANY = 14, 400
_COMMON = settings(
    deadline=None,
    database=None,
    print_blob=True,
    # A fit takes its time, and that is all that these checks find fault with.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
few = settings(_COMMON, max_examples=N_FEW, derandomize=True)
_many = settings(_COMMON, max_examples=N_MANY)


def many(test):
    """Decorate a test that only runs with ``-m slow``; ``--hypothesis-seed`` sets its tables."""
    return pytest.mark.slow(_many(test))


def parameters(recipe, **own):
    """Small fits; `own` are strategies for what one estimator has, or has differently."""
    n_varying = sum(_varies(column) for _, column in recipe.frame.items())
    numbers = ["auto", "auto", 1, min(2, max(n_varying, 1))]
    shared = {
        "n_components": st.sampled_from([*numbers * 5, 9]),
        "hidden_layer_sizes": st.sampled_from([(8,), (6,), (4, 3), (8,), ()]),
        "max_iter": st.integers(1, 15) | st.just(0),
        "batch_size": st.integers(1, 64),
        "n_importance_samples": st.integers(1, 4),
        "beta": st.sampled_from([1.0, 1.0, 0.3, 4.0, 0.0]),
        "likelihood": st.sampled_from(
            [
                None,
                None,
                {"continuous": "student_t"},
                {"continuous": "heteroscedastic"},
                {"continuous": "gaussian", "count": "poisson"},
            ]
        ),
        "max_categories": st.sampled_from([100, 100, 2, 3]),
        "learning_rate_init": st.sampled_from([5e-3, 5e-3, 1e-4, 0.3]),
        "early_stopping": st.booleans(),
        "validation_fraction": st.sampled_from([0.1, 0.03, 0.45]),
        "random_state": st.integers(0, 3),
    }
    return st.fixed_dictionaries({**shared, **own})


@st.composite
def column_types(draw, recipe):
    """Kinds for one column or another of a table, most of which it can have."""
    if draw(st.integers(0, 3)):
        return None
    frame = recipe.frame
    j = draw(st.integers(0, frame.shape[1] - 1))
    kind = draw(st.sampled_from(_possible(frame.iloc[:, j]) or ["categorical"]))
    return {recipe.labels[j]: kind}


def _possible(column):
    if not pd.api.types.is_numeric_dtype(column.dtype) or column.dtype == bool:
        return ["categorical", "categorical", "categorical", "ordinal"]
    seen = column.dropna().to_numpy()
    if np.iscomplexobj(seen) or not np.isfinite(seen.astype(float)).all():
        return []
    kinds = ["continuous", "categorical", "ordinal"]
    if (seen > 0).all():
        kinds.append("positive")
    if (seen >= 0).all() and (seen.astype(float) % 1 == 0).all():
        kinds.append("count")
    return kinds


def of_column_types(declared):
    """Patterns of what may be wrong with declared kinds."""
    return [
        rf"Column {re.escape(repr(name))} (is declared|is of kind|holds .* single precision|"
        r"holds whole numbers beyond 2\*\*53)"
        for name in declared or {}
    ]


def of_constant_tables(recipe, weight):
    """Patterns of what may be wrong where no column varies."""
    rows = live(recipe, weight)
    found = []
    if rows.isna().all(axis=None):
        found.append("No column of X has an observed value")
    if not any(_varies(rows.iloc[:, j]) for j in range(rows.shape[1])):
        found.append(rf"No column of X varies over its n_samples={len(rows)}: .*give rows that")
    return found


def _varies(column):
    seen = [cell for cell in column if not (np.ndim(cell) == 0 and pd.isna(cell))]
    if pd.api.types.is_integer_dtype(column.dtype):
        seen = [float(cell) for cell in seen]  # whole numbers beyond 2**53 may be one number
    return any(cell != seen[0] for cell in seen)


def of_widths(options):
    """The pattern of what may be wrong with numbers of components."""
    if isinstance(options["n_components"], int | tuple):
        return [r"n_components=.* is more than the \d features that the columns of X have"]
    return []
