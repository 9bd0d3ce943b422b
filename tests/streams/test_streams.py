"""Streams of MNIST tasks: which images, which transforms, which labels."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs
from scipy import ndimage

from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import (
    BENCHMARKS,
    Benchmark,
    mnist_many_permutations,
    mnist_permutations,
    mnist_rotations,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

SIDE = 9
SMALL: dict[str, Any] = {"num_tasks": 4, "samples_per_task": 30}
every_benchmark = pytest.mark.parametrize("name", ["mnist_rotations", "mnist_permutations"])


@functools.cache
def noise(num_train: int = 100, num_test: int = 20) -> ImageDataset:
    """Return images of noise, each of one label, bright up to their borders."""
    rng = np.random.default_rng(0)
    return ImageDataset(
        name="noise",
        train_images=rng.integers(1, 256, (num_train, SIDE, SIDE, 1), np.uint8),
        train_labels=rng.integers(10, size=num_train).astype(np.int32),
        test_images=rng.integers(1, 256, (num_test, SIDE, SIDE, 1), np.uint8),
        test_labels=rng.integers(10, size=num_test).astype(np.int32),
        source="made up",
    )


def draw(benchmark: Benchmark, *seeds: int) -> list[Any]:
    """Return the streams of some seeds, as numpy arrays."""
    make_stream = jax.jit(benchmark.make_stream)
    return [jax.tree.map(np.asarray, make_stream(jax.random.key(seed))) for seed in seeds]


def turn(degrees: float, interpolation: Any = "bilinear") -> tuple[np.ndarray, np.ndarray]:
    """Return five images of noise in [0, 1], and the same as a task with this angle shows them."""
    benchmark = mnist_rotations(noise(), **SMALL, interpolation=interpolation)
    x = benchmark.inputs.evaluation(
        jnp.asarray(benchmark.images), jnp.arange(5), jnp.float32(degrees)
    )
    assert x.dtype == jnp.float32
    original = noise().train_images[:5, :, :, 0] / np.float32(255)
    return original, np.asarray(x).reshape(original.shape)


def test_angles_lie_in_their_bins_and_vary_by_seed(mnist: ImageDataset) -> None:
    benchmark = mnist_rotations(mnist)
    angles = np.stack([stream.transform for stream in draw(benchmark, *range(8))])
    assert angles.shape == (8, 20)
    low = 9.0 * np.arange(20)
    assert np.all((low <= angles) & (angles <= low + 9))
    within = (angles - low) / 9
    assert len(np.unique(within)) == within.size
    assert within.min() < 0.1
    assert within.max() > 0.9


def test_permutations_are_permutations_and_vary_by_task_and_seed(mnist: ImageDataset) -> None:
    benchmark = mnist_permutations(mnist, **SMALL)
    permutations = np.concatenate([stream.transform for stream in draw(benchmark, 0, 1)])
    assert permutations.shape == (8, 784)
    np.testing.assert_array_equal(np.sort(permutations), np.tile(np.arange(784), (8, 1)))
    assert len({p.tobytes() for p in permutations}) == 8


def test_a_permutation_is_applied_to_every_image_alike() -> None:
    benchmark = mnist_permutations(noise(), **SMALL)
    permutation = jnp.asarray(np.random.default_rng(1).permutation(SIDE**2))
    x = benchmark.inputs.evaluation(jnp.asarray(benchmark.images), jnp.array([3, 0]), permutation)
    pixels = noise().train_images.reshape(100, -1)[[3, 0]] / np.float32(255)
    np.testing.assert_allclose(x, pixels[:, permutation], rtol=1e-6)


@every_benchmark
def test_no_test_image_is_trained_on_and_all_are_evaluated(name: str, mnist: ImageDataset) -> None:
    benchmark = BENCHMARKS[name](mnist, **SMALL)
    (stream,) = draw(benchmark, 0)
    train, test = stream.train.image, stream.test.image
    assert (train.shape, test.shape) == ((4, 30), (4, 2_000))
    assert train.min() >= 0
    assert train.max() < 10_000
    np.testing.assert_array_equal(np.sort(test), np.tile(np.arange(10_000, 12_000), (4, 1)))
    images = benchmark.images.reshape(-1, 28, 28, 1)
    assert_same_bits(images[:10_000], mnist.train_images)
    assert_same_bits(images[10_000:], mnist.test_images)


@every_benchmark
def test_the_images_of_a_task_are_distinct_and_vary_by_task_and_seed(name: str) -> None:
    benchmark = BENCHMARKS[name](noise(), **SMALL)
    drawn = np.concatenate([stream.train.image for stream in draw(benchmark, 0, 1)])
    assert all(len(set(row)) == 30 for row in drawn.tolist())
    assert len({frozenset(row) for row in drawn.tolist()}) == 8
    (everything,) = draw(BENCHMARKS[name](noise(), num_tasks=2, samples_per_task=100), 0)
    np.testing.assert_array_equal(np.sort(everything.train.image), [np.arange(100)] * 2)


@every_benchmark
def test_the_same_seed_draws_the_same_stream(name: str) -> None:
    first, other = draw(BENCHMARKS[name](noise(), **SMALL), 0, 1)
    (second,) = draw(BENCHMARKS[name](noise(), **SMALL), 0)
    assert_same_bits(first, second)
    assert differs(first.transform, other.transform)


@every_benchmark
def test_validation_images_are_a_tenth_and_no_task_trains_on_them(name: str) -> None:
    benchmark = BENCHMARKS[name](noise(), **SMALL, eval_split="validation")
    for stream in draw(benchmark, 0, 1):
        train, validation = stream.train.image, stream.test.image
        assert (train.shape, validation.shape) == ((4, 27), (4, 3))
        assert max(train.max(), validation.max()) < 100  # no test image
        assert not set(train.ravel().tolist()) & set(validation.ravel().tolist())
        for images in (*train.tolist(), *validation.tolist()):
            assert len(set(images)) == len(images)
    assert benchmark.setting.batches_per_epoch == 3
    in_eights = BENCHMARKS[name](noise(), **SMALL, eval_split="validation", batch_size=8)
    assert in_eights.setting.batches_per_epoch == 4


@every_benchmark
def test_labels_are_those_of_the_images(name: str) -> None:
    labels = np.concatenate([noise().train_labels, noise().test_labels])
    for heads, per_task in (("shared", 0), ("per_task", 10)):
        benchmark = BENCHMARKS[name](noise(), **SMALL, heads=heads)
        (stream,) = draw(benchmark, 0)
        for examples in (stream.train, stream.test):
            offset = per_task * np.arange(4)[:, None]
            np.testing.assert_array_equal(examples.label, labels[examples.image] + offset)
            assert examples.label.dtype == jnp.int32


@every_benchmark
def test_each_task_has_its_own_ten_outputs_or_shares_them(name: str) -> None:
    shared = BENCHMARKS[name](noise(), **SMALL).setting
    assert (shared.num_tasks, shared.num_classes) == (4, 10)
    np.testing.assert_array_equal(shared.class_mask, np.ones((4, 10), bool))
    per_task = BENCHMARKS[name](noise(), **SMALL, heads="per_task").setting
    assert (per_task.num_tasks, per_task.num_classes) == (4, 40)
    blocks = np.kron(np.eye(4), np.ones((1, 10))) > 0
    np.testing.assert_array_equal(per_task.class_mask, blocks)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    for interpolation in ("bilinear", "nearest"):
        original, turned = turn(90.0, interpolation)
        np.testing.assert_allclose(turned, np.rot90(original, axes=(1, 2)), atol=1e-4)


def test_a_turn_by_nothing_changes_nothing() -> None:
    for interpolation in ("bilinear", "nearest"):
        original, turned = turn(0.0, interpolation)
        np.testing.assert_allclose(turned, original, rtol=1e-6)


@pytest.mark.parametrize("degrees", [3.7, 45.0, 101.3, 178.9])
@pytest.mark.parametrize(("interpolation", "order"), [("bilinear", 1), ("nearest", 0)])
def test_a_turn_agrees_with_scipys(degrees: float, interpolation: str, order: int) -> None:
    original, turned = turn(degrees, interpolation)
    for image, ours in zip(original, turned, strict=True):
        theirs = ndimage.rotate(image, degrees, reshape=False, order=order, mode="grid-constant")
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "num_tasks", "samples"),
    [
        (mnist_rotations, 20, 1_000),
        (mnist_permutations, 20, 1_000),
        (mnist_many_permutations, 100, 200),
    ],
)
def test_the_defaults_are_the_papers(
    make: Any, num_tasks: int, samples: int, mnist: ImageDataset
) -> None:
    benchmark = make(mnist)
    setting = benchmark.setting
    assert (setting.num_tasks, setting.num_classes, setting.epochs) == (num_tasks, 10, 1)
    assert (setting.batch_size, setting.batches_per_epoch) == (10, samples // 10)
    assert jax.eval_shape(benchmark.make_stream, jax.random.key(0)).train.image.shape == (
        num_tasks,
        samples,
    )


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"num_tasks": 0}, "num_tasks is 0; it must be an integer >= 1."),
        ({"samples_per_task": 0}, r"samples_per_task is 0; it must be an integer in \[1, 100\]."),
        (
            {"samples_per_task": 101},
            r"samples_per_task is 101; it must be an integer in \[1, 100\].",
        ),
        ({"batch_size": 0}, "batch_size is 0; it must be an integer >= 1."),
        ({"batch_size": 31}, "samples_per_task is 30; .* at least the batch size, 31."),
        ({"epochs": 0}, "epochs is 0; it must be an integer >= 1."),
        (
            {"batch_size": 28, "eval_split": "validation"},
            "samples_per_task is 30; .* at least the batch size, 28.",
        ),
        (
            {"samples_per_task": 9, "batch_size": 3, "eval_split": "validation"},
            "samples_per_task is 9; .*validation.* 10.",
        ),
        ({"heads": "both"}, "heads is 'both'; it must be one of 'shared', 'per_task'"),
        ({"eval_split": "train"}, "eval_split is 'train'; .* 'test', 'validation'"),
    ],
)
@every_benchmark
def test_a_bad_setting_gets_one_sentence(name: str, setting: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        BENCHMARKS[name](noise(), **SMALL | setting)


def test_an_unknown_interpolation_gets_one_sentence() -> None:
    unknown: Any = "cubic"
    with pytest.raises(ValueError, match="interpolation is 'cubic'; .* 'bilinear', 'nearest'"):
        mnist_rotations(noise(), **SMALL, interpolation=unknown)


@pytest.mark.parametrize("label", [-1, 10])
@pytest.mark.parametrize("field", ["train_labels", "test_labels"])
def test_a_label_outside_the_head_gets_one_sentence(field: str, label: int) -> None:
    said = {-1: f"^{field} has labels from -1 .*counted from 0", 10: "^noise has .* 10.* 0 to 9"}
    labels = getattr(noise(), field).copy()
    labels[3] = label
    with pytest.raises(ValueError, match=rf"{said[label]}\.$"):
        mnist_rotations(noise()._replace(**{field: labels}), **SMALL)
