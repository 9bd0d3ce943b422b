"""What a learner is shown in a run, and how it is evaluated."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diary import diarist
from helpers import assert_same_bits, compiling_quickly
from runs import Results, compile_runs, run_of, seeds_of

from lamaml_jax import Batch, Learner, networks, online, ucb
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Seed, make_run
from lamaml_jax.streams import Benchmark, mnist_permutations

pytestmark = pytest.mark.usefixtures("quick_compile")

# What a learner is shown.


SAMPLES, BATCH, EPOCHS = 25, 10, 2


@functools.cache
def diaries(*needs: str) -> tuple[Benchmark, Results]:
    """Return what two seeds are shown of two tasks of 25 images, in batches of 10, twice over."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 4, 4, 1), np.uint8)
    labels = rng.integers(10, size=60).astype(np.int32)
    dataset = ImageDataset("noise", images[:50], labels[:50], images[50:], labels[50:], "made up")
    benchmark = mnist_permutations(
        dataset, num_tasks=2, samples_per_task=SAMPLES, batch_size=BATCH, epochs=EPOCHS
    )
    num_tasks = 1 if "mixed_stream" in needs else 2
    build = functools.partial(diarist, needs=frozenset(needs))
    runs = compile_runs(benchmark, lambda setting, hyper: build(setting), 2)
    with compiling_quickly():
        return benchmark, runs(seeds_of(0, 1), num_tasks)


def shown(benchmark: Benchmark, run: Any) -> list[tuple[int, int]]:
    """Return the task and row of every example that a run was shown, found by its pixels and label."""
    rows: dict[tuple[bytes, int], tuple[int, int]] = {}
    for task in range(benchmark.setting.num_tasks):
        pixels = benchmark.images[run.stream.train.image[task]][:, run.stream.transform[task]]
        for row, (image, label) in enumerate(
            zip(pixels, run.stream.train.label[task], strict=True)
        ):
            rows[image.tobytes(), int(label)] = (task, row)
    seen = run.state.seen
    count = int(seen.seen)
    inputs = np.rint(255 * seen.x[:count]).astype(np.uint8)
    found = [rows[x.tobytes(), int(y)] for x, y in zip(inputs, seen.y[:count], strict=True)]
    assert [task for task, _ in found] == seen.task[:count].tolist()
    return found


