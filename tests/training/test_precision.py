"""Double precision for a whole process, and scores that are no numbers."""

from collections.abc import Iterator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import squares
from helpers import small_keywords

from lamaml_jax import LEARNERS, Learner, networks, online, streams, train
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Hyper, Seed, make_run
from lamaml_jax.streams import mnist_permutations
from lamaml_jax.training import plan
from lamaml_jax.training.recording import note_evaluation
from lamaml_jax.types import Params


def tiny_dataset() -> ImageDataset:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    images[0] = 255  # the image that stands in padding
    labels = np.arange(60, dtype=np.int32) % 10
    return ImageDataset("noise", images[:40], labels[:40], images[40:], labels[40:], "made up")


@pytest.fixture
def doubled() -> Iterator[None]:
    """Compute in double precision as under JAX_ENABLE_X64, in all threads."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_keeps_its_dtypes_in_double_precision(name: str, doubled: None) -> None:
    """Traced alone, which is where a loop refuses to carry what has become wider."""
    benchmark = mnist_permutations(
        tiny_dataset(), num_tasks=2, samples_per_task=20, heads="per_task", batch_size=10, epochs=2
    )
    model = networks.mlp(benchmark.setting.num_classes, hidden=(8,))

    def build(hyper: Hyper) -> Learner:
        return LEARNERS[name](model, benchmark.setting, **small_keywords(name), **hyper)

    run = make_run(benchmark, build)
    images = jnp.asarray(benchmark.images)
    seed = Seed(jax.random.key(0), {})
    stream = jax.eval_shape(run.draw_stream, seed)
    state = jax.eval_shape(run.init, seed, stream, images)
    task = jnp.int32(0)
    after, _ = jax.eval_shape(run.train_task, seed, stream, state, images, task)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    accuracy = jax.eval_shape(run.evaluate, seed, stream, state, images, task, task)
    assert accuracy.shape == (2,)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_keeps_weights_of_less_precision(name: str) -> None:
    """Traced alone, with settings that are traced as in a sweep, and so of single precision."""
    benchmark = mnist_permutations(
        tiny_dataset(), num_tasks=2, samples_per_task=20, heads="per_task", batch_size=10
    )
    model = networks.mlp(benchmark.setting.num_classes, hidden=(8,))

    def init(key: jax.Array, x: jax.Array) -> Params:
        return jax.tree.map(lambda a: a.astype(jnp.bfloat16), model.init(key, x))

    planned = plan(
        LEARNERS[name], model._replace(init=init), benchmark, settings=small_keywords(name)
    )
    run = make_run(benchmark, planned.build)
    images, task = jnp.asarray(benchmark.images), jnp.int32(0)
    seed = jax.tree.map(lambda a: a[0], planned.runs.stacked())
    stream = jax.eval_shape(run.draw_stream, seed)
    state = jax.eval_shape(run.init, seed, stream, images)
    after, _ = jax.eval_shape(run.train_task, seed, stream, state, images, task)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_a_loss_is_summed_in_double_precision(doubled: None) -> None:
    x, y = np.eye(4, 5), np.arange(4.0)
    stream = streams.from_arrays([(x, y)], [(x, y)])
    result = train(online, networks.mlp(1, hidden=()), stream, loss=squares, lr=0.1)
    assert np.isfinite(result.eval_loss).all()


@pytest.mark.parametrize(
    ("score", "diverged"),
    [(0.0, False), (-np.inf, True), (np.inf, True), (np.nan, True), ("lowest", False)],
)
@pytest.mark.parametrize("heads", ["shared", "per_task"])
def test_scores_that_are_no_numbers_are_no_accuracy(
    score: float | str, diverged: bool, heads: str
) -> None:
    """Those of other heads are minus infinity, and iCaRL's of classes not seen the lowest number there is."""
    value = jnp.finfo(jnp.float32).min if score == "lowest" else score
    benchmark = mnist_permutations(
        tiny_dataset(), num_tasks=2, samples_per_task=20, heads=heads, batch_size=10
    )
    mask = jnp.asarray(benchmark.setting.class_mask)

    def predict(state: None, x: jax.Array, task: jax.Array, key: jax.Array) -> jax.Array:
        own = jnp.where(jnp.arange(len(x))[:, None] == 3, value, 1.0)  # of one image alone
        own = jnp.where((x == 1).all(axis=1, keepdims=True), jnp.nan, own)  # and of padding
        return jnp.where(mask[task], own, -jnp.inf)

    learner = Learner(lambda key, example: None, lambda *_: None, predict)  # type: ignore[arg-type]
    run = make_run(benchmark, lambda hyper: learner, eval_batch=8)  # whose last batch is padded
    seed = Seed(jax.random.key(0), {})
    stream = run.draw_stream(seed)
    images = jnp.asarray(benchmark.images)
    accuracy = run.evaluate(seed, stream, None, images, jnp.int32(0), jnp.int32(1))
    assert bool(jnp.isnan(accuracy[0])) is diverged


def test_a_seed_whose_scores_are_no_numbers_has_diverged_from_then_on() -> None:
    stream = mnist_permutations(tiny_dataset(), num_tasks=2, samples_per_task=20)
    planned = plan(online, networks.mlp(10, (4,)), stream, settings={})
    record = {"diverged": np.zeros(3, bool), "accuracy": np.zeros((3, 3, 2))}
    row = np.array([[0.5, np.nan], [0.5, 0.25], [0.125, np.nan]])
    note_evaluation(record, planned, row, 1, 0, 1)  # where only the first task was evaluated
    assert not record["diverged"].any()
    note_evaluation(record, planned, row, 2, 0, 2)
    np.testing.assert_array_equal(record["diverged"], [True, False, True])
    np.testing.assert_array_equal(record["accuracy"][:, 1], row)
    np.testing.assert_array_equal(
        record["accuracy"][:, 2], [[np.nan] * 2, [0.5, 0.25], [np.nan] * 2]
    )
