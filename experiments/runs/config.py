"""One run's configuration: everything that determines its results, checked before any work starts."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from experiments import presets
from experiments.presets.preset import Protocol, Semantics
from lamaml_jax import LEARNERS, Learner, Model, Setting, checks, hyper, networks, streams
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Hyper, Run, make_run
from lamaml_jax.training import Eval, Point, Runs

BATCH_SIZE = 10
EPOCHS = {"single": 1, "multi": 10}


class Images(NamedTuple):
    """What goes with a dataset.

    Attributes:
        num_classes: Of the dataset.
        network: The paper's, `network(num_classes, **options) -> Model`.
        eval_batch: Images that are evaluated at once.
        num_train: Training images of the whole dataset.
    """

    num_classes: int
    network: Callable[..., Model]
    eval_batch: int
    num_train: int


DATASETS = {
    "mnist": Images(10, networks.mlp, 1000, 60_000),
    "cifar100": Images(100, networks.convnet, 250, 50_000),
    "tiny_imagenet": Images(
        200,
        functools.partial(networks.convnet, filters=(160,) * 4, hidden=(640, 640)),
        125,
        100_000,
    ),
}
_DATASET_OF = {"split_cifar100": "cifar100", "split_tiny_imagenet": "tiny_imagenet"}


@dataclasses.dataclass(frozen=True)
class Config:
    """What determines the results of one learner's run.

    Attributes:
        benchmark: Its name.
        learner: Its name.
        protocol: "single" pass, or "multi": ten epochs over each task, one glance.
        semantics: Whose reading of the method the preset follows, "released" or "paper".
        seeds: One run each.
        keywords: All of the learner's factory's: preset, overrides and defaults.
        stream: All of the benchmark's factory's.
        network: All of the network's factory's, such as `precision`.
        eval: Evaluate after every task "all" tasks, those "seen" so far and the next, or only those that the metrics
            "needed".
        stream_seed: Draws the one stream of all runs; None has every seed draw its own.
        points: What sets the points of a sweep apart, each of which is run with every seed: float keywords by name, and
            a `stream_seed`. A run that is no sweep has one point, at which nothing differs.
        probe: The name of what is measured as each task arrives (see `probes`).
        eval_every: Incoming batches after which the tasks seen are evaluated inside each task; None evaluates at the
            ends of tasks only.
    """

    benchmark: str
    learner: str
    protocol: Protocol
    semantics: Semantics
    seeds: tuple[int, ...]
    keywords: dict[str, Any]
    stream: dict[str, Any]
    network: dict[str, Any]
    eval: Eval
    stream_seed: int | None = None
    points: tuple[Point, ...] = ({},)
    probe: str | None = None
    eval_every: int | None = None

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return _dataset_of(self.benchmark)

    @property
    def images(self) -> Images:
        """What goes with the dataset."""
        return DATASETS[self.dataset]

    def name_of(self, dataset: ImageDataset) -> str:
        """Return what a summary calls the images: the dataset, or a subset of it where there are fewer."""
        is_whole = len(dataset.train_labels) >= self.images.num_train
        return self.dataset if is_whole else f"{self.dataset}_subset"

    def make_benchmark(self, dataset: ImageDataset) -> streams.Benchmark:
        """Return the stream of tasks on these images."""
        return streams.BENCHMARKS[self.benchmark](dataset, **self.stream)

    def floats(self) -> dict[str, float]:
        """Return the keywords that a compiled program takes as arguments."""
        return hyper.part_floats(LEARNERS[self.learner], self.keywords)[0]

    def runs(self) -> Runs:
        """Return what sets the runs apart."""
        return Runs(self.seeds, self.points, self.floats(), self.stream_seed)

    def build(self, setting: Setting, floats: Hyper) -> Learner:
        """Return the learner for a stream, with floats that may be traced."""
        static = hyper.part_floats(LEARNERS[self.learner], self.keywords)[1]
        return LEARNERS[self.learner](self.model(setting.num_classes), setting, **static, **floats)

    def training(self, benchmark: streams.Benchmark) -> dict[str, Any]:
        """Return what `train` and `training.plan` take to train this on its benchmark."""
        return {
            "learner": LEARNERS[self.learner],
            "model": self.model(benchmark.setting.num_classes),
            "stream": benchmark,
            "seeds": self.seeds,
            "points": self.points,
            "stream_seed": self.stream_seed,
            "eval_every": self.eval_every,
        }

    def make_run(self, benchmark: streams.Benchmark) -> Run:
        """Return the functions of a run of this learner on its benchmark."""
        return make_run(
            benchmark,
            lambda floats: self.build(benchmark.setting, floats),
            eval_batch=self.images.eval_batch,
        )

    def model(self, num_classes: int) -> Model:
        """Return the network for this many classes over all heads."""
        return self.images.network(num_classes, **self.network)

    def setting(self) -> Setting:
        """Return the stream's static facts as far as they are known without data: all but its length."""
        per_task = self.stream.get("classes_per_task", self.images.num_classes)
        num_tasks = self.stream["num_tasks"]
        mask = streams.head_mask(num_tasks, per_task, shared=not self.has_own_heads())
        return Setting(
            num_tasks,
            mask.shape[1],
            mask,
            self.stream["batch_size"],
            batches_per_epoch=1,
            epochs=self.stream["epochs"],
        )

    def has_own_heads(self) -> bool:
        """Return whether every task has outputs of its own, and is known at test."""
        return self.stream.get("heads", "per_task") == "per_task"

    def needs(self) -> frozenset[str]:
        """Return what the learner needs beside a stream of batches."""
        floats = {name: jnp.float32(value) for name, value in self.floats().items()}
        return self.build(self.setting(), floats).needs

    def lacks_task_ids(self) -> bool:
        """Return whether the learner needs to know the task at test and is not told."""
        return "task_id" in self.needs() and not self.has_own_heads()

    def require_task_ids(self) -> None:
        """Check that the learner is told what it needs to know.

        Raises:
            ValueError: It needs to know the task at test.
        """
        if self.lacks_task_ids():
            raise ValueError(
                f"learner is {self.learner}, which needs to know the task at test; {self.benchmark} tells it under "
                "--heads=per_task."
            )

    def is_standard_stream(self) -> bool:
        """Return whether the stream is the paper's, but for the images."""
        own = stream_defaults(self.benchmark)
        free = ("interpolation", "batch_size", "epochs")
        return all(self.stream[name] == value for name, value in own.items() if name not in free)

    def updates_per_batch(self) -> int:
        """Return how often the weights move for one incoming batch."""
        batch_size = self.stream["batch_size"]
        if self.learner == "mer":
            replayed = self.keywords["replay_batch"]
            return batch_size * self.keywords["batches_per_example"] * (1 + replayed)
        steps = batch_size // (self.keywords.get("examples_per_step") or batch_size)
        return steps * self.keywords.get("glances", 1)


