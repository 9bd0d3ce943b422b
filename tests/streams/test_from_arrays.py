"""Streams of one's own arrays: what is shown of tasks of any size, shape and order, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diary import diarist
from helpers import assert_same_bits, small_keywords

from lamaml_jax import LEARNERS, networks, online, streams, train
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


# What is shown.


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


# Padding changes nothing.


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_learns_tasks_of_unequal_size(name: str) -> None:
    """And what stands in the padding, of batches and of evaluation, has no part in it."""
    rng, sizes = np.random.default_rng(0), (7, 1000, 33)
    centres = 2 * rng.normal(size=(3, 2, 5))

    def blobs(size: int, of: int) -> Arrays:
        y = np.arange(size) % 2
        return centres[of][y] + rng.normal(size=(size, 5)), y

    train_tasks = [blobs(size, of) for of, size in enumerate(sizes)]
    test_tasks = [blobs(size, of) for of, size in enumerate((50, 9, 40))]
    stream = from_arrays(train_tasks, test_tasks, heads="per_task")
    faster = {"lr": 0.03} if name in ("online", "iid", "ewc") else {}
    keywords = small_keywords(name) | ({"memory": 30} if name == "gem" else faster)
    result = train(LEARNERS[name], networks.mlp(6, (8,)), stream, **keywords)
    assert np.isfinite(result.accuracy[:, [0, -1]]).all() and not result.diverged.any()
    assert result.accuracy[0, -1].mean() > 0.55

    spoilt = stream._replace(make_stream=lambda key: _spoilt(stream, key))
    again = train(LEARNERS[name], networks.mlp(6, (8,)), spoilt, **keywords)
    np.testing.assert_array_equal(again.accuracy, result.accuracy)
    assert_same_bits(again.state, result.state)


def _spoilt(stream: streams.Benchmark, key: Any) -> streams.Stream:
    """Return a stream with other examples in its padding."""
    drawn = stream.make_stream(key)

    def spoil(part: streams.Examples, sizes: tuple[int, ...]) -> streams.Examples:
        is_padding = jnp.arange(part.image.shape[1]) >= jnp.asarray(sizes)[:, None]
        image = jnp.where(is_padding, len(stream.images) - 1, part.image)
        return part._replace(image=image, label=jnp.where(is_padding, 5, part.label))

    sizes = stream.train_sizes, stream.test_sizes
    assert None not in sizes
    return drawn._replace(train=spoil(drawn.train, sizes[0]), test=spoil(drawn.test, sizes[1]))


def test_a_task_learns_as_if_all_were_of_its_size() -> None:
    """The same examples in the same order give the same weights, whatever other tasks there are."""
    alone = from_arrays(tasks(7), tasks(5))
    beside = from_arrays(tasks(7, 100), tasks(5, 5))
    model = networks.mlp(2, (4,))

    def weights(stream: streams.Benchmark) -> Any:
        run = make_run(stream, lambda hyper: online(model, stream.setting, examples_per_step=10))
        seed, images = Seed(jax.random.key(0), {}), jnp.asarray(stream.images)
        drawn = run.draw_stream(seed)
        order = drawn._replace(train=drawn.train)
        state = run.init(seed, order, images)
        return run.train_task(seed, order, state, images, 0)[0].params

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        weights(alone),
        weights(beside),
    )


# What is refused.

X, Y = np.zeros((4, 3), np.float32), np.arange(4) % 2
GOOD = [(X, Y)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "train_tasks holds 0 tasks and test_tasks 0"),
        ((GOOD, []), "train_tasks holds 1 tasks and test_tasks 0"),
        (([None], GOOD), "train_tasks holds None alone"),
        (([X], GOOD), r"train_tasks\[0\] is a ndarray; it must be a pair"),
        (
            ([(X, Y[:3])], GOOD),
            r"train_tasks\[0\] has inputs of shape \(4, 3\) and labels of shape \(3,\)",
        ),
        (([(X[:0], Y[:0])], GOOD), r"train_tasks\[0\] has no example"),
        (
            ([(np.full((4, 3), np.nan), Y)], GOOD),
            r"train_tasks\[0\] has inputs that are not finite",
        ),
        (
            (GOOD, [(X, np.array([0.0, 1, np.inf, 0]))]),
            r"test_tasks\[0\] has labels that are not finite",
        ),
        (([(X, Y - 1)], GOOD), r"train_tasks\[0\] has integer labels of shape \(4,\) from -1"),
        (([(X, Y[:, None])], GOOD), r"train_tasks\[0\] has integer labels of shape \(4, 1\)"),
        (([(X.astype(str), Y)], GOOD), r"train_tasks\[0\] has inputs of dtype <U32"),
        (
            ([(X[:, :2], Y)], GOOD),
            r"train_tasks\[0\] has x of float32 and shape \(4, 2\); all tasks",
        ),
        (([(X.astype(np.uint8), Y)], GOOD), r"train_tasks\[0\] has x of uint8"),
        (([(np.full((4, 3), 2**40), Y)], [(np.ones((4, 3), int), Y)]), "numbers that int32 cannot"),
        (([(np.full((4, 3), 1e300), Y)], GOOD), "an input has numbers that float32 cannot hold"),
        (([(X, Y + 2**33)], GOOD), r"task 0 has label .*; it must be in \[0, 1000000\)"),
        (([(X, Y.astype(np.float32))], GOOD), r"train_tasks\[0\] has y of float32"),
    ],
)
def test_bad_arrays_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(*arguments)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"heads": "own"}, "heads is 'own'; it must be one of 'shared', 'per_task'"),
        ({"num_classes": 1}, r"task 0 has label 1; it must be in \[0, 1\), as num_classes says"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_stages": 2}, "num_stages is 2; it must be None without a sequence"),
        ({"sequence": [0, 1]}, r"sequence is int64 of shape \(2,\)"),
        ({"sequence": [(0, 4)]}, r"sequence\[0\] is task 0, example 4; there must be such"),
        ({"sequence": [(0, 0), (1, 0)]}, r"sequence\[1\] is task 1, example 0"),
        ({"sequence": [(0, 0)], "epochs": 2}, "epochs is 2; it must be 1 with a sequence"),
        (
            {"sequence": [(0, 0)], "num_stages": 2},
            r"num_stages is 2; it must be an integer in \[1, 1\]",
        ),
        ({"eval_split": "validation"}, "held_out is 0.1; it must hold out an example of each task"),
        (
            {"eval_split": "validation", "held_out": 1},
            r"held_out is 1; it must be a number in \(0, 1\)",
        ),
    ],
)
def test_bad_keywords_are_named(keywords: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(GOOD, GOOD, **keywords)
