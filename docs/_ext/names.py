"""How names in the text become links.

- `name`, the default role: a link where the name is documented, plain code elsewhere. Docstrings
  mark parameters and objects alike so.
- Names of a few other libraries lead to their documents, by the pattern of their addresses.
  Intersphinx would download an inventory of each: a build needs no network.

Names under explicit roles (``:class:`name```) must be documented, or the build fails.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.domains.python import PyXRefRole

ADDRESSES = {
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{name}.html",
    "pandas": "https://pandas.pydata.org/docs/reference/api/{name}.html",
    "torch": "https://docs.pytorch.org/docs/stable/generated/{name}.html",
}
# Sections that docstrings inherited from scikit-learn refer to.
SECTIONS = {
    "accuracy_score": "https://scikit-learn.org/stable/modules/model_evaluation.html#accuracy-score",
}


class NameRole(PyXRefRole):
    """A reference that may lead nowhere."""

    def result_nodes(self, document: Any, env: Any, node: Any, is_ref: bool) -> Any:
        node["refdomain"], node["reftype"], node["lenient"] = "py", "obj", True
        return super().result_nodes(document, env, node, is_ref)


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """What stands for a reference that nothing here is documented under; None fails the build."""
    name = node["reftarget"]
    if node.get("refdomain") == "std" and name in SECTIONS:
        return nodes.reference("", "", contnode, internal=False, refuri=SECTIONS[name])
    if node.get("refdomain") != "py":
        return None
    library, _, rest = name.partition(".")
    if rest and library in ADDRESSES:
        address = ADDRESSES[library].format(name=name)
        return nodes.reference("", "", contnode, internal=False, refuri=address)
    return contnode if node.get("lenient") else None


def setup(app: Any) -> dict[str, Any]:
    app.add_role("name", NameRole())
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
