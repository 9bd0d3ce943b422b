"""What is to be trained, checked before anything is compiled.

Dimensions: R runs (seeds, point by point), S stages (the tasks that are learnt, in order), T tasks, C classes.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lamaml_jax import checks, hyper, networks
from lamaml_jax.loop import Hyper
from lamaml_jax.streams import Benchmark
from lamaml_jax.training.planning import axes, contract, fitting
from lamaml_jax.training.runs import Factory, Point, Runs
from lamaml_jax.types import Batch, Learner, Loss, Model, State


class Plan(NamedTuple):
    """What is to be trained.

    Attributes:
        learner: Its factory.
        model: The network.
        stream: The tasks.
        runs: Which runs there are.
        static: The learner's settings that are the same for all runs and shape the program.
        learnt: The row of the stream's training data that is learnt in each stage `[S]`.
        rows: The row of the accuracy matrix that is evaluated after each stage `[S]`.
        inside: After how many batches of a task there are evaluations inside it, ascending.
        start: The fingerprint of the states that training started from; None if it started anew.
        described: Of what was loaded, its description, whatever stream or model it was loaded with.
    """

    learner: Factory
    model: Model
    stream: Benchmark
    runs: Runs
    static: Mapping[str, Any]
    learnt: tuple[int, ...]
    rows: tuple[int, ...]
    inside: tuple[int, ...] = ()
    start: str | None = None
    described: Mapping[str, Any] | None = None

    def build(self, floats: Hyper) -> Learner:
        """Return the learner with these floats, which may be traced; see `contract.made`."""
        setting, name = self.stream.setting, hyper.name_of(self.learner)
        make = functools.partial(self.learner, self.model, setting, **self.static, **floats)
        return contract.made(make, name, setting)

    def tasks(self) -> tuple[int, ...] | None:
        """Return the tasks that are learnt, in order unless all at once; None where they come mixed in a sequence."""
        if self.stream.is_sequence:
            return None
        return self.stream.learnt() if self.is_mixed() else self.learnt

    def is_mixed(self) -> bool:
        """Return whether all tasks are learnt at once."""
        return len(self.rows) < self.rows[-1]

    def is_in_order(self) -> bool:
        """Return whether all tasks are learnt as they are counted, so that those seen are the first ones."""
        return self.tasks() == self.all_tasks()

    def num_batches(self, stage: int) -> int:
        """Return how many batches arrive in a stage, over all epochs."""
        if not self.is_mixed():
            return self.stream.num_batches(self.learnt[stage])
        setting, sizes = self.stream.setting, self.stream.train_sizes
        most = jax.eval_shape(self.stream.make_stream, jax.random.key(0)).train.image.size
        num_examples = most if sizes is None else sum(sizes)
        return setting.epochs * -(-num_examples // setting.batch_size)

    def all_tasks(self) -> tuple[int, ...]:
        """Return all tasks that are evaluated."""
        return tuple(range(self.stream.setting.num_tasks))


def plan(
    learner: Factory,
    model: Model,
    stream: Benchmark,
    *,
    seeds: Iterable[int] = (0,),
    points: Sequence[Point] | None = None,
    stream_seed: int | None = None,
    loss: Loss | None = None,
    eval_every: int | None = None,
    settings: Mapping[str, Any],
) -> Plan:
    """Return what `train` is asked for; its arguments are `train`'s.

    Raises:
        ValueError: In one sentence, what is wrong with which argument.
    """
    fitting.check_kinds(learner, model, stream)
    if loss is not None:
        stream = stream._replace(setting=stream.setting._replace(loss=loss))
    seeds = axes.checked_seeds(seeds)
    if stream_seed is not None:
        axes.check_stream_seed(stream_seed)
    floats, static, swept = axes.parted(learner, settings)
    points = axes.checked_points(learner, floats, swept, points, stream_seed)
    floats, static = axes.with_points(floats, static, points)
    runs = Runs(seeds, points, floats, stream_seed)
    wanted = Plan(learner, model, stream, runs, static, stream.learnt(), ())
    needs = _needs(wanted)
    fitting.check_needs(learner, needs, stream)
    num_tasks = stream.setting.num_tasks
    if "mixed_stream" in needs:  # of which there is only a before and an after
        wanted = wanted._replace(learnt=(0,), rows=(num_tasks,))
    else:
        wanted = wanted._replace(rows=tuple(range(1, len(wanted.learnt) + 1)))
    return wanted._replace(inside=_inside(stream, wanted.learnt, needs, eval_every))


def state_shapes(planned: Plan, of_batch: Batch) -> State:
    """Return the learners' states as shapes, with the axis of runs first.

    Args:
        planned: What is to be trained.
        of_batch: A batch that consists of shapes, as `fitting.example` returns it.
    """
    learner = planned.build({n: jnp.float32(v) for n, v in planned.runs.floats.items()})
    one = jax.eval_shape(learner.init, jax.random.key(0), of_batch)
    num_runs = len(planned.runs.each())
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((num_runs, *a.shape), a.dtype), one)


def _needs(wanted: Plan) -> frozenset[str]:
    """Return what the learner needs, once its factory and its network have taken their settings and the data."""
    setting, shapes = wanted.stream.setting, fitting.example(wanted.stream)
    fitting.check_targets(setting, shapes.y)
    floats = {name: jnp.float32(value) for name, value in wanted.runs.floats.items()}
    needs = wanted.build(floats).needs
    networks.check_outputs(wanted.model, setting, shapes.x)
    return needs


def _inside(
    stream: Benchmark, learnt: Sequence[int], needs: frozenset[str], eval_every: int | None
) -> tuple[int, ...]:
    if eval_every is None:
        return ()
    checks.integer("eval_every", eval_every, 1)
    if "mixed_stream" in needs:
        raise ValueError(
            f"eval_every is {eval_every}; it must be None for a learner of all tasks at once, as nothing is inside a "
            "task."
        )
    most = max(stream.num_batches(row) for row in learnt)
    if eval_every >= most:
        raise ValueError(
            f"eval_every is {eval_every}; it must be below {most}, the batches of a task."
        )
    return tuple(range(eval_every, most, eval_every))
