"""The flags that scripts share: which stream of tasks and network, how many seeds, which data, and where results go."""

import math
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from absl import flags

from experiments import presets
from experiments.process import backend, console
from experiments.runs import catalogue
from experiments.runs.config import Config
from lamaml_jax import LEARNERS, datasets

BENCHMARK = flags.DEFINE_string(
    "benchmark",
    "mnist_rotations",
    "Stream of tasks: any of "
    + ", ".join(presets.PRESETS)
    + "; or FILE.py:FUNCTION, of keywords alone, that returns one",
)
DATASET = flags.DEFINE_string(
    "dataset", None, "Images of the MNIST benchmarks: mnist (the default) or fashion_mnist"
)
NETWORK = flags.DEFINE_string(
    "network",
    None,
    "mlp, convnet, or FILE.py:FUNCTION, of a number of classes and keywords, that returns a Model; the benchmark's, or "
    "an MLP, by default",
)
LEARNER = flags.DEFINE_list(
    "learner",
    None,
    f"Methods, with commas between: {', '.join(LEARNERS)}, or FILE.py:FACTORY; train and tables take all as well",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of prepared data, of archives in manual/, or to download into"
)
PACKAGED = flags.DEFINE_bool(
    "packaged_mnist", False, "Use the packaged subset: 10,000 training, 2,000 test images"
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for the results; several learners get a folder each in it"
)
CHECKPOINT_MINUTES = flags.DEFINE_float(
    "checkpoint_minutes",
    5.0,
    "How often the state is kept inside tasks, besides at the end of each",
)
flags.register_validator(
    "checkpoint_minutes",
    lambda minutes: 0 <= minutes < math.inf,
    message="it must be a finite number of at least 0.",
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "train, sweep, tune: print what would run, minutes from a probe of ten seconds, memory, disk; tables: as --list",
)
NUM_SEEDS = flags.DEFINE_integer(
    "num_seeds", None, "Runs, which differ in all that is random; each script has its own number"
)
SEED = flags.DEFINE_integer(
    "seed", None, "The first seed; the others count up from it. 0, and 100 where runs choose"
)
PROTOCOL = flags.DEFINE_enum(
    "protocol", "single", ["single", "multi"], "One pass with glances, or ten epochs over each task"
)
SEMANTICS = flags.DEFINE_enum(
    "semantics",
    "released",
    ["released", "paper"],
    "Whose reading of the method: the authors' code's, or the text's",
)
DEVICES = flags.DEFINE_integer(
    "devices",
    None,
    "Spread the runs over the first so many local devices; on CPU these are cores, and one counts as two",
    lower_bound=1,
)
MEMORY_GB = flags.DEFINE_float(
    "memory_gb",
    8.0,
    "Sweeps: GiB that one program may take; more runs than fit are taken in parts",
)
SET = flags.DEFINE_multi_string(
    "set",
    [],
    "name=value for any keyword of the learner's factory, of the stream's or of the network's; repeatable",
)
_STREAM = {
    "num_tasks": flags.DEFINE_integer(
        "num_tasks", None, "Tasks; the benchmark's own number by default"
    ),
    "samples_per_task": flags.DEFINE_integer(
        "samples_per_task", None, "Training images per task; the benchmark's by default"
    ),
    "epochs": flags.DEFINE_integer(
        "epochs", None, "Passes over each task; one, or ten in the multi-pass protocol, by default"
    ),
    "heads": flags.DEFINE_enum(
        "heads",
        None,
        ["shared", "per_task"],
        "MNIST: one head for all tasks (the default), or one each and its id known at test",
    ),
    "interpolation": flags.DEFINE_enum(
        "interpolation",
        None,
        ["bilinear", "nearest"],
        "MNIST Rotations: of rotated images; bilinear by default",
    ),
    "classes_per_task": flags.DEFINE_integer(
        "classes_per_task", None, "Split benchmarks: a divisor of the classes; 5 by default"
    ),
    "class_order": flags.DEFINE_enum(
        "class_order",
        None,
        ["random", "superclass"],
        "Split CIFAR-100: random (the default), or one superclass per task",
    ),
    "eval_split": flags.DEFINE_enum(
        "eval_split",
        None,
        ["test", "validation"],
        "Evaluate on test data, or on a tenth held out of each task's training; validation where runs choose",
    ),
}
STREAM_SEED = flags.DEFINE_integer(
    "stream_seed",
    None,
    "Draw one stream from this seed for all runs; by default each seed draws its own",
)
_NETWORK = {
    "precision": flags.DEFINE_enum(
        "precision",
        None,
        ["float32", "bfloat16"],
        "Of the network's matrix products; float32 by default",
    ),
    "initializer": flags.DEFINE_enum(
        "initializer",
        None,
        ["kaiming", "xavier", "xavier_uniform"],
        "Of the network's weights; the preset's by default",
    ),
    "convolution": flags.DEFINE_enum(
        "convolution",
        None,
        ["patches", "lax"],
        "Split benchmarks: as patches times a matrix (the default), or by JAX's own function",
    ),
}


def set_up(
    num_runs: Callable[[], int] | None = None, benchmark: Callable[[], str] | None = None
) -> None:
    """Set the process of a script up, before it computes; a flag that is wrong ends it with one sentence.

    Args:
        num_runs: How many runs there are side by side, read from the flags; None stands for as many as there are cores.
        benchmark: Which benchmark they are on, read from the flags; that of --benchmark by default.
    """
    console.prepare()
    with console.plain_errors():
        runs = None if num_runs is None else num_runs()
        name = BENCHMARK.value if benchmark is None else benchmark()
        backend.configure(name, runs, DEVICES.value)


