"""What describes the run of a work directory, for as long as it is at work: config.json, and a copy beside its states.

Without a description nothing can go on from the states; so a damaged byte must not cost them, nor a removed folder.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.runs import catalogue, identity, locks
from lamaml_jax import LEARNERS, hyper, streams
from lamaml_jax.files import write_whole
from lamaml_jax.training import saving

NAMES = ("config.json", f"{saving.CHECKPOINTS}/config.json")

_KEPT = (*NAMES, f"{saving.CHECKPOINTS}/{saving.DESCRIPTION}")


def whole(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return what config.json and its copy say, as far as they are whole."""
    found = (read(workdir / name) for name in NAMES)
    return [description for description in found if description is not None]


def read(path: pathlib.Path) -> dict[str, Any] | None:
    """Return what a file says of a run, or None where it is missing, damaged or not one of ours.

    A setting that it lacks, as one that came after the run, has its default; those of users' own are as they are.
    """
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    return _completed(found) if identity.is_described(found) else None


@contextlib.contextmanager
def kept(workdir: pathlib.Path) -> Iterator[Callable[[], None]]:
    """Write a run's descriptions again, and lock its folder, where that is removed while the run is at work.

    Args:
        workdir: The run's, once config.json is there.

    Yields:
        What looks after them, as is done before and after the block. It is to be called before anything is written.

    Raises:
        ValueError: Another process is at work there now, or has left another run there; nothing is written then.
    """
    texts: dict[pathlib.Path, bytes] = {}
    with contextlib.ExitStack() as stack:

        def keep() -> None:
            if not locks.is_held(workdir):
                with contextlib.ExitStack() as taken:
                    taken.enter_context(locks.hold(workdir))
                    _refuse_another(workdir, texts)
                    stack.push(taken.pop_all())
            for path in (workdir / name for name in _KEPT):
                if path not in texts and path.exists():
                    texts[path] = path.read_bytes()
            missing = [path for path in texts if not path.exists()]
            if workdir / NAMES[0] in missing:
                print(
                    f"warning: {workdir} was removed while its run is at work; it is made anew.",
                    file=sys.stderr,
                )
            for path in missing:
                path.parent.mkdir(parents=True, exist_ok=True)
                with write_whole(path) as file:
                    file.write(texts[path])

        keep()
        try:
            yield keep
        finally:
            keep()


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    settings = found["settings"]
    filled = {
        part: given | {n: v for n, v in _defaults(factory).items() if n not in given}
        for part, factory in _factories(settings).items()
        if isinstance(given := settings.get(part), dict)
    }
    return {**found, "settings": {**settings, **filled}}


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of what is a setting, as they are read again."""
    names, defaults = hyper.names(factory), catalogue.defaults(factory)
    settings = {name: value for name, value in defaults.items() if name in names}
    return dict(json.loads(json.dumps(settings)))


def _factories(settings: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Return those of a run's factories that this package has, by the part of the settings that is theirs."""
    architecture = settings.get("architecture")
    networks = {str(name): images.network for name, images in catalogue.DATASETS.items()}
    networks["None"] = catalogue.network(None, None)
    known: dict[str, tuple[Any, Mapping[str, Callable[..., Any]]]] = {
        "keywords": (settings.get("learner"), LEARNERS),
        "stream": (settings.get("benchmark"), streams.BENCHMARKS),
        "network": (settings.get("dataset"), networks)
        if architecture is None
        else (architecture, catalogue.NETWORKS),
    }
    return {part: table[str(name)] for part, (name, table) in known.items() if str(name) in table}


def _refuse_another(workdir: pathlib.Path, texts: Mapping[pathlib.Path, bytes]) -> None:
    """Raise ValueError where config.json is not the one that was there when the run began."""
    path = workdir / NAMES[0]
    if path in texts and path.exists() and path.read_bytes() != texts[path]:
        raise ValueError(
            f"workdir is {str(workdir)!r}, which was removed while its run was at work, and holds another run now; "
            "begin anew in another folder."
        )
