"""Augmented training and plain evaluation: what images become, and what learners are shown of them in a run."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs
from split_noise import SIDE, noise

from lamaml_jax import Batch, Learner, er, ewc, iid, networks, replay
from lamaml_jax.loop import Seed, make_run
from lamaml_jax.streams import Benchmark, split_cifar100, split_tiny_imagenet
from lamaml_jax.streams.augment import random_brightness, random_crop, random_flip
from lamaml_jax.types import Setting

pytestmark = pytest.mark.usefixtures("quick_compile")

PADDING, SPREAD = 4, 63 / 255
CIFAR = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
TINY = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def windows(image: np.ndarray) -> list[np.ndarray]:
    """Return the 81 crops of an image with black around it, row by row."""
    around = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    offsets = range(2 * PADDING + 1)
    return [around[i : i + SIDE, j : j + SIDE] for i in offsets for j in offsets]


def variants(image: np.ndarray) -> list[np.ndarray]:
    """Return the crops of an image, each as it is and mirrored."""
    return [variant for crop in windows(image) for variant in (crop, np.fliplr(crop))]


def denormalised(x: Any, constants: Any) -> np.ndarray:
    """Return a network's inputs as images in [0, 1]."""
    mean, std = constants
    return np.asarray(x) * np.array(std) + np.array(mean)


def train_inputs(make: Any, image: int, count: int, key: int = 0) -> jax.Array:
    """Return one image as training shows it `count` times in one batch."""
    benchmark = make(noise())
    rows = jnp.full(count, image)
    return benchmark.inputs.training(jax.random.key(key), jnp.asarray(benchmark.images), rows, ())


# The images.


@pytest.mark.parametrize(
    ("make", "constants"), [(split_cifar100, CIFAR), (split_tiny_imagenet, TINY)]
)
def test_evaluation_inputs_are_normalised_per_channel(make: Any, constants: Any) -> None:
    benchmark = make(noise())
    rows = np.array([3, 0, 499])
    x = benchmark.inputs.evaluation(jnp.asarray(benchmark.images), jnp.asarray(rows), ())
    assert x.dtype == jnp.float32
    for channel, (mean, std) in enumerate(zip(*constants, strict=True)):
        expected = (benchmark.images[rows, :, :, channel] / 255 - mean) / std
        np.testing.assert_allclose(x[..., channel], expected, rtol=1e-4, atol=1e-5)


def test_a_crop_is_a_window_of_the_image_with_black_around_it() -> None:
    image = noise().train_images[0]
    count = 81 * 100
    crops = np.asarray(random_crop(jax.random.key(0), jnp.asarray(image)[None].repeat(count, 0), 4))
    assert crops.dtype == np.uint8
    number = {window.tobytes(): i for i, window in enumerate(windows(image))}
    drawn = np.bincount([number[crop.tobytes()] for crop in crops], minlength=81)
    assert 50 < drawn.min() <= drawn.max() < 150  # all 81, equally often


def test_each_image_is_mirrored_or_not_with_equal_probability() -> None:
    images = jnp.asarray(noise().train_images)
    flipped = np.asarray(random_flip(jax.random.key(0), images))
    mirrored = [np.array_equal(a, np.fliplr(b)) for a, b in zip(flipped, images, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)]
    assert np.all(np.logical_xor(mirrored, same))
    assert 160 < sum(mirrored) < 240  # of 400


def test_brightness_is_a_factor_per_image_and_cut_to_one() -> None:
    grey = np.full((1000, 2, 2, 3), 0.5, np.float32)
    out = np.asarray(random_brightness(jax.random.key(0), jnp.asarray(grey), SPREAD))
    factors = out[:, 0, 0, 0] / 0.5
    np.testing.assert_array_equal(
        out, np.broadcast_to(0.5 * factors[:, None, None, None], out.shape)
    )
    assert 1 - SPREAD <= factors.min() < 0.77
    assert 1.23 < factors.max() <= 1 + SPREAD
    np.testing.assert_allclose(np.mean(factors), 1, atol=0.02)
    assert len(np.unique(factors)) > 990
    white = np.asarray(random_brightness(jax.random.key(0), jnp.asarray(2 * grey), SPREAD))
    np.testing.assert_allclose(white[:, 0, 0, 0], np.minimum(factors, 1), rtol=1e-6)


def test_tiny_imagenet_is_cropped_and_mirrored_and_no_more() -> None:
    """Black comes in before the normalisation, and all shifts do occur."""
    x = train_inputs(split_tiny_imagenet, 5, 3000)
    assert x.dtype == jnp.float32
    images = 255 * denormalised(x, TINY)
    np.testing.assert_allclose(images, np.rint(images), atol=1e-3)
    known = {variant.tobytes(): i for i, variant in enumerate(variants(noise().train_images[5]))}
    drawn = {known[image.tobytes()] for image in np.rint(images).astype(np.uint8)}
    assert len(drawn) == 2 * 81


def test_cifar_is_cropped_mirrored_and_changed_in_brightness() -> None:
    """The factor and the cut to [0, 1] come after black came in, and before the normalisation."""
    candidates = np.stack(variants(noise().train_images[5])) / 255
    images = denormalised(train_inputs(split_cifar100, 5, 200), CIFAR)
    factors, found = [], set()
    for image in images:
        inside = (candidates > 0) & (image < 1 - 1e-5)
        ratios = np.divide(image, candidates, where=inside, out=np.full(candidates.shape, np.nan))
        factor = np.nanmedian(ratios, axis=(1, 2, 3), keepdims=True)
        distance = np.abs(np.clip(factor * candidates, 0, 1) - image).max(axis=(1, 2, 3))
        assert distance.min() < 1e-5
        found.add(int(distance.argmin()))
        factors.append(factor[distance.argmin()].item())
    assert 1 - SPREAD - 1e-5 < min(factors) < 0.78
    assert 1.22 < max(factors) < 1 + SPREAD + 1e-5
    assert len(np.unique(np.round(factors, 6))) > 190
    assert len(found) > 90  # of 162, in 200 draws
    assert images.max() > 1 - 1e-5


@pytest.mark.parametrize("make", [split_cifar100, split_tiny_imagenet])
def test_a_key_says_which_change_each_image_of_a_batch_gets(make: Any) -> None:
    first, second, other = (train_inputs(make, 7, 10, key) for key in (0, 0, 1))
    assert_same_bits(first, second)
    assert differs(first, other)
    assert len({x.tobytes() for x in np.asarray(first)}) > 5


# What a run shows of them: TinyImageNet's, which are not changed in brightness and so are found again by their pixels.


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
