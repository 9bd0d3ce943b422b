"""A-GEM: the reference that it holds a gradient against."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, make_batch
from projecting import (
    KEY,
    LINEAR,
    MODEL,
    SHARED,
    SLOTS,
    SMALL,
    build,
    gradient,
    last,
    learn,
    relabelled,
    step_taken,
)

from lamaml_jax import Batch, online
from lamaml_jax.updates import clip_by_global_norm

pytestmark = pytest.mark.usefixtures("quick_compile")


class Past(NamedTuple):
    """Two tasks of the same images with other labels, the second of 2 examples only, and a third of all these images.

    A linear model's gradients on these images oppose each other where the images are the same, and are orthogonal
    where not.
    """

    shown: list[Batch]
    held: list[Batch]
    now: Batch


def uneven_past() -> Past:
    first = make_batch(0)._replace(x=jnp.eye(12, dtype=jnp.float64)[:10])
    held = [last(first), last(relabelled(first, 1), 2)]
    second = Batch(*(jnp.roll(a, 2, axis=0) for a in relabelled(first, 1)[:4]))
    second = second._replace(valid=jnp.arange(10) < 2)
    x, y = (jnp.concatenate([a[-4:], a[-4:], a[-2:]]) for a in (first.x, first.y))
    now = relabelled(first._replace(x=x, y=y), 2)
    return Past([first, second], held, now)


def mean_of_tasks(rows: list[np.ndarray], counts: list[int]) -> np.ndarray:
    return np.mean(rows, axis=0)


def mean_of_examples(rows: list[np.ndarray], counts: list[int]) -> np.ndarray:
    return np.average(rows, axis=0, weights=counts)


@pytest.mark.parametrize("skip_first_task", [False, True])
@pytest.mark.parametrize(
    ("reference", "expected", "clip_norm"),
    [
        ("mean", mean_of_tasks, None),
        ("mean", mean_of_tasks, 0.1),
        ("sample", mean_of_examples, None),
    ],
)
def test_agem_projects_against_its_reference(
    reference: str,
    expected: Callable[..., np.ndarray],
    clip_norm: float | None,
    skip_first_task: bool,
    x64: None,
) -> None:
    """As one past task holds more examples, a mean over tasks and one over examples differ."""
    past = uneven_past()
    keywords = {"reference": reference, "replay_batch": 50, "skip_first_task": skip_first_task}
    learner = build("agem", model=LINEAR, clip_norm=clip_norm, **keywords)
    before, _ = learn(learner, *past.shown)
    after, info = learn(learner, past.now, state=before)
    *rows, grads = (
        np.asarray(clip_by_global_norm(gradient(before.params, b, model=LINEAR), clip_norm)[0])
        for b in (*past.held[skip_first_task:], past.now)
    )
    against = expected(rows, [SLOTS, 2][skip_first_task:])
    assert grads @ against < 0
    projected = grads - grads @ against / (against @ against) * against
    assert_close(step_taken(before, after), projected, 1e-7)
    assert float(info["projected"]) == 1


@pytest.mark.parametrize("variant", ["agem", "agem_mean"])
def test_agem_may_leave_out_the_first_task(variant: str) -> None:
    """The one that came first, whatever its id."""
    batches = [relabelled(make_batch(0), 1), make_batch(0)]
    state, _ = learn(build(variant, skip_first_task=True), *batches)
    plain, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"]), *batches)
    assert_same_bits(state.params, plain.params)


def test_agem_draws_every_past_example_equally_often(x64: None) -> None:
    """One is drawn at a time: the part of the gradient that is taken away says which it was."""
    past = uneven_past()
    learner = build("agem", model=LINEAR, replay_batch=1)
    before, _ = learn(learner, *past.shown)
    num_keys = 600
    keys = jax.random.split(KEY, num_keys)
    after, _ = jax.jit(jax.vmap(learner.update, (0, None, None)))(keys, before, past.now)
    examples = [Batch(*(a[i : i + 1] for a in b[:4])) for b in past.held for i in range(len(b.y))]
    rows = np.stack([gradient(before.params, example, model=LINEAR) for example in examples])
    grads = np.asarray(gradient(before.params, past.now, model=LINEAR))
    products = rows @ grads
    assert np.all(products < 0)
    leaves = zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True)
    steps = np.hstack([np.reshape(b - a, (num_keys, -1)) for b, a in leaves]) / SMALL["lr"]
    possible = grads - (products / np.sum(rows**2, axis=1))[:, None] * rows
    is_drawn = np.abs(steps[:, None] - possible).max(axis=2) < 1e-9
    assert np.all(is_drawn.sum(axis=1) == 1)
    np.testing.assert_allclose(is_drawn.mean(axis=0), 1 / len(rows), atol=0.05)