def test_every_epoch_shows_every_example_of_the_task_once() -> None:
    benchmark, results = diaries()
    for seed in (0, 1):
        found = shown(benchmark, run_of(results, seed))
        assert len(found) == 2 * EPOCHS * SAMPLES  # and none of the padding
        for epoch in range(2 * EPOCHS):
            part = found[epoch * SAMPLES : (epoch + 1) * SAMPLES]
            assert sorted(part) == [(epoch // EPOCHS, row) for row in range(SAMPLES)]


def test_the_order_differs_between_epochs_tasks_and_seeds() -> None:
    benchmark, results = diaries()
    orders = set()
    for seed in (0, 1):
        rows = [row for _, row in shown(benchmark, run_of(results, seed))]
        orders |= {tuple(rows[i : i + SAMPLES]) for i in range(0, len(rows), SAMPLES)}
    assert len(orders) == 2 * 2 * EPOCHS
    assert tuple(range(SAMPLES)) not in orders


def test_batches_know_their_epoch_their_progress_and_their_padding() -> None:
    _, results = diaries()
    epoch = [[10, 10, 5], [0, 1 / 3, 2 / 3]]
    for diary in (run_of(results, seed).state for seed in (0, 1)):
        assert int(diary.num_batches) == 2 * EPOCHS * 3
        valid, first, progress = diary.batches[: 2 * EPOCHS * 3].T
        np.testing.assert_allclose(np.stack([valid, progress]), np.tile(epoch, 2 * EPOCHS))
        assert first.tolist() == ([1] * 3 + [0] * 3) * 2


def test_every_update_has_a_key_of_its_own() -> None:
    _, results = diaries()
    keys = np.concatenate([log.infos["key"] for log in results.logs], axis=1)
    assert keys.shape == (2, 2 * EPOCHS * 3)
    assert len(np.unique(keys)) == keys.size


@pytest.mark.parametrize("needs", [(), ("task_data",), ("mixed_stream",)])
def test_a_task_may_be_cut_anywhere(needs: tuple[str, ...]) -> None:
    benchmark, whole = diaries(*needs)
    run = make_run(benchmark, lambda hyper: diarist(benchmark.setting, needs=frozenset(needs)))
    train_steps, end_task = jax.jit(run.train_steps), jax.jit(run.end_task)
    seed, images = Seed(jax.random.key(0), {}), jnp.asarray(benchmark.images)
    one = run_of(whole, 0)
    stream, state, log = one.stream, one.start, one.logs[0]
    parts = []
    num_batches = len(log.infos["key"])
    cuts = (0, 1, 4, 4, num_batches)  # the second part goes on into the second epoch
    for first, stop in itertools.pairwise(cuts):
        state, infos = train_steps(seed, stream, state, images, 0, first, stop)
        assert int(state.num_batches) == stop and int(state.num_ends) == 0
        parts.append(infos["key"])
        assert np.flatnonzero(infos["key"]).tolist() == list(range(first, stop))
    np.testing.assert_array_equal(np.sum(parts, axis=0), log.infos["key"])
    state, rates, finite = end_task(seed, stream, state, images, 0)
    assert rates is None and finite
    if "mixed_stream" not in needs:  # else there is no other task
        state, _ = train_steps(seed, stream, state, images, 1, 0, num_batches)
        state, *_ = end_task(seed, stream, state, images, 1)
    assert_same_bits(state, one.state)


def test_no_key_is_used_twice() -> None:
    benchmark, _ = diaries()

    def build(hyper: Any) -> Learner:
        model = networks.mlp(benchmark.setting.num_classes, hidden=(4,))
        return ucb(model, benchmark.setting, mc_samples=1, eval_samples=1)

    with jax.debug_key_reuse(True), compiling_quickly():
        run = make_run(benchmark, build, eval_batch=5)
        draw_stream, init, train_task, evaluate, *_ = map(jax.jit, run)
        seed, images = Seed(jax.random.key(0), {}), jnp.asarray(benchmark.images)
        stream = draw_stream(seed)
        state = init(seed, stream, images)
        for task in range(2):
            state, _ = train_task(seed, stream, state, images, task)
            assert np.isfinite(evaluate(seed, stream, state, images, 0, 2)).all()


def test_a_tasks_end_comes_once_with_its_data_for_those_who_need_it() -> None:
    _, without = diaries()
    assert without.state.num_ends.tolist() == [2, 2]
    np.testing.assert_array_equal(without.state.ends, 0)
    _, results = diaries("task_data")
    assert results.state.num_ends.tolist() == [2, 2]
    for seed in (0, 1):
        run = run_of(results, seed)
        expected = [[SAMPLES, labels.sum()] for labels in run.stream.train.label]
        np.testing.assert_array_equal(run.state.ends, expected)


def test_a_mixed_stream_shows_all_tasks_shuffled_together() -> None:
    benchmark, results = diaries("mixed_stream")
    everything = [(task, row) for task in range(2) for row in range(SAMPLES)]
    for seed in (0, 1):
        found = shown(benchmark, run_of(results, seed))
        epochs = found[: len(everything)], found[len(everything) :]
        assert [sorted(epoch) for epoch in epochs] == [everything] * EPOCHS
        assert epochs[0] != epochs[1]
        assert {task for task, _ in found[:SAMPLES]} == {0, 1}


# How it is evaluated.


@pytest.mark.parametrize("heads", ["shared", "per_task"])
def test_every_test_image_counts_once(heads: Any) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (53, 4, 4, 1), np.uint8)
    labels = rng.integers(10, size=53).astype(np.int32)
    dataset = ImageDataset("noise", pixels[:30], labels[:30], pixels[30:], labels[30:], "made up")
    benchmark = mnist_permutations(dataset, num_tasks=3, samples_per_task=30, heads=heads)
    mask, images = benchmark.setting.class_mask, jnp.asarray(benchmark.images)
    model = networks.mlp(benchmark.setting.num_classes, hidden=(16,))
    learner = online(model, benchmark.setting)
    seed = Seed(jax.random.key(0), {})
    stream = jax.jit(benchmark.make_stream)(seed.key)
    state = learner.init(seed.key, Batch(images[:1], labels[:1], labels[:1], labels[:1] >= 0))
    always_0 = learner._replace(
        predict=lambda state, x, task, key: jnp.eye(1, 10).repeat(len(x), 0)
    )
    expected, zeros = [], []
    for task in range(3):
        x = jnp.asarray(pixels[30:].reshape(23, -1)[:, stream.transform[task]] / 255, jnp.float32)
        own = np.where(mask[task], model.apply(state.params, x), -np.inf)
        labels = np.asarray(stream.test.label[task])
        expected.append(np.mean(own.argmax(axis=1) == labels))
        zeros.append(np.mean(labels == 0))
    for eval_batch in (1, 7, 23, 1000):
        run = make_run(benchmark, lambda hyper: learner, eval_batch=eval_batch)
        evaluate = functools.partial(jax.jit(run.evaluate), seed, stream, state, images)
        np.testing.assert_allclose(evaluate(0, 3), expected, rtol=1e-6)
        np.testing.assert_allclose(evaluate(1, 2), [np.nan, expected[1], np.nan], rtol=1e-6)
        assert np.all(np.isnan(evaluate(2, 2)))
    evaluate = jax.jit(make_run(benchmark, lambda hyper: always_0, eval_batch=7).evaluate)
    np.testing.assert_allclose(evaluate(seed, stream, state, images, 0, 3), zeros, rtol=1e-6)
