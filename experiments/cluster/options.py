"""The flags of the scripts that can run on a cluster."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from absl import flags

from experiments.process import console, options

CLUSTER = flags.DEFINE_string(
    "cluster",
    None,
    "Run on Ray's cluster: auto (the one that is started here), local (this machine's cores and GPUs) or HOST:PORT",
)
UNIT_RUNS = flags.DEFINE_integer(
    "unit_runs",
    None,
    "Cluster: runs (seeds, of every point) that are computed in one place; all places at once by default",
    lower_bound=1,
)
UNIT_CPUS = flags.DEFINE_integer(
    "unit_cpus", None, "Cluster: CPUs of each such unit; 2, or 1 beside a GPU", lower_bound=1
)
UNIT_GPUS = flags.DEFINE_integer(
    "unit_gpus", None, "Cluster: GPUs of each unit; 1, or none where there are none", lower_bound=0
)


class Wanted(NamedTuple):
    """What the flags ask for; None is what is left to the cluster."""

    address: str
    unit_runs: int | None
    unit_cpus: int | None
    unit_gpus: int | None


def set_up(
    num_runs: Callable[[], int] | None = None, benchmark: Callable[[], str] | None = None
) -> None:
    """Set the process of a script up, as `options.set_up`; beside a cluster it computes nothing, and takes no GPU."""
    if CLUSTER.value is not None:
        jax.config.update("jax_platforms", "cpu")
    options.set_up(num_runs, benchmark)
    with console.plain_errors():
        wanted()


def wanted() -> Wanted | None:
    """Return what cluster to run on, or None for this process alone.

    Raises:
        ValueError: Flags that do not go together, or an address that cannot be one.
    """
    address, parts = CLUSTER.value, (UNIT_RUNS, UNIT_CPUS, UNIT_GPUS)
    given = [flag.name for flag in parts if flag.value is not None]
    if address is None:
        if given:
            raise ValueError(f"{given[0]} is given and cluster is not; it is of a cluster's units.")
        return None
    if options.DEVICES.value is not None:
        raise ValueError(
            "devices and cluster are both given; a unit has --unit_cpus or --unit_gpus."
        )
    host, _, port = address.rpartition(":")
    if address not in ("auto", "local") and not (host and port.isdecimal() and "/" not in host):
        raise ValueError(f"cluster is {address!r}; it must be auto, local or HOST:PORT.")
    return Wanted(address, *(flag.value for flag in parts))
