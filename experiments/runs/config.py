"""One run's configuration: everything that determines its results. `making` makes one, and checks it."""

import dataclasses
import functools
import json
from typing import Any

import jax.numpy as jnp

from experiments import presets
from experiments.presets.preset import Protocol, Semantics
from experiments.runs import catalogue, users
from lamaml_jax import Learner, Model, Setting, hyper, streams
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Hyper, Run, make_run
from lamaml_jax.training import Eval, Point, Runs


@dataclasses.dataclass(frozen=True)
class Config:
    """What determines the results of one learner's run.

    Attributes:
        benchmark: Its name, or FILE.py:FUNCTION.
        learner: Its name, or FILE.py:FUNCTION.
        protocol: "single" pass, or "multi": ten epochs over each task, one glance.
        semantics: Whose reading of the method the preset follows, "released" or "paper".
        seeds: One run each.
        keywords: All of the learner's factory's: preset, overrides and defaults.
        stream: All of the benchmark's factory's.
        network: All of the network's factory's, such as `precision`.
        dataset: Its name; None where the benchmark is a user's, and so are the data.
        architecture: The network's name, or FILE.py:FUNCTION; None stands for the dataset's, or an MLP.
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
    dataset: str | None
    architecture: str | None
    eval: Eval
    stream_seed: int | None = None
    points: tuple[Point, ...] = ({},)
    probe: str | None = None
    eval_every: int | None = None

    def name_of(self, dataset: ImageDataset | None) -> str:
        """Return what a summary calls the data: the dataset, or a subset of it where there are fewer images."""
        if dataset is None or self.dataset is None:
            return catalogue.short(self.benchmark)
        is_whole = len(dataset.train_labels) >= catalogue.DATASETS[self.dataset].num_train
        return self.dataset if is_whole else f"{self.dataset}_subset"

    def make_benchmark(self, dataset: ImageDataset | None) -> streams.Benchmark:
        """Return the stream of tasks on these images; a user's own benchmark has its own.

        Raises:
            ValueError: It cannot be made, or is none.
        """
        if self.dataset is not None:
            return catalogue.benchmark(self.benchmark)(dataset, **self.stream)
        return _made_by_user(self.benchmark, json.dumps(self.stream))

    def floats(self) -> dict[str, float]:
        """Return the keywords that a compiled program takes as arguments."""
        return self._parted()[0]

    def runs(self) -> Runs:
        """Return what sets the runs apart."""
        return Runs(self.seeds, self.points, self.floats(), self.stream_seed)

    def build(self, setting: Setting, floats: Hyper) -> Learner:
        """Return the learner for a stream, with floats that may be traced."""
        factory, static = catalogue.learner(self.learner), self._parted()[1]
        made = factory(self.model(setting.num_classes), setting, **static, **floats)
        users.require(made, Learner, "learner", self.learner, "lamaml_jax.la_maml")
        return made

    def training(self, benchmark: streams.Benchmark) -> dict[str, Any]:
        """Return what `train` and `training.plan` take to train this on its benchmark."""
        return {
            "learner": catalogue.learner(self.learner),
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
            eval_batch=self.eval_batch(),
        )

    def eval_batch(self) -> int:
        """Return how many examples are evaluated at once."""
        return _EVAL_BATCH if self.dataset is None else catalogue.DATASETS[self.dataset].eval_batch

    def model(self, num_classes: int) -> Model:
        """Return the network for this many classes over all heads."""
        made = catalogue.network(self.architecture, self.dataset)(num_classes, **self.network)
        users.require(made, Model, "network", str(self.architecture), "networks.mlp")
        return made

    def setting(self) -> Setting:
        """Return the stream's static facts as far as they are known without data: all but its length."""
        if self.dataset is None:
            return self.make_benchmark(None).setting
        num_classes = catalogue.DATASETS[self.dataset].num_classes
        per_task = self.stream.get("classes_per_task", num_classes)
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

    def eval_split(self) -> str:
        """Return which data are evaluated on: "test" where a user's benchmark has no others."""
        return self.stream.get("eval_split", "test")

    def has_own_heads(self) -> bool:
        """Return whether every task has outputs of its own, and is known at test."""
        if self.dataset is None:
            return not self.setting().class_mask.all()
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
        """Return whether the stream is the paper's, but for the images at hand."""
        if self.dataset is None or self.dataset != catalogue.dataset(self.benchmark):
            return False
        usual = presets.stream(self.benchmark, self.learner, self.protocol)
        standard = stream_defaults(self.benchmark) | usual
        return all(self.stream[n] == value for n, value in standard.items() if n != "interpolation")

    def batch_size(self) -> int:
        """Return how many examples arrive at once."""
        return self.stream["batch_size"] if self.dataset else self.setting().batch_size

    def updates_per_batch(self) -> int:
        """Return how often the weights move for one incoming batch."""
        batch_size = self.batch_size()
        if self.learner == "mer":
            replayed = self.keywords["replay_batch"]
            return batch_size * self.keywords["batches_per_example"] * (1 + replayed)
        steps = batch_size // (self.keywords.get("examples_per_step") or batch_size)
        return steps * self.keywords.get("glances", 1)

    def _parted(self) -> tuple[dict[str, float], dict[str, Any]]:
        return hyper.part_floats(catalogue.learner(self.learner), self.keywords)


def stream_defaults(benchmark: str) -> dict[str, Any]:
    """Return what a benchmark's factory takes beside the dataset, with its defaults."""
    own = catalogue.defaults(catalogue.benchmark(benchmark))
    if "classes_per_task" in own and (dataset := catalogue.dataset(benchmark)):
        own["num_tasks"] = catalogue.DATASETS[dataset].num_classes // own["classes_per_task"]
    return own


_EVAL_BATCH = 1000


@functools.lru_cache(maxsize=1)
def _made_by_user(benchmark: str, settings: str) -> streams.Benchmark:
    """Return a user's benchmark, which may take long to make, with settings as JSON."""
    made = catalogue.benchmark(benchmark)(**json.loads(settings))
    users.require(made, streams.Benchmark, "benchmark", benchmark, "streams.from_arrays")
    in_order = made.learnt() == tuple(range(made.setting.num_tasks)) and not made.is_sequence
    if made.setting.loss is not None or not in_order:
        raise ValueError(
            f"benchmark is {benchmark!r}; scripts take streams of classes whose tasks come one after the other, each "
            "once: see lamaml_jax.train for others."
        )
    return made