def stream_defaults(benchmark: str) -> dict[str, Any]:
    """Return what a benchmark's factory takes beside the dataset, with its defaults."""
    own = _defaults(streams.BENCHMARKS[benchmark])
    if "classes_per_task" in own:
        own["num_tasks"] = _num_classes(benchmark) // own["classes_per_task"]
    return own


def make_config(
    *,
    benchmark: str,
    learner: str,
    protocol: Protocol = "single",
    semantics: Semantics = "released",
    assignments: list[str],
    seeds: tuple[int, ...],
    stream: Mapping[str, Any],
    network: Mapping[str, Any],
    eval: Eval = "all",
    stream_seed: int | None = None,
    eval_every: int | None = None,
) -> Config:
    """Return a checked configuration.

    Args:
        benchmark: Its name.
        learner: Its name.
        protocol: Its name.
        semantics: Its name.
        assignments: `name=value` overrides of the preset's keywords, or of any of the stream's or the network's, or
            `stream_seed=value`.
        seeds: As in `Config`.
        stream: Keywords of the benchmark's factory; None stands for the preset's value, or the factory's default.
        network: Keywords of the network; None stands for its default.
        eval: As in `Config`.
        stream_seed: As in `Config`.
        eval_every: As in `Config`; a task's number of batches is checked once it is known.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    if benchmark not in streams.BENCHMARKS:
        raise ValueError(hyper.unknown("benchmark", benchmark, streams.BENCHMARKS))
    if learner not in LEARNERS:
        raise ValueError(hyper.unknown("learner", learner, LEARNERS))
    factory, own_network = LEARNERS[learner], DATASETS[_dataset_of(benchmark)].network
    set_of = _parse_assignments(benchmark, learner, assignments)
    keywords = presets.keywords(benchmark, learner, semantics, protocol) | set_of["learner"]
    floats, static = hyper.part_floats(factory, keywords)
    stream_seed = set_of["run"].get("stream_seed", stream_seed)
    config = Config(
        benchmark=benchmark,
        learner=learner,
        protocol=protocol,
        semantics=semantics,
        seeds=seeds,
        keywords={**static, **floats},
        stream=_stream(benchmark, learner, protocol, {**stream, **set_of["stream"]}),
        network={
            **_defaults(own_network),
            **presets.network(benchmark, learner),
            **_given(network, _defaults(own_network), f"the network of {benchmark}"),
            **set_of["network"],
        },
        eval=eval,
        stream_seed=stream_seed,
        eval_every=eval_every,
    )
    if stream_seed is not None:
        checks.integer("stream_seed", stream_seed, 0, 2**32 - 1)
    needs = config.needs()  # builds network and learner, which check their static keywords
    if eval_every is not None:
        _check_inside(config, needs)
    return config


def _check_inside(config: Config, needs: frozenset[str]) -> None:
    every = config.eval_every
    checks.integer("eval_every", every, 1)
    if "mixed_stream" in needs:
        raise ValueError(
            f"eval_every is {every}; {config.learner} learns all tasks at once, so that nothing is inside a task."
        )
    if config.eval == "needed":
        raise ValueError(
            f"eval_every is {every} and eval 'needed'; eval must be all or seen, as the lowest accuracy of a task "
            "is known only where it is evaluated after every later one."
        )


def setting_names(benchmark: str, learner: str) -> list[str]:
    """Return the names that an assignment may set: the learner's keywords, the stream's and the network's."""
    return [
        name for factory in _factories(benchmark, learner).values() for name in hyper.names(factory)
    ]


