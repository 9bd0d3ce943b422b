"""What describes the run of a work directory, for as long as it is at work: config.json, and a copy beside its states.

Without a description nothing can go on from the states; so a damaged byte must not cost them, nor a removed folder.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from experiments.runs import identity, locks
from lamaml_jax.files import write_whole
from lamaml_jax.training import saving

NAMES = ("config.json", f"{saving.CHECKPOINTS}/config.json")

_KEPT = (*NAMES, f"{saving.CHECKPOINTS}/{saving.DESCRIPTION}")


def whole(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Return what config.json and its copy say, as far as they are whole."""
    found = (read(workdir / name) for name in NAMES)
    return [description for description in found if description is not None]


def read(path: pathlib.Path) -> dict[str, Any] | None:
    """Return what a file says of a run, or None where it is missing, damaged or not one of ours."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    return found if identity.is_described(found) else None


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


def _refuse_another(workdir: pathlib.Path, texts: Mapping[pathlib.Path, bytes]) -> None:
    """Raise ValueError where config.json is not the one that was there when the run began."""
    path = workdir / NAMES[0]
    if path in texts and path.exists() and path.read_bytes() != texts[path]:
        raise ValueError(
            f"workdir is {str(workdir)!r}, which was removed while its run was at work, and holds another run now; "
            "begin anew in another folder."
        )
