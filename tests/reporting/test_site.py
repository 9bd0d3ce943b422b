"""The documentation site, without building it: links lead somewhere, every public name has an entry, code runs."""

import importlib
import inspect
import pathlib
import pkgutil
import re
import types
from typing import Any

import pytest

import lamaml_jax

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts),
]
FENCED = re.compile(r"^(```+)(.*?)$.*?^\1$", re.DOTALL | re.MULTILINE)
ENTRY = re.compile(r"^\.\. auto(\w+):: (\S+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_what_exists(page: pathlib.Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in _anchors(target), (
            f"{link}: {target.name} has no such heading"
        )


def test_anchors_are_those_that_github_makes(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# It's `a_b`, [c](d.md)\n\n## Twice\n\n```\n# no heading\n```\n## Twice\n")
    assert _anchors(page) == {"its-a_b-c", "twice", "twice-1"}


def test_every_public_name_has_an_entry() -> None:
    entries = _entries()
    missing = [
        f"{module.__name__}.{name}"
        for module in _documented_modules(entries)
        for name, value in _public(module).items()
        if not any(entry.split(".")[-1] == name and known is value for entry, known in entries)
    ]
    assert not missing, "each needs a line `.. autofunction:: NAME` or the like in docs/reference/"


def test_every_entry_names_what_exists() -> None:
    names = [name for name, _ in _entries()]  # each is imported
    assert len(names) > 100 and len(names) == len(set(names))


def test_unknown_entry_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="lamaml_jax.nothing"):
        _find("function", "lamaml_jax.nothing")


def test_python_on_the_pages_runs() -> None:
    """Only code cells are, which the build executes."""
    languages = {
        (page.name, fence[1].strip())
        for page in PAGES
        if page.parent != ROOT
        for fence in FENCED.findall(page.read_text(encoding="utf-8"))
    }
    assert ("by_hand.md", "{code-cell} ipython3") in languages
    assert not [page for page, language in languages if language.startswith(("python", "pycon"))]


def _anchors(page: pathlib.Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    anchors: list[str] = []
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#+ +(.*?)\s*$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        earlier = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", a) is not None for a in anchors)
        anchors.append(f"{anchor}-{earlier}" if earlier else anchor)
    return set(anchors)


def _entries() -> list[tuple[str, Any]]:
    """Return the names in the reference, and what they name."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    found = [entry for page in pages for entry in ENTRY.findall(page.read_text(encoding="utf-8"))]
    return [(name, _find(kind, name)) for kind, name in found]


def _find(kind: str, name: str) -> Any:
    if kind == "module":
        return importlib.import_module(name)
    value: Any = lamaml_jax
    path = "lamaml_jax"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)
    return value


def _documented_modules(entries: list[tuple[str, Any]]) -> list[types.ModuleType]:
    """Return the package, what is below it with an `__all__`, and what the reference has an entry for."""
    below = [m.name for m in pkgutil.iter_modules(lamaml_jax.__path__) if m.name[0] != "_"]
    modules = [importlib.import_module(f"lamaml_jax.{name}") for name in below]
    public = [module for module in modules if hasattr(module, "__all__")]
    listed = [value for _, value in entries if inspect.ismodule(value) and value not in public]
    return [lamaml_jax, *public, *listed]


def _public(module: types.ModuleType) -> dict[str, Any]:
    """Return the names that a module exports: all in `__all__`, else what it defines without an underscore."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
    }
