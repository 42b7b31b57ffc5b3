"""The documents: names that they mention exist, and so do the scripts that they refer to."""

import importlib
import re
from pathlib import Path

import pytest

import skvae
from skvae import chunks, datasets, inspection

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for pattern in ("*.rst", "*.md", "guide/*.rst", "theory/*.inc", "api/*.rst")
    for path in DOCS.glob(pattern)
)
THEORY = [path for path in PAGES if path.parent.name == "theory"]
# :class:`~skvae.models.vae.VAE` and the like, and methods as ``LinearVAE.log_prob``.
ROLE = re.compile(r":(?:class|func|meth|mod|attr):`~?([\w.]+)`")
METHOD = re.compile(r"``([A-Z]\w+)\.(\w+)``")
SCRIPT = re.compile(r"\b((?:benchmarks|examples)/\w+\.py)\b")


def find(name):
    """The object of a dotted name; AttributeError or ImportError if there is none."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(f"no module of {name}")


def own_names(text):
    return {name for name in ROLE.findall(text) if name.partition(".")[0] == "skvae"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_names_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in own_names(text):
        find(name)
    classes = {name.rpartition(".")[2]: find(name) for name in own_names(text)}
    for owner, method in METHOD.findall(text):
        thing = classes.get(owner) or getattr(skvae, owner)
        assert hasattr(thing, method), f"{owner}.{method}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_scripts_exist(path):
    for script in SCRIPT.findall(path.read_text(encoding="utf-8")):
        assert (ROOT / script).is_file(), script


def test_every_part_of_the_theory_names_what_computes_it():
    assert len(THEORY) >= 10
    for path in THEORY:
        assert own_names(path.read_text(encoding="utf-8")), path.name


def test_building_blocks_of_the_theory_are_documented():
    blocks = (DOCS / "api" / "internals.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ~(skvae[\w.]+)$", blocks, re.MULTILINE))
    for name in listed:
        find(name)
    public = {"skvae", "skvae.inspection", "skvae.datasets"}
    named = set().union(*(own_names(path.read_text(encoding="utf-8")) for path in THEORY))
    assert {name for name in named if name.rpartition(".")[0] not in public} <= listed


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (skvae, [name for name in skvae.__all__ if name not in ("chunks", "datasets")]),
        (chunks, chunks.__all__),
        (inspection, inspection.__all__),
        (datasets, datasets.__all__),
    ],
    ids=["skvae", "chunks", "inspection", "datasets"],
)
def test_everything_public_is_in_the_reference(module, names):
    text = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    start = text.index(f".. currentmodule:: {module.__name__}\n")
    end = text.find(".. currentmodule::", start + 1)
    text = text[start : None if end < 0 else end].partition(".. toctree::")[0]
    assert sorted(re.findall(r"^   (\w+)$", text, re.MULTILINE)) == sorted(names)


def test_code_is_run():
    """Examples are doctests, or names of commands: no code that nothing runs."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"code-block:: (?:python|pycon|ipython)", text), path.name
        assert not re.search(r"^```\{?python", text, re.MULTILINE), path.name
