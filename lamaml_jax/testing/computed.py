"""Promises of a learner that training shows: each yields a sentence for every breach."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax.testing.trial import (
    BATCH_SIZE,
    NUM_TASKS,
    SETTING,
    Trial,
    differs,
    first_rows,
    make_batch,
    trained,
)
from lamaml_jax.types import Learner, Setting

LEFT = 3  # examples of a batch that is padded


def buffers(trial: Trial) -> Iterator[str]:
    """A state owns its arrays, or it could not be donated to a compiled program."""
    key, batch = jax.random.key(0), make_batch(0)
    given = jax.tree_util.tree_leaves_with_path(batch)
    names = {_buffer(leaf): f"example{jax.tree_util.keystr(path)}" for path, leaf in given}
    for path, leaf in jax.tree_util.tree_leaves_with_path(trial.learner.init(key, batch)):
        name = f"state{jax.tree_util.keystr(path)}"
        if isinstance(leaf, jax.Array) and leaf.size:
            other = names.setdefault(_buffer(leaf), name)
            if other != name:
                yield f"init gives {name} the memory of {other}, so that the state cannot be donated; copy it."


def initial_state(trial: Trial) -> Iterator[str]:
    """Initial weights are drawn from the key and finite, and the example counts by its shapes."""
    start = _start(trial)
    for path, leaf in jax.tree_util.tree_leaves_with_path(start):
        if not np.isfinite(leaf).all():
            where = f"state{jax.tree_util.keystr(path)}"
            yield f"init gives {where} a number that is not finite, which says that the run has diverged."
    if not differs(trial.init(jax.random.key(1), make_batch(0)), start):
        yield "init gives the same state for two keys; initial weights must be drawn from its key."
    other = make_batch(1, task=2, valid=jnp.zeros(BATCH_SIZE, bool))
    if differs(trial.init(jax.random.key(0), other), start):
        yield "init gives another state for another example; only the shapes of the example may matter."


def same_bits(trial: Trial) -> Iterator[str]:
    """A method draws from its key and from nothing else."""
    first, second = (
        trial.update(jax.random.key(0), _start(trial), make_batch(0)) for _ in range(2)
    )
    if differs(first, second):
        yield "update gives other numbers for the same key, state and batch; they must repeat bit for bit."


def learning(trial: Trial) -> Iterator[str]:
    """What is learnt shows in what is predicted."""
    x, key = make_batch(0).x, jax.random.key(0)
    after = trained(trial, key, [0])
    scores = [trial.predict(state, x, jnp.int32(0), key) for state in (_start(trial), after)]
    if not differs(*scores):
        yield "a task changes nothing that predict returns; training must show in the scores."


def padding(trial: Trial) -> Iterator[str]:
    """Rows that are not valid change nothing, whatever stands in them."""
    key, state = jax.random.key(0), trained(trial, jax.random.key(0), [0])
    batch = make_batch(7, task=1)
    valid = np.arange(BATCH_SIZE) < 6
    garbage: dict[str, Any] = {
        "x": np.where(valid[:, None], batch.x, np.float32(np.nan)),
        "y": np.where(valid, batch.y, np.int32(-9)),
        "task": np.where(valid, batch.task, np.int32(99)),
    }
    padded, other = (batch._replace(valid=jnp.asarray(valid), **fields) for fields in ({}, garbage))
    if differs(trial.update(key, state, padded), trial.update(key, state, other)):
        yield (
            "what stands in padding rows changes an update; decorate the factory with learner_factory, which clears "
            "them, or replace them by jnp.where."
        )
    nothing, info = trial.update(key, state, batch._replace(valid=jnp.asarray(valid & False)))
    if differs(nothing, state):
        where = _first_difference(nothing, state)
        yield f"a batch of nothing but padding changes {where}; rows count where batch.valid is True only."
    if not _finite(info):
        yield "a batch of nothing but padding has an info that is not finite; a mean over no row must be 0."


def short_batches(trial: Trial, *, shorter: Callable[[Setting], Learner]) -> Iterator[str]:
    """An update on a padded batch is that on a shorter one: padding counts for nothing."""
    mend = "give short_batch the settings that depend on the batch size, or None"
    try:
        short = shorter(SETTING._replace(batch_size=LEFT))
    except ValueError as error:
        yield f"the factory refuses batches of {LEFT} examples ({error}); {mend}."
        return
    key, state = jax.random.key(0), trained(trial, jax.random.key(0), [0])
    batch, valid = make_batch(7, task=1), jnp.asarray(np.arange(BATCH_SIZE) < LEFT)
    padded = trial.update(key, state, batch._replace(valid=valid))
    alone = jax.jit(short.update)(key, state, first_rows(batch, LEFT))
    if where := _first_difference(padded, alone, 1e-6):
        yield (
            f"{LEFT} examples and {BATCH_SIZE - LEFT} rows of padding give another {where} than the {LEFT} examples "
            f"alone; take means over the valid rows (losses.mean_over_valid), or {mend}."
        )


def any_order(trial: Trial) -> Iterator[str]:
    """Tasks come in any order, and come back."""
    state = trained(trial, jax.random.key(0), [2, 0, 2, 1])
    if not _finite(state):
        yield "tasks in the order 2, 0, 2, 1 give a state that is not finite; ids are names and come back."
    _, info = trial.update(jax.random.key(0), state, make_batch(3, task=1))
    if not _finite(info):
        yield "tasks in the order 2, 0, 2, 1 give an info that is not finite; ids are names and come back."


def heads(trial: Trial) -> Iterator[str]:
    """Only a task's own outputs have scores, before any training too."""
    states = {
        "before training": _start(trial),
        "after tasks 0, 1, 2": trained(trial, jax.random.key(0), range(NUM_TASKS)),
    }
    for when, state in states.items():
        for task, own in enumerate(SETTING.class_mask):
            x = make_batch(5, task).x
            scores = np.asarray(trial.predict(state, x, jnp.int32(task), jax.random.key(0)))
            if not np.all(scores[:, ~own] == -np.inf):
                yield f"{when}, outputs of other heads than task {task}'s have scores; they must be -inf."
                return
            if not np.all(np.isfinite(scores[:, own])):
                yield f"{when}, scores of task {task}'s own outputs are not finite; they must be."
                return


