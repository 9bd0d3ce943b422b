"""GEM and A-GEM: what they remember, what they hold a gradient against, and what becomes of it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    NUM_TASKS,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
    small_setting,
)

from lamaml_jax import Batch, Learner, Model, agem, gem, losses, networks, online, project_gem
from lamaml_jax.updates import clip_by_global_norm

pytestmark = pytest.mark.usefixtures("quick_compile")

SHARED, PER_TASK = small_setting(per_task=False), small_setting()
MODEL = networks.mlp(SHARED.num_classes, hidden=(8, 8))
LINEAR = Model(
    lambda key, x: jnp.zeros((x.shape[1], SHARED.num_classes), x.dtype), lambda w, x: x @ w
)
KEY = jax.random.key(0)
SLOTS = 4
SMALL = {"lr": 0.1, "memory": SLOTS * NUM_TASKS}

Factory = Callable[..., Learner]
VARIANTS: dict[str, tuple[Factory, dict[str, Any]]] = {
    "gem": (gem, {"margin": 0.0}),
    "gem_with_margin": (gem, {"margin": 0.5}),
    "agem": (agem, {"reference": "sample", "replay_batch": 3}),
    "agem_mean": (agem, {"reference": "mean"}),
}
variants = pytest.mark.parametrize("variant", VARIANTS)


@functools.cache
def build(variant: str, per_task: bool = False, model: Model = MODEL, **keywords: Any) -> Learner:
    factory, own = VARIANTS[variant]
    setting = PER_TASK if per_task else SHARED
    return factory(model, setting, **SMALL | own | keywords)


@functools.cache
def updater(learner: Learner) -> Callable[..., tuple[Any, Any]]:
    return jax.jit(learner.update)


def learn(learner: Learner, *batches: Batch, state: Any = None) -> tuple[Any, Any]:
    """Return state and info after some batches, from the start unless another state is given."""
    if state is None:
        state = learner.init(KEY, batches[0])
        dtype = batches[0].x.dtype
        state = state._replace(params=jax.tree.map(lambda p: p.astype(dtype), state.params))
    info = None
    for i, batch in enumerate(batches):
        state, info = updater(learner)(jax.random.fold_in(KEY, i), state, batch)
    return state, info


def same_for_all(batch: Batch, task: int) -> Batch:
    """Return a batch of copies of its first example, as a task's."""
    x, y = (jnp.broadcast_to(a[:1], a.shape) for a in (batch.x, batch.y))
    return batch._replace(x=x, y=y, task=jnp.full_like(batch.task, task))


def relabelled(batch: Batch, task: int) -> Batch:
    """Return the same images as another task's, with other labels: with a shared head the two oppose each other."""
    return batch._replace(
        y=(batch.y + task + 1) % SHARED.num_classes, task=jnp.full_like(batch.task, task)
    )


def double(batch: Batch) -> Batch:
    return batch._replace(x=batch.x.astype(jnp.float64))


@functools.partial(jax.jit, static_argnames=("per_task", "model"))
def gradient(params: Any, batch: Batch, per_task: bool = False, model: Model = MODEL) -> jax.Array:
    setting = PER_TASK if per_task else SHARED
    grads = jax.grad(losses.task_loss(model.apply, setting.class_mask))(params, batch)
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grads)])


def last(batch: Batch, count: int = SLOTS) -> Batch:
    """Return the last examples of a batch: what a memory should hold of it."""
    fields = [a[-count:] for a in batch[:4]]
    return Batch(*fields)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def step_taken(before: Any, after: Any) -> np.ndarray:
    """Return the direction that was descended along."""
    return (flat(before.params) - flat(after.params)) / SMALL["lr"]


@pytest.mark.parametrize(
    ("variant", "size", "clip_norm"),
    [("gem", 1, None), ("gem_with_margin", 5, 0.5), ("agem", 5, 0.5), ("agem_mean", 1, None)],
)
def test_without_conflict_it_is_online(variant: str, size: int, clip_norm: float | None) -> None:
    """All tasks show one and the same example, so that all gradients point one way.

    The same to the bit as compiled here; a compiler that fuses more may round the two programs apart.
    """
    keywords = {"examples_per_step": size, "clip_norm": clip_norm}
    batches = [same_for_all(make_batch(0), task) for task in range(NUM_TASKS)]
    state, info = learn(build(variant, **keywords), *batches)
    expected, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"], **keywords), *batches)
    assert_same_bits(state.params, expected.params)
    assert float(info["projected"]) == 0


@variants
def test_the_first_task_is_held_against_nothing(variant: str) -> None:
    """Not even against its own memory, which here holds the same images with other labels."""
    batches = [make_batch(0), relabelled(make_batch(0), 0), make_batch(0)]
    state, info = learn(build(variant), *batches)
    expected, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"]), *batches)
    assert_same_bits(state.params, expected.params)
    assert float(info["projected"]) == 0


