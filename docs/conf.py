"""The settings of the documentation site, which `make docs` builds offline into docs/_build.

All code on the pages runs at the build, and a page that fails, a link that leads nowhere or any warning fails it.
"""

import ast
import inspect
import re
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout, whatever is installed

import lamaml_jax

project = "lamaml_jax"
author = "The lamaml_jax authors"
project_copyright = author
release = lamaml_jax.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build"]

html_theme = "sphinx_book_theme"
html_title = f"lamaml_jax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_persistent": [],  # the search field is in the sidebar
    "show_toc_level": 2,
    "use_fullscreen_button": False,
}
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "force"  # nothing is kept from an earlier build
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # seconds a cell may take, on the busiest of machines
nb_merge_streams = True
nb_render_markdown_format = "myst"

nitpicky = True
nitpick_ignore_regex = [
    # Names of other libraries and of the standard one, whose pages cannot be asked offline,
    (
        "py:class",
        r"((jax|np|npt|numpy|chex|nn|optax|os|pathlib|collections)\..*)|ArrayLike|ArrayTree|Mesh"
        r"|Any|Callable|Sequence|Mapping|Iterable|Iterator|Literal",
    ),
    # and names of private types, which the docstrings around them explain.
    (
        "py:class",
        "_P|_Momentum|_Share|Augment|Gradient|Noise|Optimizer|Probability|Scalar|Transform",
    ),
]
autodoc_default_options = {"no-value": True}
default_role = "code"
highlight_language = "text"
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Where the site has what its pages link to outside of docs/, for those who read the sources.
_PAGES = {
    "README.md": "scripts.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def setup(app: Sphinx) -> None:
    """Hook in what is below."""
    app.connect("source-read", _adapt)
    app.connect("autodoc-process-docstring", _as_meant, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _as_written)
    app.connect("missing-reference", _find_alias)


def _adapt(app: Sphinx, name: str, source: list[str]) -> None:
    """Keep links on the site, and a mean with its deviation on one line."""
    source[0] = re.sub(r"(?<=\d) ± (?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", source[0])
    up = "../" * name.count("/")
    for path, page in _PAGES.items():
        source[0] = source[0].replace(f"](../{up}{path}", f"]({up}{page}")


def _as_meant(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let docstrings be plain: text in backticks may go on, a dimension's letter is no list, a constant's no type."""
    if what in ("data", "attribute", "property"):
        if lines[:1] == (inspect.getdoc(obj) or "").splitlines()[:1]:
            lines.clear()  # what its type says
        # An empty comment, or napoleon would take what is before a colon for a type.
        lines[:0] = ["..", ""]
    lines[:] = [re.sub(r"(`[^`]+`)(\w?)", _set_apart, line) for line in lines]
    lines[:] = [re.sub(r"(?<=: )(?=[A-Z]\.$)", r"\\", line) for line in lines]


def _set_apart(code: re.Match[str]) -> str:
    return f"{code[1]}\\ {code[2]}" if code[2] else code[1]


def _as_written(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str | None, str | None] | None:
    """Return a signature with the names of types as the source has them, but for choices, which are listed."""
    if not (inspect.isfunction(obj) or hasattr(obj, "_fields")):
        return None
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(obj))).body
    definition = _Choices(vars(sys.modules[obj.__module__])).visit(definition)
    if isinstance(definition, ast.FunctionDef):
        result = definition.returns and ast.unparse(definition.returns)
        return f"({ast.unparse(definition.args)})", result
    fields = (ast.unparse(part) for part in definition.body if isinstance(part, ast.AnnAssign))
    return f"({', '.join(fields)})", None


class _Choices(ast.NodeTransformer):
    """Replaces the names of `Literal` types by these."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        kind = self._names.get(node.id)
        if typing.get_origin(kind) is not typing.Literal:
            return node
        return ast.parse(f"Literal{list(typing.get_args(kind))}", mode="eval").body


def _find_alias(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.reference | None:
    """Find what an annotation names where that is no class, as an alias of a type is none."""
    if node.get("refdomain") != "py" or node["reftype"] != "class":
        return None
    return env.domains.python_domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", node["reftarget"], node, text
    )