def mapped_runs(trial: Trial) -> Iterator[str]:
    """Runs under vmap make the updates that they make alone."""
    # From the same state both ways agree; over many updates rounding may tell them apart.
    states = [trained(trial, jax.random.key(0), [0])] * 2
    mapped = jax.jit(jax.vmap(trial.learner.update))
    for step in range(2):
        keys = jax.random.split(jax.random.key(step), 2)
        batches = [make_batch(10 * run + step, task=1) for run in range(2)]
        together = mapped(keys, *(jax.tree.map(_stack, *trees) for trees in (states, batches)))
        alone = [trial.update(*run) for run in zip(keys, states, batches, strict=True)]
        if where := _first_difference(together, jax.tree.map(_stack, *alone), 1e-5):
            yield f"jax.vmap over two runs gives another {where} than the runs alone; they must agree."
            return
        states = [state for state, _ in alone]


def no_trace_anew(trial: Trial) -> Iterator[str]:
    """Whatever has been called so far, it was with arguments of the same shapes and dtypes: one program each."""
    for name in ("init", "update", "end_task", "predict"):
        if (count := trial.traces.count(name)) > 1:
            allowed = "once, for all batches, tasks and epochs"
            yield f"{name} was traced {count} times; it must be {allowed}: nothing static may change in a state."


def _start(trial: Trial) -> Any:
    return trial.init(jax.random.key(0), make_batch(0))


def _buffer(leaf: jax.Array) -> int:
    return leaf.unsafe_buffer_pointer()


def _stack(*leaves: Any) -> np.ndarray:
    return np.stack(leaves)


def _finite(tree: Any) -> bool:
    return all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))


def _first_difference(a: Any, b: Any, tolerance: float = 0.0) -> str:
    """Return the path of the first leaf that differs; of what update returns, 0 is the state and 1 the info."""
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        if not np.allclose(x, y, rtol=tolerance, atol=tolerance):
            return jax.tree_util.keystr(path, simple=True, separator=".")
    return ""
