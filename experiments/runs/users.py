"""Functions of users' files, named as FILE.py:FUNCTION, and where in a file an error comes from."""

import ast
import functools
import importlib.util
import inspect
import pathlib
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from lamaml_jax import hyper


def path(name: str) -> pathlib.Path:
    """Return the file of FILE.py:FUNCTION."""
    return pathlib.Path(name.rpartition(":")[0]).expanduser()


def find(what: str, name: str, arguments: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function of a user's file, which is imported.

    Args:
        what: It makes.
        name: FILE.py:FUNCTION.
        arguments: What it is called with, by position; of all else a benchmark must have a default, as scripts ask
            for its facts before anything is set, and others unless it is a keyword.

    Raises:
        ValueError: In one sentence, why there is none, or why it cannot be called.
    """
    file, attribute = path(name), name.rpartition(":")[2]
    if not file.is_file():
        raise ValueError(f"{what} is {name!r}; there is no file {str(file)!r}.")
    module = _imported(file.resolve())
    factory = getattr(module, attribute, None)
    if not callable(factory):
        there = [n for n, v in vars(module).items() if callable(v) and n[0] != "_"]
        raise ValueError(
            f"{what} is {name!r}; " + hyper.unknown(f"function of {file.name}", attribute, there)
        )
    _check_signature(what, name, factory, arguments)
    return factory


def sources(name: str) -> dict[str, pathlib.Path]:
    """Return the file of FILE.py:FUNCTION, and the modules beside it that it imports, wherever in it, and those import.

    The statements are read, not followed: what is loaded depends on what the process had loaded before.

    Returns:
        The files, the first by `name` and others by their paths.

    Raises:
        ValueError: One of them is no Python.
    """
    file = path(name).resolve()
    found = [file]
    for importing in found:  # which grows
        found += [other for other in _beside(importing, file.parent) if other not in found]
    named = {str(path(name).parent / other.relative_to(file.parent)): other for other in found[1:]}
    return {name: file, **named}


def require(made: Any, kind: type, what: str, name: str, example: str) -> None:
    """Check what a user's function returns.

    Raises:
        ValueError: It is of another kind.
    """
    if not isinstance(made, kind):
        raise ValueError(
            f"{what} is {name!r}, which returns a {type(made).__name__}; it must return a {kind.__name__}, as "
            f"{example} does."
        )


def place(error: BaseException) -> str:
    """Return where in a user's file an error was raised, or what raised it called: "FILE.py, line 3", or nothing.

    Where it tells of another error, as of a network that is traced, that one's place is returned.
    """
    for raised in (error.__cause__, error):
        frames = [] if raised is None else list(traceback.walk_tb(raised.__traceback__))
        for frame, line in reversed(frames):
            if frame.f_globals.get("__name__", "").startswith(_PREFIX):
                return f"{frame.f_code.co_filename}, line {line}"
    return ""


_PREFIX = "of_user_"
_OURS = ("lamaml_jax", "experiments")  # whose version is known, where a user's file is beside them


def _check_signature(
    what: str, name: str, factory: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    signature = inspect.signature(factory)
    required = {} if what == "benchmark" else _required(signature)
    call = f"{hyper.name_of(factory)}({', '.join(arguments)})"
    try:
        signature.bind(*arguments, **required)
    except TypeError as error:
        raise ValueError(
            f"{what} is {name!r}; it must be callable as {call}, with a default for all else: {error}."
        ) from None
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation is parameter.empty:
            raise ValueError(
                f"{what} is {name!r}; its keyword {parameter.name} must be annotated, as in {parameter.name}: int."
            )


def _required(signature: inspect.Signature) -> dict[str, None]:
    parameters = signature.parameters.values()
    return {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}


def _beside(file: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the modules in a folder that one of its files imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{str(file)!r} is not a Python file: {error}.") from None
    modules: dict[pathlib.Path, None] = {}
    for node in ast.walk(tree):
        within, names = folder, []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}".strip(".") for alias in node.names]
            within = [folder, *file.parents[: node.level]][-1]
        for parts in (name.split(".") for name in names):
            if parts[0] in _OURS or not within.is_relative_to(folder):
                continue
            places = [within.joinpath(*parts[:size]) for size in range(1, len(parts) + 1)]
            for module in places:
                candidates = (module / "__init__.py", module.with_suffix(".py"))
                modules |= dict.fromkeys(c for c in candidates if c.is_file())
    return list(modules)


@functools.cache
def _imported(file: pathlib.Path) -> types.ModuleType:
    """Return a user's file as a module, imported once."""
    spec = importlib.util.spec_from_file_location(f"{_PREFIX}{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(file)!r} is not a Python file; its name must end with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where typing looks for what annotations name
    sys.path.insert(0, str(file.parent))  # for its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        where = place(error) or str(file)  # a SyntaxError says its line itself
        said = f"{where}: cannot be imported: {type(error).__name__}: {error}"
        raise ValueError(said) from None  # which says the place already
    finally:
        sys.path.remove(str(file.parent))
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))  # for those that its functions import
    return module
