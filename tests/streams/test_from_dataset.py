"""The paper's transforms of images that are neither MNIST's nor CIFAR's in size, colours and classes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs
from split_noise import noise

from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import BENCHMARKS, TRANSFORMS, Benchmark, from_dataset
from lamaml_jax.streams.normalise import normalisation_of

pytestmark = pytest.mark.usefixtures("quick_compile")

SIDE, CHANNELS, NUM_CLASSES = 7, 3, 6
SMALL: dict[str, Any] = {"num_tasks": 3, "samples_per_task": 40}


def pair(*shape: int) -> Any:
    """Return 60 training and 12 test images of noise of a shape, in six classes."""
    rng = np.random.default_rng(0)
    train, test = (rng.integers(1, 256, (n, *shape), np.uint8) for n in (60, 12))
    return (train, np.arange(60) % NUM_CLASSES), (test, np.arange(12) % NUM_CLASSES)


COLOURED = pair(SIDE, SIDE, CHANNELS)
(IMAGES, LABELS), (TEST_IMAGES, TEST_LABELS) = COLOURED


def shown(benchmark: Benchmark, transform: Any, rows: Any = (0, 59, 60)) -> np.ndarray:
    """Return what a task with this transform shows of some images."""
    images = jnp.asarray(benchmark.images)
    return np.asarray(benchmark.inputs.evaluation(images, jnp.asarray(rows), transform))


def draw(benchmark: Benchmark, seed: int = 0) -> Any:
    return jax.tree.map(np.asarray, jax.jit(benchmark.make_stream)(jax.random.key(seed)))


# Rotations and permutations.


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_each_channel_turns_as_a_grey_image_would(interpolation: str) -> None:
    coloured = from_dataset(COLOURED, "rotations", **SMALL, interpolation=interpolation)
    x = shown(coloured, jnp.float32(33.0)).reshape(3, SIDE, SIDE, CHANNELS)
    for channel in range(CHANNELS):
        grey = (IMAGES[..., channel], LABELS), (TEST_IMAGES[..., channel], TEST_LABELS)
        alone = from_dataset(grey, "rotations", **SMALL, interpolation=interpolation)
        expected = shown(alone, jnp.float32(33.0)).reshape(3, SIDE, SIDE)
        np.testing.assert_allclose(x[..., channel], expected, atol=1e-6)
    assert differs(x[..., 0], x[..., 1])


def test_a_quarter_turn_of_colours_is_counter_clockwise() -> None:
    x = shown(from_dataset(COLOURED, "rotations", **SMALL), jnp.float32(90.0), [0, 1])
    expected = np.rot90(IMAGES[:2] / 255, axes=(1, 2))
    np.testing.assert_allclose(x.reshape(expected.shape), expected, atol=1e-4)


def test_a_permutation_is_of_all_values_of_an_image() -> None:
    benchmark = from_dataset(pair(4, 6, CHANNELS), "permutations", **SMALL)  # none must be square
    permutations = draw(benchmark).transform
    np.testing.assert_array_equal(np.sort(permutations), [np.arange(72)] * 3)
    (images, _), _ = pair(4, 6, CHANNELS)
    expected = images[[5]].reshape(1, -1)[:, permutations[1]] / 255
    np.testing.assert_allclose(shown(benchmark, permutations[1], [5]), expected, rtol=1e-6)


@pytest.mark.parametrize("transform", ["rotations", "permutations", "many_permutations"])
def test_the_head_has_as_many_classes_as_the_training_labels(transform: str) -> None:
    shared = from_dataset(COLOURED, transform, **SMALL)
    np.testing.assert_array_equal(shared.setting.class_mask, np.ones((3, 6), bool))
    stream = draw(shared)
    np.testing.assert_array_equal(stream.train.label, LABELS[stream.train.image])
    np.testing.assert_array_equal(stream.test.image, [np.arange(60, 72)] * 3)
    own = from_dataset(COLOURED, transform, **SMALL, heads="per_task")
    np.testing.assert_array_equal(own.setting.class_mask, np.kron(np.eye(3), np.ones(6)) > 0)
    wider = from_dataset(COLOURED, transform, **SMALL, num_classes=8)
    assert wider.setting.num_classes == 8


def test_many_permutations_are_a_hundred_tasks() -> None:
    dataset = (np.tile(IMAGES, (4, 1, 1, 1)), np.tile(LABELS, 4)), COLOURED[1]
    benchmark = from_dataset(dataset, "many_permutations")
    drawn = jax.eval_shape(benchmark.make_stream, jax.random.key(0))
    assert drawn.train.image.shape == (100, 200)


def test_mnists_own_benchmarks_keep_ten_classes_where_a_digit_lacks() -> None:
    for name in ("mnist_rotations", "mnist_permutations", "mnist_many_permutations"):
        assert from_dataset(COLOURED, name, **SMALL).setting.num_classes == 10


# Split.


def test_three_classes_per_task_are_split_and_normalised() -> None:
    benchmark = from_dataset(COLOURED, "split", classes_per_task=3, batch_size=5)
    np.testing.assert_array_equal(benchmark.setting.class_mask, np.kron(np.eye(2), np.ones(3)) > 0)
    stream = draw(benchmark)
    both = np.concatenate([LABELS, TEST_LABELS])
    for task in range(2):
        for part, per_class in ((stream.train, 9), (stream.test, 2)):
            counts = np.bincount(part.label[task], minlength=6)[3 * task : 3 * task + 3]
            np.testing.assert_array_equal(counts, [per_class] * 3)
        classes = [set(both[part.image[task]]) for part in (stream.train, stream.test)]
        assert classes[0] == classes[1]
        assert len(classes[0]) == 3
    x = shown(benchmark, (), np.arange(60))
    assert x.shape == IMAGES.shape
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["split", "split_cifar100", "split_tiny_imagenet"])
def test_augmentation_can_be_switched_off(name: str) -> None:
    rows = jnp.arange(20)

    def trained_on(**settings: Any) -> Any:
        benchmark = from_dataset(COLOURED, name, classes_per_task=2, **settings)
        images = jnp.asarray(benchmark.images)
        return benchmark.inputs.training(jax.random.key(0), images, rows, ())

    plain = shown(from_dataset(COLOURED, name, classes_per_task=2), (), rows)
    assert_same_bits(trained_on(augmentation=False), plain)
    assert not np.any(np.all(np.isclose(trained_on(), plain), axis=(1, 2, 3)))


def test_grey_images_are_split_into_inputs_with_a_channel() -> None:
    benchmark = from_dataset(pair(5, 8), "split", classes_per_task=2)
    assert shown(benchmark, ()).shape == (3, 5, 8, 1)


def test_the_normalisation_is_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 200, (2_500, 2, 3, 2), np.uint8)
    images[..., 1] //= 3
    mean, std = normalisation_of(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-10)


@pytest.mark.parametrize("value", [0, 77])  # whose variance is no exact zero in floating point
def test_a_channel_without_contrast_is_centred_only(value: int) -> None:
    images = np.full((30, 4, 4, 1), value, np.uint8)
    mean, std = normalisation_of(images)
    assert mean == pytest.approx([value / 255])
    assert std == [1]


# Names and forms.


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_papers_benchmarks_are_what_their_factories_return(name: str) -> None:
    settings = {"classes_per_task": 4} if name.startswith("split") else SMALL
    dataset = noise() if name.startswith("split") else _as_dataset(COLOURED)
    ours, theirs = from_dataset(dataset, name, **settings), BENCHMARKS[name](dataset, **settings)
    assert_same_bits(draw(ours), draw(theirs))
    assert_same_bits(ours.images, theirs.images)
    transform = jax.tree.map(lambda a: a[0], draw(ours).transform)
    assert_same_bits(shown(ours, transform, [3]), shown(theirs, transform, [3]))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_arrays_are_taken_as_a_dataset_is(name: str) -> None:
    settings = {"classes_per_task": 2} if name == "split" else SMALL
    arrays = from_dataset(COLOURED, name, **settings)
    dataset = from_dataset(_as_dataset(COLOURED), name, **settings)
    assert_same_bits(draw(arrays), draw(dataset))
    assert_same_bits(arrays.images, dataset.images)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_papers_benchmarks_take_arrays_and_say_what_is_wrong_with_them(name: str) -> None:
    settings = {"classes_per_task": 2} if name.startswith("split") else SMALL
    factory = BENCHMARKS[name]
    arrays, dataset = factory(COLOURED, **settings), factory(_as_dataset(COLOURED), **settings)
    assert_same_bits(arrays.images, dataset.images)
    with pytest.raises(ValueError, match="^dataset is a tuple; it must be an ImageDataset, or a"):
        factory((IMAGES, LABELS), **settings)


def test_a_datasets_superclasses_are_kept() -> None:
    benchmark = from_dataset(noise(), "split", class_order="superclass")
    assert benchmark.setting.num_tasks == 4


def _as_dataset(arrays: Any) -> ImageDataset:
    (x, y), (test_x, test_y) = arrays
    return ImageDataset("noise", x, y.astype(np.int32), test_x, test_y.astype(np.int32), "made up")


def _with(**changed: Any) -> Any:
    """Return the coloured images with some of the four arrays replaced."""
    parts = dict(zip(("x", "y", "test_x", "test_y"), (*COLOURED[0], *COLOURED[1]), strict=True))
    x, y, test_x, test_y = (parts | changed).values()
    return (x, y), (test_x, test_y)


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (_with(x=IMAGES / 255), r"train_images is float64 of shape \(60, 7, 7, 3\); .* uint8 .*"),
        (_with(x=IMAGES.astype(int)), "train_images is int64 .* uint8 .*"),
        (
            _with(test_x=TEST_IMAGES.reshape(12, -1)),
            r"test_images .*\(12, 147\); .* \[N, H, W\] .*",
        ),
        (_with(test_x=TEST_IMAGES[:0], test_y=TEST_LABELS[:0]), "test_images .* not empty."),
        (
            _with(test_x=TEST_IMAGES[:, 1:]),
            r"test_images .* \(6, 7, 3\); .* \(7, 7, 3\), .* train_images.",
        ),
        (_with(test_x=TEST_IMAGES[..., 0]), r"test_images .* \(7, 7, 1\); .* \(7, 7, 3\), .*"),
        (_with(y=LABELS / 1), r"train_labels is float64 .* integers of shape \(60,\), .*"),
        (_with(y=LABELS > 2), "train_labels is bool .* integers .*"),
        (
            _with(y=LABELS[:-1]),
            r"train_labels is int64 of shape \(59,\); .* \(60,\), one per image.",
        ),
        (_with(y=np.eye(6, dtype=int)[LABELS]), r"train_labels .* \(60, 6\); .* \(60,\), .*"),
        (_with(test_y=TEST_LABELS - 1), "test_labels has labels from -1 to 4; .* from 0."),
        (_with(y=LABELS + 2**31), "train_labels has labels from 2147483648 .*"),
        (
            _with(test_y=TEST_LABELS + 1),
            "dataset has labels from 0 to 6; .* 0 to 5, as the train.*",
        ),
        ((IMAGES, LABELS), "dataset is a tuple; it must be an ImageDataset, or a pair of pairs .*"),
        (None, "dataset is a NoneType; .*"),
        (_with(x=[[[1]], [[1, 2]]]), "train_images has rows of unequal length; .* one array."),
        (_as_dataset(_with(x=IMAGES[0])), "train_labels .* one per image."),
        (pair(7, 5, 3), "dataset has images of 7x5 pixels; they must be square to be turned."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_images_get_one_sentence(dataset: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        from_dataset(dataset, "rotations", **SMALL)


@pytest.mark.parametrize(
    ("benchmark", "settings", "sentence"),
    [
        ("rotation", {}, r"'rotation' is not a benchmark; did you mean rotations.*\?"),
        ("splitted", {}, r"'splitted' is not a benchmark; did you mean split.*\?"),
        ("xyz", {}, "'xyz' is not a benchmark; there are rotations, .* split_tiny_imagenet."),
        (None, {}, "'None' is not a benchmark; .*"),
        (["split"], {}, r".*\['split'\].* is not a benchmark; .*"),
        ("rotations", {"num_task": 2}, "'num_task' is not a setting .* did you mean num_tasks .*"),
        ("split", {"heads": "shared"}, "'heads' is not a setting of split; .*"),
        ("mnist_rotations", {"num_classes": 9}, "'num_classes' is not a setting .*"),
        (
            "rotations",
            SMALL | {"num_classes": 5},
            "dataset has labels from 0 to 5; .* takes 0 to 4.",
        ),
        (
            "permutations",
            SMALL | {"num_classes": 0},
            "num_classes is 0; it must be an integer >= 1.",
        ),
        ("rotations", {}, r"samples_per_task is 1000; it must be an integer in \[1, 60\]."),
        ("split", {"classes_per_task": 4}, "classes_per_task is 4; it must divide .* 6."),
        ("split", {"augmentation": "no"}, "augmentation is 'no'; it must be one of True, False."),
    ],
)
def test_a_bad_name_or_setting_gets_one_sentence(
    benchmark: Any, settings: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        from_dataset(COLOURED, benchmark, **settings)
