"""GEM, and what A-GEM shares with it: what they remember, and what becomes of a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import NUM_TASKS, assert_close, assert_same_bits, differs, make_batch
from projecting import (
    MODEL,
    SHARED,
    SLOTS,
    SMALL,
    Factory,
    build,
    double,
    gradient,
    last,
    learn,
    relabelled,
    same_for_all,
    step_taken,
    variants,
)

from lamaml_jax import agem, gem, online, project_gem
from lamaml_jax.updates import clip_by_global_norm

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize(
    ("variant", "size", "clip_norm"),
    [("gem", 1, None), ("gem_with_margin", 5, 0.5), ("agem", 5, 0.5), ("agem_mean", 1, None)],
)
def test_without_conflict_it_is_online(variant: str, size: int, clip_norm: float | None) -> None:
    """All tasks show one and the same example, so that all gradients point one way.

    Compilers may round the two programs apart in the last bit.
    """
    keywords = {"examples_per_step": size, "clip_norm": clip_norm}
    batches = [same_for_all(make_batch(0), task) for task in range(NUM_TASKS)]
    state, info = learn(build(variant, **keywords), *batches)
    expected, _ = learn(online(MODEL, SHARED, lr=SMALL["lr"], **keywords), *batches)
    assert_close(state.params, expected.params, 1e-6)
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


@pytest.mark.parametrize(
    ("order", "per_task", "clip_norm"),
    [
        ((0, 1, 2), False, 0.3),
        ((2, 1, 0), False, 0.3),
        ((1, 0, 1), False, 0.3),
        ((0, 1, 2), True, None),
    ],
)
def test_gem_projects_against_the_memory_of_each_past_task(
    order: tuple[int, ...], per_task: bool, clip_norm: float | None, x64: None
) -> None:
    """Of every task seen before, in any order, but the one that comes back."""
    past = [double(make_batch(0, task)) for task in order[:2]]
    now = relabelled(past[1], order[2])
    if per_task:  # the same network is asked for the opposite
        now = past[0]._replace(x=-past[0].x, y=past[0].y + 4, task=now.task)
    learner = build("gem_with_margin", per_task, clip_norm=clip_norm)
    before, _ = learn(learner, *past)
    after, info = learn(learner, now, state=before)
    others = [b for b, task in zip(past, order, strict=False) if task != order[2]]
    held = [gradient(before.params, last(b), per_task) for b in others]
    rows = np.stack([clip_by_global_norm(row, clip_norm)[0] for row in held])
    grads, norm = clip_by_global_norm(gradient(before.params, now, per_task), clip_norm)
    assert np.any(rows @ grads < 0)
    expected = project_gem(grads, rows, np.ones(len(rows), bool), margin=0.5, eps=1e-3)
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


@pytest.mark.parametrize("variant", ["gem", "agem_mean"])
def test_parameters_of_few_bits_keep_their_dtype(variant: str) -> None:
    batches = [make_batch(0), relabelled(make_batch(0), 1)]
    batches = [b._replace(x=b.x.astype(jnp.bfloat16)) for b in batches]
    state, info = learn(build(variant, clip_norm=1.0), *batches)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.bfloat16)}
    assert float(info["projected"]) == 1


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
