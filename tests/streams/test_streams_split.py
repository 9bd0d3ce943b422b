"""Split benchmarks as streams: which classes and images make up each task, per seed, and with which labels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, differs
from split_noise import NUM_CLASSES, TEST, TRAIN, noise

from lamaml_jax import parallel
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.streams import (
    Benchmark,
    Examples,
    Stream,
    from_dataset,
    split_cifar100,
    split_tiny_imagenet,
)

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_TRAIN, NUM_IMAGES = NUM_CLASSES * TRAIN, NUM_CLASSES * (TRAIN + TEST)
every_benchmark = pytest.mark.parametrize("make", [split_cifar100, split_tiny_imagenet])
every_split = pytest.mark.parametrize("eval_split", ["test", "validation"])


def without(*rows: int, part: str = "train") -> ImageDataset:
    """Return the dataset without some of its training or test images."""
    fields = {name: getattr(noise(), f"{part}_{name}") for name in ("images", "labels")}
    return noise()._replace(**{f"{part}_{k}": np.delete(v, rows, 0) for k, v in fields.items()})


def draw(benchmark: Benchmark, *seeds: int) -> list[Any]:
    """Return the streams of some seeds, as numpy arrays."""
    make_stream = jax.jit(benchmark.make_stream)
    return [jax.tree.map(np.asarray, make_stream(jax.random.key(seed))) for seed in seeds]


def labels_of(dataset: ImageDataset, examples: Examples) -> np.ndarray:
    """Return the dataset's own labels of the images `[T, N]`."""
    return np.concatenate([dataset.train_labels, dataset.test_labels])[examples.image]


def classes_of(stream: Stream, dataset: ImageDataset) -> list[int]:
    """Return the class behind each output of the network, which is one and the same in training and test."""
    classes = []
    for output in range(stream.train.label.max() + 1):
        parts = [labels_of(dataset, part)[part.label == output] for part in (stream[0], stream[1])]
        assert all(len(part) for part in parts)
        (one,) = set(np.concatenate(parts).tolist())
        classes.append(one)
    return classes


# Classes and labels.


@every_benchmark
@pytest.mark.parametrize("classes_per_task", [1, 2, 5, 10, 20])
def test_each_class_is_an_output_of_one_task(make: Any, classes_per_task: int) -> None:
    benchmark = make(noise(), classes_per_task=classes_per_task)
    assert benchmark.setting.num_tasks == NUM_CLASSES // classes_per_task
    for stream in draw(benchmark, 0, 1):
        assert sorted(classes_of(stream, noise())) == list(range(NUM_CLASSES))


@every_split
def test_labels_are_the_outputs_of_the_tasks_own_head(eval_split: Any) -> None:
    benchmark = split_cifar100(noise(), num_tasks=3, classes_per_task=4, eval_split=eval_split)
    mask = benchmark.setting.class_mask
    np.testing.assert_array_equal(mask, np.kron(np.eye(3), np.ones((1, 4))) > 0)
    assert (benchmark.setting.num_tasks, benchmark.setting.num_classes) == mask.shape
    (stream,) = draw(benchmark, 0)
    for examples in (stream.train, stream.test):
        assert examples.label.dtype == jnp.int32
        for own, labels in zip(mask, examples.label, strict=True):
            assert set(labels.tolist()) == set(np.flatnonzero(own).tolist())


def test_a_task_holds_equally_many_of_each_of_its_classes() -> None:
    (stream,) = draw(split_cifar100(noise()), 0)
    for examples, count in ((stream.train, 18), (stream.test, 5)):
        counts = [np.bincount(task)[5 * i :] for i, task in enumerate(examples.label)]
        np.testing.assert_array_equal(counts, np.full((4, 5), count))


@every_benchmark
def test_the_order_of_classes_and_the_images_vary_by_seed(make: Any) -> None:
    streams = draw(make(noise(), samples_per_task=50), *range(6))
    assert len({tuple(classes_of(stream, noise())) for stream in streams}) == 6
    firsts = [classes_of(stream, noise())[:5] for stream in streams]
    assert len({frozenset(classes) for classes in firsts}) == 6  # not only the order in a task
    assert len({frozenset(stream.train.image.ravel().tolist()) for stream in streams}) == 6


@every_benchmark
def test_the_same_seed_draws_the_same_stream(make: Any) -> None:
    first, other = draw(make(noise()), 0, 1)
    (second,) = draw(make(noise()), 0)
    assert_same_bits(first, second)
    assert differs(first, other)


