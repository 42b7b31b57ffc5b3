"""The form of the examples: what a gallery needs, and names that exist. They are not run here."""

import ast
import importlib
import itertools
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What the examples extra and the library's own dependencies bring; dask where it is installed.
PACKAGES = {"distributed", "joblib", "matplotlib", "numpy", "palmerpenguins", "pandas", "sklearn"}
PACKAGES |= {"skvae", "torch"}

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Modules, and the names that are taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


@each_example
def test_begins_with_a_title_and_a_question(path):
    title, line, blank, *rest = ast.get_docstring(parse(path)).splitlines()
    assert title
    assert line == "=" * len(title)
    assert not blank
    assert "?" in "\n".join(rest).split("\n\n")[0], "say first what the reader wants to know"


@each_example
def test_shows_pictures(path):
    tree = parse(path)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "plt.show" in calls
    assert any(call == "plt.subplots" or "Display" in call for call in calls)
    assert not calls & {"matplotlib.use", "plt.switch_backend", "plt.savefig"}


@each_example
def test_tells_its_story_in_cells(path):
    source = path.read_text(encoding="utf-8")
    assert len(re.findall(r"^# %%$", source, re.MULTILINE)) >= 2
    for cell in re.split(r"^# %%\n", source, flags=re.MULTILINE)[1:]:
        assert cell.startswith("# "), "a cell begins with a text"
    # Cells within a function or a condition would be one, which only processes are worth.
    assert "__main__" not in source or path.stem == "many_fits"
    assert "def main" not in source


@each_example
def test_headings_are_as_long_as_their_lines(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for heading, line in itertools.pairwise(lines):
        if re.fullmatch(r"# -+", line):
            assert len(heading) == len(line), heading


@each_example
def test_imports_public_names(path):
    for module, name in imports(parse(path)):
        package = module.split(".")[0]
        assert package in PACKAGES or package in sys.stdlib_module_names, module
        if package == "skvae" and name is not None:
            assert name in importlib.import_module(module).__all__


def test_readme_names_examples_that_exist():
    named = re.findall(r"examples/(\w+)\.py", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) <= {path.stem for path in EXAMPLES}
