"""Streams of one's own arrays: what is shown of tasks of any size, shape and order."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diary import diarist

from lamaml_jax import networks, online, streams, train
from lamaml_jax.loop import Seed, make_run
from lamaml_jax.streams import Arrays, from_arrays

pytestmark = pytest.mark.usefixtures("quick_compile")

SIZES = (7, 100, 33)


def task(size: int, of: int = 0, shape: tuple[int, ...] = (6,)) -> Arrays:
    """Return examples of two classes that say in their first number which they are."""
    x = np.random.default_rng(of).normal(size=(size, *shape)).astype(np.float32)
    x.reshape(size, -1)[:, 0] = 1000 * of + np.arange(size)
    return x, np.arange(size) % 2


def tasks(*sizes: int) -> list[Arrays]:
    return [task(size, of) for of, size in enumerate(sizes)]


def shown(stream: streams.Benchmark, seed: int = 0, needs: tuple[str, ...] = ()) -> Any:
    """Return what a learner is shown in each stage: identities and tasks; and its state."""
    run = make_run(stream, lambda hyper: diarist(stream.setting, needs=frozenset(needs)))
    train_task, seeds = jax.jit(run.train_task), Seed(jax.random.key(seed), {})
    images = jnp.asarray(stream.images)
    drawn = run.draw_stream(seeds)
    state, stages = run.init(seeds, drawn, images), []
    learnt = (0,) if "mixed_stream" in needs else stream.learnt()
    for row in learnt:
        before = int(state.seen.seen)
        state, log = train_task(seeds, drawn, state, images, row)
        new = slice(before, int(state.seen.seen))
        stages.append(
            (np.asarray(state.seen.x[new, 0]).astype(int), np.asarray(state.seen.task[new]))
        )
        assert log.finite
    return stages, state


def test_every_example_of_unequal_tasks_is_shown_once_an_epoch() -> None:
    stream = from_arrays(tasks(*SIZES), tasks(5, 3, 20), epochs=2)
    stages, state = shown(stream)
    for of, (examples, task_of) in enumerate(stages):
        epochs = examples.reshape(2, SIZES[of]) - 1000 * of
        assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(SIZES[of]))] * 2
        assert set(task_of) == {of}
        assert epochs[0].tolist() != epochs[1].tolist()
    batches = state.batches[: int(state.num_batches)]
    first = batches[:2]  # of the task of 7, one batch per epoch
    np.testing.assert_array_equal(first, [[7, 1, 0], [7, 0, 0]])
    last = batches[-4:]  # of the task of 33
    np.testing.assert_allclose(last, [[10, 0, 0], [10, 0, 0.25], [10, 0, 0.5], [3, 0, 0.75]])


def test_a_task_end_hands_over_its_own_examples_alone() -> None:
    stream = from_arrays(tasks(*SIZES), tasks(5, 3, 20), heads="per_task")
    _, state = shown(stream, needs=("task_data",))
    assert state.ends[:, 0].tolist() == list(SIZES)


def test_a_mixed_stream_holds_no_padding() -> None:
    stream = from_arrays(tasks(*SIZES), tasks(5, 3, 20))
    ((examples, _),), state = shown(stream, needs=("mixed_stream",))
    everything = [1000 * of + i for of, size in enumerate(SIZES) for i in range(size)]
    assert sorted(examples) == everything and int(state.num_batches) == sum(SIZES) // 10


def test_equal_tasks_are_one_program_without_sizes() -> None:
    stream = from_arrays(tasks(20, 20), tasks(5, 5))
    assert stream.train_sizes is None and stream.test_sizes is None


def test_heads_count_labels_in_each_task_or_over_all() -> None:
    x = np.zeros((4, 3), np.float32)
    two, three = (x, np.array([0, 1, 0, 1])), (x, np.array([0, 1, 2, 0]))
    own = from_arrays([two, three], [two, three], heads="per_task")
    np.testing.assert_array_equal(own.setting.class_mask, [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert own.make_stream(jax.random.key(0)).test.label.tolist() == [[0, 1, 0, 1], [2, 3, 4, 2]]
    shared = from_arrays([two, three], [two, three], num_classes=7)
    assert shared.setting.class_mask.shape == (2, 7) and shared.setting.class_mask.all()
    assert shared.make_stream(jax.random.key(0)).test.label.tolist() == [[0, 1, 0, 1], [0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("dtype", "stored", "seen"),
    [
        (np.uint8, np.uint8, 200 / 255),
        (np.float64, np.float32, 200),
        (np.float16, np.float32, 200),
        (jnp.bfloat16, np.float32, 200),
        (np.int64, np.int32, 200),
        (bool, np.float32, 1),
    ],
)
def test_inputs_of_any_kind_are_held_small_and_seen_as_numbers(
    dtype: Any, stored: Any, seen: float
) -> None:
    pair = np.full((3, 2, 2), 200).astype(dtype), np.arange(3)
    stream = from_arrays([pair], [pair])
    assert stream.images.dtype == stored and stream.images.shape == (6, 2, 2)
    x = stream.inputs.evaluation(jnp.asarray(stream.images), jnp.arange(2), ())
    np.testing.assert_allclose(x, np.full((2, 2, 2), seen), rtol=1e-6)
    assert jnp.issubdtype(x.dtype, jnp.integer) == (dtype is np.int64)


def test_transform_and_augmentation_are_the_users() -> None:
    def augment(key: Any, x: jax.Array) -> jax.Array:
        return x + jax.random.uniform(key, x.shape[:1])[:, None]

    stream = from_arrays(tasks(4), tasks(4), transform=lambda x: -x, augment=augment)
    images, index = jnp.asarray(stream.images), jnp.arange(4)
    plain = stream.inputs.evaluation(images, index, ())
    np.testing.assert_array_equal(plain, -images[:4])
    one, two = (stream.inputs.training(jax.random.key(k), images, index, ()) for k in (0, 1))
    assert not np.array_equal(one, two) and np.all(plain - one >= 0) and np.all(plain - one < 1)


def test_validation_holds_out_examples_that_each_seed_draws() -> None:
    stream = from_arrays(tasks(20, 50), tasks(5, 5), eval_split="validation", held_out=0.2)
    assert (stream.train_sizes, stream.test_sizes) == ((16, 40), (4, 10))
    drawn = [stream.make_stream(jax.random.key(seed)) for seed in (0, 1)]
    for of, size in enumerate((20, 50)):
        for seed in drawn:
            parts = (
                part.image[of][: sizes[of]]
                for part, sizes in zip(
                    seed[:2], (stream.train_sizes, stream.test_sizes), strict=True
                )
            )
            rows = np.sort(np.concatenate(list(parts))).tolist()
            assert rows == list(range(20 * of, 20 * of + size))
    assert not np.array_equal(drawn[0].test.image, drawn[1].test.image)


def test_a_sequence_is_shown_as_it_is() -> None:
    pairs = np.array([(0, 3), (1, 0), (0, 1), (1, 2), (2, 5), (0, 3), (2, 0)])
    stream = from_arrays(tasks(*SIZES), tasks(5, 3, 20), sequence=pairs, batch_size=2, num_stages=2)
    stages, state = shown(stream)
    np.testing.assert_array_equal(np.concatenate([tasks_of for _, tasks_of in stages]), pairs[:, 0])
    identities = np.concatenate([examples for examples, _ in stages])
    np.testing.assert_array_equal(identities, pairs[:, 0] * 1000 + pairs[:, 1])
    assert [len(examples) for examples, _ in stages] == [4, 3]
    assert state.batches[: int(state.num_batches), 0].tolist() == [2, 2, 2, 1]


def test_a_task_may_only_be_tested() -> None:
    stream = from_arrays([task(20), None, task(20, 2)], tasks(5, 5, 5))
    result = train(online, networks.mlp(2, (4,)), stream)
    assert stream.learnt() == (0, 2) and result.accuracy.shape == (1, 3, 3)
    assert np.isfinite(result.accuracy).all()
    learnt = result.accuracy[0][:, [0, 2]]
    assert result.metrics()["ra"] == pytest.approx(learnt[-1].mean())
    assert result.metrics()["la"] == pytest.approx(np.mean([learnt[1, 0], learnt[2, 1]]))