@pytest.mark.parametrize("class_order", ["random", "superclass"])
@every_split
def test_fewer_tasks_are_the_first_of_all(eval_split: Any, class_order: Any) -> None:
    options: Any = {"class_order": class_order, "eval_split": eval_split, "samples_per_task": 60}
    (everything,) = draw(split_cifar100(noise(), **options), 3)
    for num_tasks in (1, 3):
        (some,) = draw(split_cifar100(noise(), **options, num_tasks=num_tasks), 3)
        assert some.train.image.shape == (num_tasks, 55)
        assert_same_bits(some, jax.tree.map(lambda a: a[:num_tasks], everything))  # noqa: B023


def test_every_task_is_a_superclass_in_an_order_of_the_seed() -> None:
    tasks = []
    for stream in draw(split_cifar100(noise(), class_order="superclass"), *range(12)):
        classes = np.reshape(classes_of(stream, noise()), (4, 5))
        groups = noise().superclasses[classes]
        assert np.all(groups == groups[:, :1])
        assert sorted(groups[:, 0]) == [0, 1, 2, 3]
        within = {group[0]: tuple(own) for group, own in zip(groups, classes, strict=True)}
        tasks.append((tuple(groups[:, 0]), within))
    assert len({order for order, _ in tasks}) > 6
    for group in range(4):  # and each has its classes in a random order
        assert len({within[group] for _, within in tasks}) > 9


# Images.


@every_benchmark
def test_no_test_image_is_trained_on_and_each_is_evaluated_once(make: Any) -> None:
    benchmark = make(noise())
    assert_same_bits(benchmark.images[:NUM_TRAIN], noise().train_images)
    assert_same_bits(benchmark.images[NUM_TRAIN:], noise().test_images)
    for stream in draw(benchmark, 0, 1):
        assert 0 <= stream.train.image.min() <= stream.train.image.max() < NUM_TRAIN
        test = np.sort(stream.test.image, axis=None)
        np.testing.assert_array_equal(test, np.arange(NUM_TRAIN, NUM_IMAGES))


@every_benchmark
def test_a_tenth_of_each_class_is_held_out_whatever_is_evaluated(make: Any) -> None:
    tested = draw(make(noise()), 0, 1)
    validated = draw(make(noise(), eval_split="validation"), 0, 1)
    for test, validation in zip(tested, validated, strict=True):
        assert_same_bits(test.train, validation.train)
        held_out = labels_of(noise(), validation.test)
        np.testing.assert_array_equal(np.bincount(held_out.ravel()), [2] * NUM_CLASSES)
        both = np.concatenate([validation.train.image, validation.test.image], axis=1)
        np.testing.assert_array_equal(np.sort(both, axis=None), np.arange(NUM_TRAIN))
    assert differs(*(np.sort(stream.test.image, axis=None) for stream in validated))


