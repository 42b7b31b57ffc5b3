"""Sphinx configuration.

Everything, examples included:

    python -m pip install -e ".[docs]"
    python -m sphinx -W --keep-going -b html docs docs/_build/html

With some of the examples, by a pattern of their names, or with none:

    SKVAE_EXAMPLES="impute_dataframe|wine" python -m sphinx -W ...
    SKVAE_EXAMPLES=none python -m sphinx -W ...

The code of the pages, and that of the docstrings:

    python -m pytest --doctest-glob="*.rst" docs
    python -m pytest --doctest-modules skvae/estimators skvae/inspection skvae/datasets
"""

import os
import sys
from pathlib import Path

# The gallery looks names up that examples import: this makes scikit-learn offer one of them.
from sklearn.experimental import enable_iterative_imputer  # noqa: F401

import skvae

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "skvae"
author = "The skvae developers"
copyright = author
version = release = skvae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
    "names",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/**/*.ipynb"]

# Every reference must lead somewhere. Types in signatures and "Raises" are not references.
nitpicky = True
default_role = "name"

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
trim_doctest_flags = True

plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 110)]
plot_rcparams = {"figure.constrained_layout.use": True, "figure.figsize": (7.0, 3.6)}
plot_apply_rcparams = True

html_theme = "pydata_sphinx_theme"
html_title = "skvae"
html_static_path = ["_static"]
html_css_files = ["skvae.css"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 9,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
# Pages without pages below them need no navigation beside them.
ALONE = ("choose", "theory", "when_not", "migrate", "changelog", "figures", "benchmarks")
html_sidebars = {name: [] for name in ALONE}
html_show_sourcelink = False

# The gallery runs all examples, which takes long; a pattern of names runs some: SKVAE_EXAMPLES.
# many_fits is shown only: it starts processes, and is within one of those of the gallery itself.
# A failing example fails the build, after all others have run.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": os.environ.get("SKVAE_EXAMPLES", r"^(?!.*many_fits)"),
    "within_subsection_order": "gallery_settings.StoryOrder",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("skvae",),
    "reset_modules": ("matplotlib", "gallery_settings.reset"),
    "capture_repr": ("_repr_html_",),
    "thumbnail_size": (480, 320),
    "show_signature": False,
    "parallel": min(4, os.cpu_count() or 1),
    "download_all_examples": False,
    "copyfile_regex": r"$^",
}
