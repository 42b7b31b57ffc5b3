"""The rooms of the house and the one direction their imports may take."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "skvae"

# Top to bottom: a room imports from itself and from the rooms below it, never from above.
ROOMS = [
    "estimators",
    "persistence",
    "inspection",
    "datasets",
    "tabular",
    "training",
    "inference",
    "models",
    "nn",
    "distributions",
]
# These know tensors only.
TENSOR_ROOMS = {"training", "inference", "models", "nn", "distributions"}
# What rooms that are not estimators may use of scikit-learn.
SKLEARN_TOOLS = ("sklearn.utils", "sklearn.exceptions")
# Models that only measure, and are no part of any of ours.
YARDSTICKS = {"skvae/inspection/factors.py": ("sklearn.ensemble",)}
# Parts of estimators that a file may hold: classes on a list, and never used there.
LISTED = {"skvae/persistence/classes.py": ("sklearn.impute", "sklearn.preprocessing")}

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def imported_modules(path):
    """Absolute names of all modules a file imports, wherever the statement stands."""
    package = ["skvae", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def names_room(module, room):
    return module == f"skvae.{room}" or module.startswith(f"skvae.{room}.")


def name(path):
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_has_a_known_room(path):
    assert room_of(path) in {None, *ROOMS}


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) in ROOMS], ids=name)
def test_imports_go_down(path):
    above = ROOMS[: ROOMS.index(room_of(path))]
    upward = {m for m in imported_modules(path) for room in above if names_room(m, room)}
    assert not upward, f"{name(path)} imports from above: {sorted(upward)}"


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) in TENSOR_ROOMS], ids=name)
def test_tensor_rooms_know_neither_pandas_nor_sklearn(path):
    foreign = {m for m in imported_modules(path) if m.split(".")[0] in {"pandas", "sklearn"}}
    assert not foreign, f"{name(path)} imports {sorted(foreign)}"


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) != "estimators"], ids=name)
def test_only_estimators_use_sklearn_estimators(path):
    file = path.relative_to(PACKAGE.parent).as_posix()
    allowed = (*SKLEARN_TOOLS, *YARDSTICKS.get(file, ()), *LISTED.get(file, ()))
    used = {
        m
        for m in imported_modules(path)
        if m.split(".")[0] == "sklearn" and m != "sklearn" and not m.startswith(allowed)
    }
    assert not used, f"{name(path)} imports {sorted(used)}"


IMPORT_IS_SILENT = """
import random, sys
import numpy as np
import torch

def settings():
    return {
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "float32 products": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "anomalies": torch.is_anomaly_enabled(),
        "validation of arguments": torch.distributions.Distribution._validate_args,
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": np.random.get_state()[1].tolist(),
        "numpy's errors": np.geterr(),
        "python's random state": random.getstate(),
    }

before = settings()
import skvae
after = settings()
changed = [key for key in before if before[key] != after[key]]
assert not changed, f"import skvae changes {changed}"
assert "matplotlib" not in sys.modules, "import skvae imports matplotlib"
"""


def test_import_changes_no_global_setting():
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_IS_SILENT], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