@pytest.mark.parametrize(("samples", "held_out"), [(50, 1), (95, 1), (45, 0), (5, 0)])
def test_a_task_takes_as_many_images_as_it_is_told(samples: int, held_out: int) -> None:
    per_class = samples // 5 - held_out
    benchmark = split_cifar100(noise(), samples_per_task=samples, batch_size=4)
    (stream,) = draw(benchmark, 0)
    counts = np.bincount(labels_of(noise(), stream.train).ravel())
    np.testing.assert_array_equal(counts, [per_class] * NUM_CLASSES)
    assert len(set(stream.train.image.ravel().tolist())) == NUM_CLASSES * per_class
    assert benchmark.setting.batches_per_epoch == -(-5 * per_class // 4)
    if held_out:
        (other,) = draw(
            split_cifar100(noise(), samples_per_task=samples, eval_split="validation"), 0
        )
        assert other.test.image.shape == (4, 5 * held_out)
        assert not set(other.test.image.ravel()) & set(stream.train.image.ravel())


def test_unequal_classes_give_as_many_images_as_the_rarest_has() -> None:
    rare_train = np.flatnonzero(noise().train_labels == 3)[:9]
    rare_test = np.flatnonzero(noise().test_labels == 7)[1:4]
    part = without(*rare_test, part="test")
    dataset = without(*rare_train)._replace(
        test_images=part.test_images, test_labels=part.test_labels
    )
    (stream,) = draw(split_cifar100(dataset, eval_split="validation"), 0)
    used = np.concatenate([stream.train.image, stream.test.image], axis=None)
    firsts = [np.flatnonzero(dataset.train_labels == c)[:11] for c in range(NUM_CLASSES)]
    np.testing.assert_array_equal(np.sort(used), np.sort(firsts, axis=None))
    assert stream.test.image.shape == (4, 5)
    (stream,) = draw(split_cifar100(dataset), 0)
    assert sorted(classes_of(stream, dataset)) == list(range(NUM_CLASSES))
    counts = np.bincount(labels_of(dataset, stream.test).ravel())
    np.testing.assert_array_equal(counts, [2] * NUM_CLASSES)


# What is refused, in one sentence.


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"classes_per_task": 3}, "classes_per_task is 3; it must divide .*classes, 20."),
        ({"classes_per_task": 0}, "classes_per_task is 0; it must divide .*classes, 20."),
        ({"num_tasks": 5}, r"num_tasks is 5; .* an integer in \[1, 4\]."),
        ({"num_tasks": 0}, r"num_tasks is 0; .* an integer in \[1, 4\]."),
        ({"samples_per_task": 52}, "samples_per_task is 52; .* multiple of classes_per_task, 5."),
        ({"samples_per_task": 105}, r"samples_per_task is 105; .* in \[5, 100\]."),
        ({"samples_per_task": 0}, r"samples_per_task is 0; .* in \[5, 100\]."),
        (
            {"samples_per_task": 45, "eval_split": "validation"},
            "samples_per_task is 45; .*validation.* at least 50.",
        ),
        (
            {"samples_per_task": 50, "batch_size": 46},
            "samples_per_task is 50; .* at least the batch size, 46.",
        ),
        ({"batch_size": 91}, "samples_per_task is 100; .* at least the batch size, 91."),
        ({"batch_size": 0}, "batch_size is 0; it must be an integer >= 1."),
        ({"epochs": 0}, "epochs is 0; it must be an integer >= 1."),
        ({"eval_split": "train"}, "eval_split is 'train'; .* 'test', 'validation'."),
    ],
)
@every_benchmark
def test_a_bad_setting_gets_one_sentence(make: Any, setting: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{sentence}$"):
        make(noise(), **setting)


def test_the_last_setting_before_a_bad_one_is_taken() -> None:
    split_cifar100(noise(), samples_per_task=50, eval_split="validation")
    split_cifar100(noise(), samples_per_task=50, batch_size=45)
    split_cifar100(noise(), samples_per_task=100, batch_size=90, num_tasks=4)


@pytest.mark.parametrize(
    ("groups", "classes_per_task", "sentence"),
    [
        (
            None,
            5,
            "class_order is 'superclass'; it must be 'random', as noise has no superclasses.",
        ),
        (np.arange(20) // 5, 4, "classes_per_task is 4; .* of that size, .* superclasses of 5."),
        (np.arange(20) // 6, 5, "classes_per_task is 5; .* of that size, .* superclasses of 2, 6."),
        (np.arange(25) // 5, 5, "classes_per_task is 5; .* 20 classes .* noise has 25 .*"),
    ],
)
def test_superclasses_of_another_size_get_one_sentence(
    groups: Any, classes_per_task: int, sentence: str
) -> None:
    dataset = noise()._replace(superclasses=groups)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        split_cifar100(dataset, classes_per_task=classes_per_task, class_order="superclass")


def test_an_unknown_class_order_gets_one_sentence() -> None:
    unknown: Any = "alphabetical"
    with pytest.raises(ValueError, match="^class_order is 'alph.*'; .* 'random', 'superclass'.$"):
        split_cifar100(noise(), class_order=unknown)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("label", [0, 4, 19])
def test_a_class_without_images_gets_one_sentence(part: str, label: int) -> None:
    rows = np.flatnonzero(getattr(noise(), f"{part}_labels") == label)
    with pytest.raises(ValueError, match="^noise has classes without .*; every class must have .*"):
        split_cifar100(without(*rows, part=part), classes_per_task=1)


@every_benchmark
def test_all_cpu_devices_use_the_same_memory_for_the_images(make: Any) -> None:
    images = make(noise()).images
    placed = parallel.replicate(images, parallel.run_mesh())
    assert len(placed.addressable_shards) == jax.device_count()
    for shard in placed.addressable_shards:
        assert shard.data.unsafe_buffer_pointer() == images.ctypes.data


@every_benchmark
def test_grey_images_are_not_taken_for_coloured_ones(make: Any) -> None:
    grey = noise()._replace(
        train_images=noise().train_images[..., :1], test_images=noise().test_images[..., :1]
    )
    with pytest.raises(
        ValueError, match=r"^dataset has images of shape \(.*, 1\); they must have 3 channels"
    ):
        make(grey)
    assert from_dataset(grey, "split").images.shape[-1] == 1