@pytest.mark.parametrize("variant", ["gem", "agem"])
def test_every_glance_takes_a_step(variant: str) -> None:
    batch = make_batch(0)
    state, _ = learn(build(variant, glances=2), batch)
    expected, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"]), batch, batch)
    assert_same_bits(state.params, expected.params)


@variants
def test_a_conflict_changes_the_step(variant: str) -> None:
    batches = [make_batch(0), relabelled(make_batch(0), 1)]
    state, info = learn(build(variant), *batches)
    plain, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"]), *batches)
    assert differs(state.params, plain.params)
    assert float(info["projected"]) == 1


def test_the_share_of_projected_steps_is_reported() -> None:
    first = same_for_all(make_batch(0), 0)
    agreeing = jnp.arange(10) < 5
    mixed = relabelled(first, 1)._replace(y=jnp.where(agreeing, first.y, first.y + 1))
    _, info = learn(build("gem", examples_per_step=5), first, mixed)
    assert float(info["projected"]) == 0.5


@pytest.mark.parametrize(("per_task", "clip_norm"), [(False, 0.3), (True, None)])
def test_gem_projects_against_the_memory_of_each_past_task(
    per_task: bool, clip_norm: float | None, x64: None
) -> None:
    past = [double(make_batch(0, task)) for task in (0, 1)]
    now = relabelled(past[0], 2)
    if per_task:  # the same network is asked for the opposite
        now = past[0]._replace(x=-past[0].x, y=past[0].y + 4, task=now.task)
    learner = build("gem_with_margin", per_task, clip_norm=clip_norm)
    before, _ = learn(learner, *past)
    after, info = learn(learner, now, state=before)
    held = [gradient(before.params, last(b), per_task) for b in past]
    rows = np.stack([clip_by_global_norm(row, clip_norm)[0] for row in held])
    grads, norm = clip_by_global_norm(gradient(before.params, now, per_task), clip_norm)
    assert np.any(rows @ grads < 0)
    expected = project_gem(grads, rows, np.ones(2, bool), margin=0.5, eps=1e-3)
    assert_close(step_taken(before, after), expected, 1e-7)
    assert_close(info["gradient_norm"], norm, 1e-7)
    assert clip_norm is None or min(norm, *map(np.linalg.norm, held)) > clip_norm


def test_no_past_memory_loss_rises_to_first_order(x64: None) -> None:
    past = [double(make_batch(0)), relabelled(double(make_batch(0)), 1)]
    now = relabelled(past[0], 2)
    learner = build("gem", eps=1e-12)
    before, _ = learn(learner, *past)
    after, _ = learn(learner, now, state=before)
    rows = np.stack([gradient(before.params, last(b)) for b in past])
    assert (rows @ gradient(before.params, now)).min() < -1e-2
    assert (rows @ step_taken(before, after)).min() > -1e-7


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
    second = relabelled(first, 1)._replace(valid=jnp.arange(10) >= 8)
    x, y = (jnp.concatenate([a[-4:], a[-4:], a[-2:]]) for a in (first.x, first.y))
    now = relabelled(first._replace(x=x, y=y), 2)
    return Past([first, second], [last(first), last(second, 2)], now)


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
    batches = [make_batch(0), relabelled(make_batch(0), 1)]
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


@pytest.mark.parametrize(("variant", "size"), [("gem", 1), ("agem", 5), ("gem", 10)])
def test_a_ring_per_task_holds_its_last_examples(variant: str, size: int) -> None:
    batches = [
        make_batch(0, 0),
        make_batch(1, 0),
        make_batch(2, 1)._replace(valid=jnp.arange(10) < 3),
        make_batch(3, 2, first_epoch=jnp.asarray(False)),
    ]
    state, _ = learn(build(variant, True, glances=2, examples_per_step=size), *batches)
    memory = state.memory
    assert memory.seen.tolist() == [20, 3, 10]
    assert memory.y.shape == (NUM_TASKS, SLOTS)
    held = [last(batches[1]), jax.tree.map(lambda a: a[:3], batches[2][:4]), last(batches[3])]
    for task, examples in enumerate(held):
        count = len(examples[1])
        order, expected = (np.argsort(x[:count, 0]) for x in (memory.x[task], examples[0]))
        for field, wanted in zip(memory[:3], examples[:3], strict=True):
            np.testing.assert_array_equal(field[task][:count][order], wanted[expected])


@pytest.mark.parametrize("factory", [gem, agem])
def test_the_memory_has_a_slot_for_every_task(factory: Factory) -> None:
    with pytest.raises(ValueError, match=r"^memory is 2; it must be an integer >= 3\.$"):
        factory(MODEL, SHARED, memory=2)
    factory(MODEL, SHARED, memory=3)
