"""A learner on trial: made for a small network and stream, with its functions compiled once and every trace noted.

Dimensions: B batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import networks
from lamaml_jax.types import Batch, Learner, Setting, State

NUM_TASKS, CLASSES_PER_TASK, NUM_FEATURES, BATCH_SIZE = 3, 2, 12, 10


class Trial(NamedTuple):
    """A learner with its functions compiled, which note their names in `traces` whenever they are traced."""

    learner: Learner
    init: Callable[..., State]
    update: Callable[..., tuple[State, Any]]
    end_task: Callable[..., State]
    predict: Callable[..., jax.Array]
    traces: list[str]


def make_trial(learner: Learner) -> Trial:
    """Return a learner, made for MODEL and SETTING, with its functions compiled."""
    traces: list[str] = []

    def compiled(name: str) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            traces.append(name)
            return getattr(learner, name)(*args)

        return jax.jit(function)

    init, update, end_task, predict = map(compiled, ("init", "update", "end_task", "predict"))
    return Trial(learner, init, update, end_task, predict, traces)


def trained(trial: Trial, key: chex.PRNGKey, tasks: Sequence[int]) -> State:
    """Return the state after two epochs of two batches on each of some tasks, in this order."""
    state = trial.init(key, make_batch(0))
    for place, task in enumerate(tasks):
        keys = jax.random.split(jax.random.fold_in(key, place), 5)
        for i, (epoch, step) in enumerate(np.ndindex(2, 2)):
            first_epoch, progress = np.asarray(epoch == 0), np.float32(step / 2)
            batch = make_batch(step, task, first_epoch=first_epoch, progress=progress)
            state, _ = trial.update(keys[i], state, batch)
        state = trial.end_task(keys[4], state, task_data(trial.learner, task))
    return state


def small_setting(*, per_task: bool = True) -> Setting:
    """Return a stream of 3 tasks with 2 of the 6 outputs each, or with all 6 shared."""
    num_classes = NUM_TASKS * CLASSES_PER_TASK
    heads = np.kron(np.eye(NUM_TASKS), np.ones((1, CLASSES_PER_TASK))) > 0
    mask = heads if per_task else np.ones((NUM_TASKS, num_classes), bool)
    return Setting(NUM_TASKS, num_classes, mask, BATCH_SIZE, batches_per_epoch=4, epochs=2)


def make_batch(seed: int, task: int = 0, size: int = BATCH_SIZE, **fields: Any) -> Batch:
    """Return random examples of a task, labelled within its head, in the dtypes of a stream."""
    rng = np.random.default_rng([seed, task])
    values: dict[str, Any] = {
        "x": rng.normal(size=(size, NUM_FEATURES)).astype(np.float32),
        "y": (rng.integers(CLASSES_PER_TASK, size=size) + CLASSES_PER_TASK * task).astype(np.int32),
        "task": np.full(size, task, np.int32),
        "valid": np.ones(size, bool),
        "first_epoch": np.asarray(True),
        "progress": np.zeros((), np.float32),
    }
    # Made by numpy, as every operation of JAX outside jit compiles a program.
    return jax.tree.map(jnp.asarray, Batch(**values))._replace(**fields)


def first_rows(batch: Batch, size: int) -> Batch:
    """Return a batch of its first rows."""
    return batch._replace(**{name: getattr(batch, name)[:size] for name in batch._fields[:4]})


def task_data(learner: Learner, task: int) -> Batch | None:
    """Return what a learner is handed at a task's end."""
    size = SETTING.batch_size * SETTING.batches_per_epoch
    return make_batch(99, task, size) if "task_data" in learner.needs else None


def differs(a: Any, b: Any) -> bool:
    """Say whether two pytrees differ in any number."""
    return any(
        not np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


SETTING = small_setting()
MODEL = networks.mlp(SETTING.num_classes, hidden=(8,))