def refuse_arguments(argv: Iterable[str], *, dry_run: bool = False) -> None:
    """Check that there are only flags.

    Args:
        argv: The script's name and arguments.
        dry_run: Whether the script knows --dry_run.

    Raises:
        ValueError: There is something else.
    """
    if DRY_RUN.value and not dry_run:
        raise ValueError(
            "dry_run is given; only train, sweep, tune and tables can say what they would run."
        )
    for argument in list(argv)[1:]:
        raise ValueError(f"{argument!r} is not a flag; flags are of the form --name=value.")


def benchmark() -> str:
    """Return the benchmark's name.

    Raises:
        ValueError: There is none of this name.
    """
    catalogue.benchmark(BENCHMARK.value)
    return BENCHMARK.value


def learners(default: Iterable[str], every: Iterable[str] | None = None) -> list[str]:
    """Return the learners named, or the script's own, with `all` replaced by `every` if that is given.

    Raises:
        ValueError: Two are of one name, by which their folders are called, or there is none.
    """
    given = list(default if LEARNER.value is None else LEARNER.value)
    names = given if every is None else catalogue.with_all(given, every)
    # Their titles and, on some systems, folders differ in no more than what is told apart here.
    if not names or len({catalogue.short(name).casefold() for name in names}) < len(names):
        allowed = "one or more names of learners or functions, different in more than capitals"
        raise ValueError(f"learner is {','.join(names)!r}; it must be {allowed}.")
    return names


def num_seeds(default: int) -> int:
    """Return how many seeds to run; raise ValueError if that is none at all."""
    number = default if NUM_SEEDS.value is None else NUM_SEEDS.value
    if number < 1:
        raise ValueError(f"num_seeds is {number}; it must be at least 1.")
    return number


def seeds(number: int, first: int) -> tuple[int, ...]:
    """Return this many seeds from --seed on, or from `first`; raise ValueError if they are not of 32 bits."""
    first = first if SEED.value is None else SEED.value
    if not 0 <= first <= 2**32 - number:
        raise ValueError(f"seed is {first}; it must be in [0, 2**32 - num_seeds].")
    return tuple(range(first, first + number))


def memory_gb() -> float:
    """Return how much memory a program may take, in GiB; raise ValueError if it is no finite number above 0."""
    size = MEMORY_GB.value
    if not 0 < size < math.inf:
        raise ValueError(f"memory_gb is {size:g}; it must be a finite number above 0.")
    return size


def settings() -> dict[str, Any]:
    """Return what `make_config` takes of these flags, all but learner, assignments and seeds."""
    refuse_twice("set", [text.partition("=")[0] for text in SET.value])
    stream: dict[str, Any] = {name: flag.value for name, flag in _STREAM.items()}
    if catalogue.is_own(benchmark()):
        stream["data_dir"] = DATA_DIR.value
    return {
        "benchmark": benchmark(),
        "dataset": DATASET.value,
        "architecture": NETWORK.value,
        "protocol": PROTOCOL.value,
        "semantics": SEMANTICS.value,
        "stream": stream,
        "network": {name: flag.value for name, flag in _NETWORK.items()},
        "stream_seed": STREAM_SEED.value,
    }


def refuse_twice(flag: str, names: Iterable[str]) -> None:
    """Raise ValueError where what a flag sets by name has a flag of its own, which is given as well."""
    own = {**_STREAM, **_NETWORK, "stream_seed": STREAM_SEED}
    for name in names:
        if name in own and own[name].value is not None:
            raise ValueError(f"{name} is given by --{name} and by --{flag}; it must be given once.")


def workdir(default: str | None = None) -> pathlib.Path:
    """Return the folder for the results; raise ValueError where none is given, and the script has none of its own."""
    text = WORKDIR.value or default
    if not text:
        raise ValueError("workdir is not given; it must be a folder for the results.")
    return console.path("workdir", text)


def dataset(config: Config) -> datasets.ImageDataset | None:
    """Load the images of a run; of a benchmark with data of its own there are none.

    Raises:
        ValueError: It is not said where from, or twice, or of data that the benchmark does not take.
        DatasetError: They are not there.
    """
    name, benchmark = config.dataset, config.benchmark
    if PACKAGED.value and DATA_DIR.value is not None:
        raise ValueError("packaged_mnist and data_dir are both given; it must be one of them.")
    if name is None and PACKAGED.value:
        raise ValueError(f"packaged_mnist is given; {benchmark} has data of its own.")
    if name is None:
        if DATA_DIR.value not in (None, config.stream.get("data_dir")):
            raise ValueError(f"data_dir is given; {benchmark} has data of its own.")
        return None
    if PACKAGED.value and name != "mnist":
        raise ValueError(f"packaged_mnist is given; {benchmark} needs {name} in a data_dir.")
    if PACKAGED.value:
        return datasets.load_packaged_mnist()
    if DATA_DIR.value is None:
        or_packaged = ", or pass --packaged_mnist" if name == "mnist" else ""
        raise ValueError(f"data_dir is not given; it must be a folder for {name}{or_packaged}.")
    return datasets.load(name, console.path("data_dir", DATA_DIR.value))
