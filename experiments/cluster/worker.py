"""What one of Ray's workers does: a unit, with the runner that runs on one machine.

Nothing here imports JAX before the worker's process is set up for its unit; a process has one unit in its life.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

LOCK_SECONDS = 600.0
"""How long a unit waits for the process that holds its folder: a dead machine's locks outlive it by what the shared
file system grants (NFS: 90 s)."""

ENVIRONMENT = ("JAX_", "FLAX_", "XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
"""What the names of variables begin with that a unit takes from the process that asked for it."""


class Order(NamedTuple):
    """A unit, in values that can be read before anything is imported.

    Attributes:
        settings: Of its configuration.
        folder: Its work directory.
        num_runs: Of the whole run, of which it is a part.
        cpus: That are its own.
        gpus: That are its own.
        checkpoint_minutes: How often its state is kept.
        environment: Variables that change numbers, or say where compiled programs are kept.
        directory: Where relative paths begin.
    """

    settings: dict[str, Any]
    folder: str
    num_runs: int
    cpus: int
    gpus: int
    checkpoint_minutes: float
    environment: dict[str, str]
    directory: str


class Outcome(NamedTuple):
    """How a unit ended.

    Attributes:
        kind: "done"; "stopped", having kept its state; "memory", of which there was too little; "failed", which may go
            better another time; or "refused", which will not.
        sentence: Why.
    """

    kind: str
    sentence: str = ""


def environment() -> dict[str, str]:
    """Return the variables that a unit takes from this process."""
    return {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)}


def run(order: Order, data: list[Any]) -> Outcome:
    """Run a unit, or go on with it; `data` holds Ray's reference to the images, if there are any."""
    _set_up(order)
    import jax
    import ray

    from experiments.cluster import units
    from experiments.process import backend
    from experiments.runs import identity, locks, runner, workdirs
    from experiments.runs.config import Config

    folder = pathlib.Path(order.folder)

    def go_on() -> None:
        if not order.gpus:
            jax.config.update("jax_platforms", "cpu")
        config = Config(**order.settings)
        backend.configure(config.benchmark, order.num_runs, order.gpus or order.cpus)
        dataset = ray.get(data[0]) if data else None
        wait_for(folder, locks)
        with workdirs.reserve([(config, folder)], dataset):
            units.check_alike(folder, identity.describe(config, dataset))
            minutes = order.checkpoint_minutes
            runner.run(config, dataset, folder, checkpoint_minutes=minutes)

    return outcome_of(go_on)


def outcome_of(go_on: Callable[[], None]) -> Outcome:
    """Return how what `go_on` does ended; what is a mistake of the program is raised."""
    import jax

    from lamaml_jax.datasets import DatasetError
    from lamaml_jax.training import Interrupted

    try:
        go_on()
    except Interrupted:
        return Outcome("stopped", "it was asked to stop")
    except MemoryError as error:
        return Outcome("memory", str(error))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Outcome("memory", str(error).splitlines()[0])
    except (ValueError, DatasetError) as error:
        return Outcome("refused", str(error))
    except OSError as error:  # as a file system has them that is gone for a moment
        return Outcome("failed", f"it could not read or write ({error})")
    return Outcome("done")


def _set_up(order: Order) -> None:
    """Make this process like the one that asked for the unit."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        del os.environ[name]
    os.environ.update(order.environment)
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["MPLBACKEND"] = "agg"
    if os.path.isdir(order.directory):
        os.chdir(order.directory)


def wait_for(folder: pathlib.Path, locks: Any) -> None:
    """Wait until no other process is at work in a folder: one that is about to end, or whose machine is dead."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with locks.hold(folder):
                return
        except ValueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
