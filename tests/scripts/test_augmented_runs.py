"""What a run shows of TinyImageNet's images: not changed in brightness, they are found again by their pixels."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits
from split_noise import CIFAR, TINY, denormalised, noise, variants

from lamaml_jax import Batch, Learner, er, ewc, iid, networks, replay
from lamaml_jax.loop import Seed, make_run
from lamaml_jax.streams import Benchmark, split_cifar100, split_tiny_imagenet
from lamaml_jax.types import Setting

pytestmark = pytest.mark.usefixtures("quick_compile")


class Diary(NamedTuple):
    """All examples in the order in which they came, and the inputs of every task's end."""

    seen: replay.Memory
    data: jax.Array  # [T, N, ...]


EPOCHS, BATCH, SAMPLES = 3, 20, 45
TOTAL = 2 * EPOCHS * SAMPLES


def diarist(setting: Setting, needs: frozenset[str]) -> Learner:
    """Return a learner that learns nothing and writes down what it is shown."""

    def init(key: chex.PRNGKey, example: Batch) -> Diary:
        data = jnp.zeros((setting.num_tasks, SAMPLES, *example.x.shape[1:]))
        return Diary(replay.init(example, TOTAL), data)

    def update(key: chex.PRNGKey, diary: Diary, batch: Batch) -> tuple[Diary, Any]:
        return diary._replace(seen=replay.add_ring(diary.seen, batch)), {}

    def end_task(key: chex.PRNGKey, diary: Diary, data: Batch | None) -> Diary:
        if data is None:
            return diary
        return diary._replace(data=diary.data.at[data.task[0]].set(data.x))

    def predict(diary: Diary, x: jax.Array, task: jax.Array, key: Any = None) -> jax.Array:
        raise NotImplementedError

    return Learner(init, update, predict, end_task, needs)


@functools.cache
def benchmark() -> Benchmark:
    return split_tiny_imagenet(
        noise(), num_tasks=2, samples_per_task=50, batch_size=BATCH, epochs=EPOCHS
    )


@functools.cache
def program(*needs: str) -> Any:
    """Return `run(seed, tasks) -> (stream, diary)` on two tasks of 45 images, in batches of 20, three times over."""
    run = make_run(benchmark(), lambda hyper: diarist(benchmark().setting, frozenset(needs)))
    draw_stream, train_task = map(jax.jit, (run.draw_stream, run.train_task))
    images = benchmark().images

    def train(number: int, tasks: Any = (0, 1)) -> Any:
        seed = Seed(jax.random.key(number), {})
        stream = draw_stream(seed)
        state = run.init(seed, stream, images)
        for task in tasks:
            state, _ = train_task(seed, stream, state, images, task)
        return jax.tree.map(np.asarray, (stream, state))

    return train


@functools.cache
def known() -> dict[bytes, tuple[int, int]]:
    """Return row and number of each variant of every training image, by its pixels."""
    return {
        variant.tobytes(): (row, number)
        for row, image in enumerate(noise().train_images)
        for number, variant in enumerate(variants(image))
    }


def found(x: np.ndarray) -> np.ndarray:
    """Return the row of each input's image and the number of its variant, `[N, 2]`."""
    pixels = np.rint(255 * denormalised(x, TINY)).astype(np.uint8)
    return np.array([known()[image.tobytes()] for image in pixels])


def by_row(pairs: np.ndarray) -> np.ndarray:
    """Return the variants in the order of their images' rows."""
    return pairs[np.argsort(pairs[:, 0]), 1]


def test_every_epoch_shows_every_image_in_another_variant() -> None:
    stream, diary = program()(0)
    epochs = found(diary.seen.x).reshape(2, EPOCHS, SAMPLES, 2)
    for task, rows in zip(epochs, stream.train.image, strict=True):
        for epoch in task:
            assert sorted(epoch[:, 0]) == sorted(rows)
            assert len(set(epoch[:, 1])) > SAMPLES // 2
            assert not np.array_equal(epoch[:BATCH, 1], epoch[BATCH : 2 * BATCH, 1])
        one, two, three = map(by_row, task)
        for a, b in ((one, two), (two, three), (one, three)):
            assert np.mean(a == b) < 0.1
    orders = {epoch[:BATCH, 1].tobytes() for task in epochs for epoch in task}
    assert len(orders) == 2 * EPOCHS


def test_the_same_seed_shows_the_same_bits_and_another_seed_others() -> None:
    run = program()
    assert_same_bits(run(0), run(0))
    (_, first), (_, other) = run(0), run(1)
    one, two = found(first.seen.x)[:, 1], found(other.seen.x)[:, 1]
    assert np.mean(one == two) < 0.1


