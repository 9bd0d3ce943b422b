"""One run's configuration: everything that determines its results, checked before any work starts."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments import presets
from lamaml_jax import LEARNERS, Learner, Setting, checks, hyper, networks, parallel, streams
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Hyper, Seed

BATCH_SIZE = 10
EPOCHS = {"single": 1, "multi": 10}


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
        num_tasks: T.
        samples_per_task: Training images per task.
        heads: "shared" or "per_task".
        interpolation: Of rotations.
        eval: Evaluate "all" tasks after every task, or only those that the metrics "needed".
        eval_split: "test" or "validation".
    """

    benchmark: str
    learner: str
    protocol: presets.Protocol
    semantics: presets.Semantics
    seeds: tuple[int, ...]
    keywords: dict[str, Any]
    num_tasks: int
    samples_per_task: int
    heads: streams.Heads
    interpolation: streams.Interpolation
    eval: str
    eval_split: streams.EvalSplit

    def make_benchmark(self, dataset: ImageDataset) -> streams.Benchmark:
        """Return the stream of tasks on these images."""
        rotated = self.benchmark == "mnist_rotations"
        options = {"interpolation": self.interpolation} if rotated else {}
        return streams.BENCHMARKS[self.benchmark](
            dataset,
            num_tasks=self.num_tasks,
            samples_per_task=self.samples_per_task,
            heads=self.heads,
            eval_split=self.eval_split,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS[self.protocol],
            **options,
        )

    def floats(self) -> dict[str, float]:
        """Return the keywords that a compiled program takes as arguments."""
        return hyper.part_floats(LEARNERS[self.learner], self.keywords)[0]

    def place_seeds(self, mesh: Mesh) -> Seed:
        """Return what sets the runs apart, laid out over the devices."""
        keys = jnp.stack([jax.random.key(seed) for seed in self.seeds])
        floats = {name: jnp.full(len(keys), v, jnp.float32) for name, v in self.floats().items()}
        return parallel.place(Seed(keys, floats), mesh)

    def build(self, setting: Setting, floats: Hyper) -> Learner:
        """Return the learner for a stream, with floats that may be traced."""
        static = hyper.part_floats(LEARNERS[self.learner], self.keywords)[1]
        return LEARNERS[self.learner](
            networks.mlp(setting.num_classes), setting, **static, **floats
        )

    def needs(self) -> frozenset[str]:
        """Return what the learner needs beside a stream of batches."""
        num_heads = self.num_tasks if self.heads == "per_task" else 1
        mask = np.kron(np.eye(num_heads), np.ones((1, 10))) > 0
        floats = {name: jnp.float32(value) for name, value in self.floats().items()}
        return self.build(Setting(num_heads, 10 * num_heads, mask, BATCH_SIZE, 1), floats).needs

    def lacks_task_ids(self) -> bool:
        """Return whether the learner needs to know the task at test and is not told."""
        return "task_id" in self.needs() and self.heads == "shared"

    def is_standard_stream(self) -> bool:
        """Return whether the stream is the paper's, but for the images."""
        sizes = {"num_tasks": self.num_tasks, "samples_per_task": self.samples_per_task}
        return self.heads == "shared" and sizes == stream_sizes(self.benchmark)

    def updates_per_batch(self) -> int:
        """Return how often the weights move for one incoming batch."""
        if self.learner == "mer":
            replayed = self.keywords["replay_batch"]
            return BATCH_SIZE * self.keywords["batches_per_example"] * (1 + replayed)
        steps = BATCH_SIZE // (self.keywords.get("examples_per_step") or BATCH_SIZE)
        return steps * self.keywords.get("glances", 1)


def stream_sizes(benchmark: str) -> dict[str, int]:
    """Return a benchmark's own num_tasks and samples_per_task."""
    own = inspect.signature(streams.BENCHMARKS[benchmark]).parameters
    return {name: own[name].default for name in ("num_tasks", "samples_per_task")}


def make_config(
    *,
    benchmark: str,
    learner: str,
    protocol: presets.Protocol,
    semantics: presets.Semantics,
    assignments: list[str],
    num_tasks: int | None,
    samples_per_task: int | None,
    interpolation: streams.Interpolation,
    **fields: Any,
) -> Config:
    """Return a checked configuration.

    Args:
        benchmark: Its name.
        learner: Its name.
        protocol: Its name.
        semantics: Its name.
        assignments: `name=value` overrides of the preset's keywords.
        num_tasks: T; None takes the benchmark's own number.
        samples_per_task: Training images per task; None takes the benchmark's own number.
        interpolation: Of rotations; other benchmarks have none.
        **fields: The other fields of `Config`.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    if benchmark not in streams.BENCHMARKS:
        raise ValueError(hyper.unknown("benchmark", benchmark, streams.BENCHMARKS))
    if learner not in LEARNERS:
        raise ValueError(hyper.unknown("learner", learner, LEARNERS))
    factory = LEARNERS[learner]
    keywords = presets.keywords(benchmark, learner, semantics, protocol)
    keywords |= hyper.parse(factory, assignments)
    floats, static = hyper.part_floats(factory, keywords)
    if interpolation != "bilinear" and benchmark != "mnist_rotations":
        raise ValueError(f"interpolation is {interpolation}; {benchmark} does not rotate images.")
    given = {"num_tasks": num_tasks, "samples_per_task": samples_per_task}
    sizes = stream_sizes(benchmark) | {name: v for name, v in given.items() if v is not None}
    for name, size in sizes.items():
        checks.integer(name, size, 1)
    config = Config(
        benchmark=benchmark,
        learner=learner,
        protocol=protocol,
        semantics=semantics,
        keywords={**static, **floats},
        interpolation=interpolation,
        **sizes,  # type: ignore[arg-type]
        **fields,
    )
    config.needs()  # builds the learner, which checks its static keywords
    return config
