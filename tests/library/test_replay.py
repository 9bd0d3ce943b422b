"""The replay memory: what is kept, with which probability, and what is drawn from it.

Every example of these tests is a number 1, 2, 3, ... that its input, label and task are computed from.
"""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs

from lamaml_jax import Batch, replay
from lamaml_jax.replay import Memory

KEY = jax.random.key(0)
ADDERS = {
    "uniform": functools.partial(replay.add_reservoir, age_inclusive=False),
    "released": functools.partial(replay.add_reservoir, age_inclusive=True),
    "ring": lambda key, memory, batch: replay.add_ring(memory, batch),
}
adders = pytest.mark.parametrize("add", ADDERS.values(), ids=ADDERS)


def items(numbers: list[int] | np.ndarray, valid: list[bool] | None = None) -> Batch:
    n = np.asarray(numbers)
    return Batch(
        x=jnp.asarray(np.stack([n, -n], axis=1), jnp.float32),
        y=jnp.asarray(n % 7, jnp.int32),
        task=jnp.asarray(n // 5, jnp.int32),
        valid=jnp.asarray(np.ones(len(n), bool) if valid is None else valid),
    )


def offer(add: Callable[..., Memory], capacity: int, *batches: Batch) -> Memory:
    memory = replay.init(batches[0], capacity)
    add = jax.jit(add)
    for i, batch in enumerate(batches):
        memory = add(jax.random.fold_in(KEY, i), memory, batch)
    return memory


def numbers_in(held: Memory | Batch) -> np.ndarray:
    """Return the numbers held, having checked that each stands with its own input, label and task."""
    numbers = np.asarray(held.x[..., 0]).astype(int)
    np.testing.assert_array_equal(held.x[..., 1], -numbers)
    np.testing.assert_array_equal(held.y, numbers % 7)
    np.testing.assert_array_equal(held.task, numbers // 5)
    return numbers


def test_an_empty_memory_has_the_shapes_and_dtypes_of_its_example() -> None:
    batch = items([1, 2, 3])._replace(x=jnp.ones((3, 4, 4), jnp.uint8))
    memory = replay.init(batch, 6)
    assert (memory.x.shape, memory.x.dtype) == ((6, 4, 4), jnp.uint8)
    assert (memory.y.shape, memory.task.shape, memory.seen.shape) == ((6,), (6,), ())
    assert int(memory.seen) == 0


@adders
def test_the_first_examples_fill_the_slots_in_order(add: Callable[..., Memory]) -> None:
    memory = offer(add, 6, items([1, 2, 3]), items([4, 5]))
    assert numbers_in(memory).tolist() == [1, 2, 3, 4, 5, 0]
    assert int(memory.seen) == 5
    full = offer(add, 6, items([1, 2, 3]), items([4, 5, 6]))
    assert numbers_in(full).tolist() == [1, 2, 3, 4, 5, 6]


@adders
def test_input_label_and_task_of_an_example_stay_together(add: Callable[..., Memory]) -> None:
    memory = offer(add, 6, *(items(range(1 + 4 * i, 5 + 4 * i)) for i in range(10)))
    numbers = numbers_in(memory)
    assert len(set(numbers)) == 6
    assert max(numbers) > 6
    assert int(memory.seen) == 40


@adders
def test_invalid_rows_are_neither_kept_nor_counted(add: Callable[..., Memory]) -> None:
    padded = items([1, 99, 2, 99, 3], valid=[True, False, True, False, True])
    memory = offer(add, 4, padded)
    assert numbers_in(memory).tolist() == [1, 2, 3, 0]
    assert int(memory.seen) == 3
    for _ in range(5):
        memory = add(KEY, memory, items([99, 4, 99], valid=[False, True, False]))
    assert 99 not in numbers_in(memory)
    assert int(memory.seen) == 8
    unchanged = add(KEY, memory, items([99] * 3, valid=[False] * 3))
    assert_same_bits(unchanged, memory)


def test_a_ring_keeps_the_last_examples() -> None:
    for batch_size in (3, 11):
        batches = [items(range(i, min(i + batch_size, 23))) for i in range(1, 23, batch_size)]
        memory = offer(ADDERS["ring"], 4, *batches)
        assert sorted(numbers_in(memory)) == [19, 20, 21, 22]


@pytest.mark.parametrize("batch_size", [4, 20])
@pytest.mark.parametrize("age_inclusive", [False, True], ids=["uniform", "released"])
def test_a_reservoir_keeps_every_example_with_its_probability(
    age_inclusive: bool, batch_size: int
) -> None:
    """An example enters with p = M / n or M / (n + 1), and any later one, i, evicts it with 1 / i or 1 / (i + 1).

    So of N examples each is held with M / N under the uniform rule; under the released one with
    (M + 1) / (N + 1) if it is among the first M, and with M / (N + 1) otherwise.
    """
    capacity, total, num_keys = 5, 20, 40_000
    expected = np.full(total, capacity / total)
    if age_inclusive:
        expected = np.where(np.arange(total) < capacity, capacity + 1, capacity) / (total + 1)
    assert expected.sum() == pytest.approx(capacity)

    starts = range(1, 1 + total, batch_size)
    batches = [items(range(start, start + batch_size)) for start in starts]

    stacked = jax.tree.map(lambda *a: np.stack(a), *batches)

    def add(memory: Memory, step: tuple[chex.PRNGKey, Batch]) -> tuple[Memory, None]:
        key, batch = step
        return replay.add_reservoir(key, memory, batch, age_inclusive=age_inclusive), None

    @jax.jit
    @jax.vmap
    def held(key: chex.PRNGKey) -> jax.Array:
        keys = jax.random.split(key, total // batch_size)
        memory, _ = jax.lax.scan(add, replay.init(items([1]), capacity), (keys, stacked))
        return memory.x[:, 0].astype(jnp.int32) - 1

    counts = np.bincount(np.ravel(held(jax.random.split(KEY, num_keys))), minlength=total)
    deviation = np.sqrt(expected * (1 - expected) / num_keys)
    assert np.all(np.abs(counts / num_keys - expected) < 4.5 * deviation)


def test_of_several_examples_for_one_slot_the_last_is_kept() -> None:
    @jax.vmap
    def held(key: chex.PRNGKey) -> jax.Array:
        memory = replay.add_reservoir(key, replay.init(items([1]), 1), items([1, 2, 3]))
        return memory.x[0, 0].astype(jnp.int32)

    counts = np.bincount(held(jax.random.split(KEY, 30_000)))[1:] / 30_000
    np.testing.assert_allclose(counts, 1 / 3, atol=0.015)  # the first for a slot: 1/3, 1/2, 1/6


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("filled", [0, 1, 3, 6])
def test_a_draw_marks_what_the_memory_does_not_hold_yet(filled: int, replacement: bool) -> None:
    memory = offer(ADDERS["uniform"], 6, items(range(1, 7), valid=[i < filled for i in range(6)]))
    sample = jax.jit(functools.partial(replay.sample, size=4, replacement=replacement))
    for seed in range(20):
        drawn = sample(jax.random.key(seed), memory)
        assert drawn.valid.tolist() == [i < filled for i in range(4)]
        assert set(numbers_in(drawn)[: min(filled, 4)]) <= set(range(1, filled + 1))


@pytest.mark.parametrize("replacement", [True, False])
def test_a_draw_is_uniform_over_the_filled_slots(replacement: bool) -> None:
    memory = offer(ADDERS["uniform"], 8, items([1, 2, 3, 4, 5]))
    keys = jax.random.split(KEY, 20_000)
    draw = functools.partial(replay.sample, memory=memory, size=3, replacement=replacement)
    numbers = np.asarray(jax.vmap(draw)(keys).x[..., 0]).astype(int)
    for position in numbers.T:
        frequencies = np.bincount(position, minlength=6) / len(keys)
        np.testing.assert_allclose(frequencies, [0, 0.2, 0.2, 0.2, 0.2, 0.2], atol=0.015)
    distinct = np.mean([len(set(row)) == 3 for row in numbers])
    assert distinct == (pytest.approx(4 / 5 * 3 / 5, abs=0.02) if replacement else 1)


def test_a_draw_without_replacement_takes_no_more_than_the_memory_has() -> None:
    memory = offer(ADDERS["uniform"], 4, items([1, 2, 3, 4]))
    everything = replay.sample(KEY, memory, 4, replacement=False)
    assert sorted(numbers_in(everything)) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="size is 5; .* at most 4"):
        replay.sample(KEY, memory, 5, replacement=False)
    assert len(numbers_in(replay.sample(KEY, memory, 5, replacement=True))) == 5


def test_a_glance_reshuffles_the_incoming_rows_and_keeps_each_together() -> None:
    memory = offer(ADDERS["uniform"], 4, items([1, 2, 3, 4]))
    batch = items([11, 12, 13, 14, 15], valid=[True, True, True, True, False])
    firsts, orders = set(), set()
    draw = jax.jit(functools.partial(replay.draw, size=3))
    for seed in range(20):
        incoming, replayed = draw(jax.random.key(seed), memory, batch)
        order = numbers_in(incoming).tolist()
        assert sorted(order) == [11, 12, 13, 14, 15]
        assert order[-1] == 15  # padding stays last
        assert incoming.valid.tolist() == batch.valid.tolist()
        assert set(numbers_in(replayed)) <= {1, 2, 3, 4}
        orders.add(tuple(order))
        firsts.add(order[0])
    assert len(orders) > 10  # of 24
    assert firsts == {11, 12, 13, 14}


def test_a_glance_without_reshuffling_keeps_the_order_and_draws_anew() -> None:
    memory = offer(ADDERS["uniform"], 4, items([1, 2, 3, 4]))
    batch = items([11, 12, 13], valid=[True, True, False])
    draws = [
        replay.draw(jax.random.key(seed), memory, batch, size=3, shuffle=False) for seed in (0, 1)
    ]
    for incoming, _ in draws:
        assert_same_bits(incoming, batch)
    assert differs(draws[0][1], draws[1][1])


def test_joining_puts_the_replayed_examples_first() -> None:
    incoming = items([1, 2], valid=[True, False])._replace(first_epoch=False, progress=0.5)
    joint = replay.join(items([8, 9], valid=[False, True]), incoming)
    assert numbers_in(joint).tolist() == [8, 9, 1, 2]
    assert joint.valid.tolist() == [False, True, True, False]
    assert (joint.first_epoch, joint.progress) == (False, 0.5)


@adders
def test_a_scan_under_jit_holds_what_a_loop_holds(add: Callable[..., Memory]) -> None:
    batches = [items(range(1 + 4 * i, 5 + 4 * i)) for i in range(6)]
    keys = jax.random.split(KEY, 6)
    looped = replay.init(batches[0], 5)
    for key, batch in zip(keys, batches, strict=True):
        looped = add(key, looped, batch)

    @jax.jit
    def scanned(memory: Memory) -> tuple[Memory, Batch]:
        def step(memory: Memory, inputs: tuple[chex.PRNGKey, Batch]) -> tuple[Memory, None]:
            return add(inputs[0], memory, inputs[1]), None

        rows = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        memory, _ = jax.lax.scan(step, memory, (keys, rows))
        return memory, replay.sample(KEY, memory, 3)

    memory, drawn = scanned(replay.init(batches[0], 5))
    assert_same_bits(memory, looped)
    assert_same_bits(drawn, replay.sample(KEY, looped, 3))