def test_a_task_is_shown_alike_whatever_was_trained_before() -> None:
    run = program()
    (_, both), (_, alone) = run(0), run(0, tasks=[1])
    half = TOTAL // 2
    assert_same_bits(both.seen.x[half:], alone.seen.x[:half])


def test_a_tasks_data_at_its_end_are_training_inputs() -> None:
    stream, diary = program("task_data")(0)
    last_epoch = found(diary.seen.x).reshape(2, EPOCHS, SAMPLES, 2)[:, -1]
    for data, rows, shown in zip(diary.data, stream.train.image, last_epoch, strict=True):
        pairs = found(data)
        np.testing.assert_array_equal(pairs[:, 0], rows)
        assert len(set(pairs[:, 1])) > SAMPLES // 2
        assert np.mean(by_row(pairs) == by_row(shown)) < 0.1


def test_a_replay_memory_holds_the_images_as_they_were_shown() -> None:
    setting, images = benchmark().setting, benchmark().images
    run = make_run(benchmark(), lambda hyper: er(networks.mlp(10, (4,)), setting, memory=TOTAL))
    seed = Seed(jax.random.key(0), {})
    stream = jax.jit(run.draw_stream)(seed)
    state = jax.jit(run.init)(seed, stream, images)
    state, _ = jax.jit(run.train_task)(seed, stream, state, images, 0)
    _, diary = program()(0, tasks=[0])
    half = TOTAL // 2
    assert (state.memory.seen, diary.seen.seen) == (half, half)
    kept, shown = found(np.asarray(state.memory.x[:half])), found(diary.seen.x[:half])
    np.testing.assert_array_equal(kept, shown)
    np.testing.assert_array_equal(state.memory.y[:half], diary.seen.y[:half])


def test_a_mixed_stream_shows_every_training_image_once_per_epoch() -> None:
    (needs,) = iid(networks.mlp(10, (4,)), benchmark().setting).needs
    stream, diary = program(needs)(0, tasks=[0])
    labels = dict(zip(stream.train.image.ravel(), stream.train.label.ravel(), strict=True))
    pairs = found(diary.seen.x)
    assert diary.seen.y.tolist() == [labels[row] for row in pairs[:, 0]]
    np.testing.assert_array_equal(diary.seen.task, diary.seen.y // 5)
    assert set(diary.seen.task[:BATCH].tolist()) == {0, 1}
    epochs = pairs.reshape(EPOCHS, 2 * SAMPLES, 2)
    for epoch in epochs:
        assert sorted(epoch[:, 0]) == sorted(labels)
        assert len(set(epoch[:, 1])) > SAMPLES // 2
    one, two, three = map(by_row, epochs)
    assert max(np.mean(one == two), np.mean(two == three), np.mean(one == three)) < 0.1


@pytest.mark.parametrize("eval_split", ["test", "validation"])
def test_evaluation_shows_images_as_they_are(eval_split: Any) -> None:
    plain = split_cifar100(noise(), eval_split=eval_split, num_tasks=2)
    labels = np.concatenate([noise().train_labels, noise().test_labels])
    table = jnp.asarray((plain.images / 255 - CIFAR[0]) / CIFAR[1], jnp.float32)

    def recognise(state: Any, x: jax.Array, task: jax.Array, key: Any = None) -> jax.Array:
        """Score the outputs of an image's class where it is one of the dataset's, unchanged."""
        same = jnp.abs(x[:, None] - table).max(axis=(2, 3, 4)) < 1e-4
        return same.astype(jnp.float32) @ jax.nn.one_hot(state[labels], 10)

    learner = diarist(plain.setting, frozenset())._replace(predict=recognise)
    run = make_run(plain, lambda hyper: learner, eval_batch=7)
    seed = Seed(jax.random.key(0), {})
    stream = jax.jit(run.draw_stream)(seed)
    outputs = jnp.full(20, -1)  # of each class
    for output in range(10):
        rows = stream.train.image[stream.train.label == output]
        outputs = outputs.at[labels[rows[0]]].set(output)
    accuracy = jax.jit(run.evaluate)(seed, stream, outputs, plain.images, 0, 2)
    np.testing.assert_array_equal(accuracy, [1, 1])


@pytest.mark.parametrize("factory", [er, ewc, iid])
def test_no_key_is_used_twice_in_training(factory: Any) -> None:
    plain = split_cifar100(noise(), num_tasks=2)
    run = make_run(plain, lambda hyper: factory(networks.mlp(10, (4,)), plain.setting))
    seed = Seed(jax.random.key(0), {})
    with jax.debug_key_reuse(True):
        stream = jax.eval_shape(run.draw_stream, seed)
        state = jax.eval_shape(run.init, seed, stream, plain.images)
        jax.eval_shape(run.train_task, seed, stream, state, plain.images, 0)