def _parse_assignments(
    benchmark: str, learner: str, assignments: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return the values that are set, by whose they are."""
    factories = _factories(benchmark, learner)
    texts: dict[str, list[str]] = {whose: [] for whose in factories}
    for text in assignments:
        name, equals, _ = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not of the form name=value.")
        owners = [whose for whose, factory in factories.items() if name in hyper.names(factory)]
        if not owners:
            known = setting_names(benchmark, learner)
            raise ValueError(hyper.unknown(f"setting of {learner} on {benchmark}", name, known))
        texts[owners[0]].append(text)
    return {whose: hyper.parse(factory, texts[whose]) for whose, factory in factories.items()}


def _factories(benchmark: str, learner: str) -> dict[str, Callable[..., Any]]:
    """Return whose signatures say what can be set, by what they make."""

    def run(*, stream_seed: int | None = None) -> None: ...

    return {
        "learner": LEARNERS[learner],
        "stream": streams.BENCHMARKS[benchmark],
        "network": DATASETS[_dataset_of(benchmark)].network,
        "run": run,
    }


def _stream(
    benchmark: str, learner: str, protocol: Protocol, given: Mapping[str, Any]
) -> dict[str, Any]:
    own = stream_defaults(benchmark)
    given = _given(given, own, benchmark)
    preset = presets.stream(benchmark, learner, protocol)
    values = own | {"batch_size": BATCH_SIZE, "epochs": EPOCHS[protocol]} | preset | given
    if "classes_per_task" in own:
        num_classes = _num_classes(benchmark)
        per_task = values["classes_per_task"]
        checks.divisor("classes_per_task", per_task, num_classes, "the number of classes")
        values["num_tasks"] = given.get("num_tasks", num_classes // per_task)
        checks.integer("num_tasks", values["num_tasks"], 1, num_classes // per_task)
    for name in ("num_tasks", "samples_per_task"):
        if values[name] is not None:
            checks.integer(name, values[name], 1)
    return values


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a factory that have a default, with it."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _given(given: Mapping[str, Any], own: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Return what is not None; raise ValueError unless all of that is among `own`."""
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in own:
            raise ValueError(f"{name} is {value!r}; {whose} has no {name}.")
    return given


def _dataset_of(benchmark: str) -> str:
    return _DATASET_OF.get(benchmark, "mnist")


def _num_classes(benchmark: str) -> int:
    return DATASETS[_dataset_of(benchmark)].num_classes
