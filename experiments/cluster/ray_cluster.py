"""Ray's cluster: connected to, or started on this machine alone, and what a unit may take of it."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, this has Ray take 127.0.0.1 for this machine's address, which it otherwise takes for an outer one."""


class Need(NamedTuple):
    """What a unit takes.

    Attributes:
        cpus: Of a machine.
        gpus: Of the same.
        places: How many units the cluster has room for at once, as it is.
    """

    cpus: int
    gpus: int
    places: int


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster during the block, or start one on this machine, which ends with the block.

    Args:
        address: "auto", "local", or HOST:PORT.

    Yields:
        The module `ray`.

    Raises:
        ValueError: Ray is not installed, or there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local" or address.startswith("127.0.0.1:"):
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
    except ImportError:
        raise ValueError(
            f"cluster is {address!r}, and ray is not installed; pip install 'lamaml-jax[cluster]' brings it."
        ) from None
    local: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        with warnings.catch_warnings():
            # Ray forks only to begin its own programs, which JAX's threads are not part of.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(local if address == "local" else {}),
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"cluster is {address!r}, which cannot be reached. {reason}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def need(ray: Any, cpus: int | None, gpus: int | None) -> Need:
    """Return what a unit takes: what is asked for, else a GPU where there are any, else two CPUs where a machine has.

    Raises:
        ValueError: No machine has so much.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {name: max(int(m.get(name, 0)) for m in machines) for name in ("CPU", "GPU")}
    gpus = min(1, most["GPU"]) if gpus is None else gpus
    cpus = (1 if gpus else max(1, min(2, most["CPU"]))) if cpus is None else cpus
    for name, asked in (("CPU", cpus), ("GPU", gpus)):
        if asked > most[name]:
            raise ValueError(
                f"unit_{name.lower()}s is {asked}; it must be at most {most[name]}, which is what a machine of the "
                "cluster has."
            )
    rooms = [
        min(int(m.get("CPU", 0)) // cpus, int(m.get("GPU", 0)) // gpus if gpus else 10**9)
        for m in machines
    ]
    return Need(cpus, gpus, sum(rooms))
