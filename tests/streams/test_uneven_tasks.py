"""Streams whose tasks are of unequal size: what pads the shorter ones changes nothing, in any learner."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_bits, small_keywords

from lamaml_jax import LEARNERS, networks, online, streams
from lamaml_jax.loop import Seed, make_run
from lamaml_jax.streams import Arrays, from_arrays

pytestmark = pytest.mark.usefixtures("quick_compile")

SIZES, TEST_SIZES = (7, 1000, 33), (50, 9, 40)


def blobs(size: int, of: int) -> Arrays:
    """Return examples of two classes about centres of the task's own."""
    centres = 2 * np.random.default_rng(0).normal(size=(3, 2, 5))[of]
    y = np.arange(size) % 2
    return centres[y] + np.random.default_rng(size).normal(size=(size, 5)), y


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_learns_tasks_of_unequal_size(name: str) -> None:
    """And what stands in the padding, of batches and of evaluation, has no part in it."""
    learnt, tested = ([blobs(n, of) for of, n in enumerate(s)] for s in (SIZES, TEST_SIZES))
    stream = from_arrays(learnt, tested, heads="per_task")
    faster = {"lr": 0.03} if name in ("online", "iid", "ewc") else {}
    keywords = small_keywords(name) | ({"memory": 30} if name == "gem" else faster)
    model, images = networks.mlp(6, (8,)), jnp.asarray(stream.images)
    run = make_run(stream, lambda hyper: LEARNERS[name](model, stream.setting, **keywords))
    seed = Seed(jax.random.key(0), {})
    needs = LEARNERS[name](model, stream.setting, **keywords).needs
    num_stages = 1 if "mixed_stream" in needs else len(SIZES)

    @jax.jit
    def trained(drawn: streams.Stream) -> Any:
        def train_task(task: jax.Array, carry: Any) -> Any:
            state, log = run.train_task(seed, drawn, carry[0], images, task)
            return state, carry[1] & log.finite

        start = run.init(seed, drawn, images), jnp.asarray(True)
        state, finite = jax.lax.fori_loop(0, num_stages, train_task, start)
        return state, finite, run.evaluate(seed, drawn, state, images, 0, len(SIZES))

    drawn = run.draw_stream(seed)
    result = trained(drawn)
    _, finite, accuracy = result
    assert finite and np.isfinite(accuracy).all() and accuracy.mean() > 0.55
    assert_same_bits(trained(_spoilt(stream, drawn)), result)


def _spoilt(stream: streams.Benchmark, drawn: streams.Stream) -> streams.Stream:
    """Return a stream with other examples in its padding."""

    def spoil(part: streams.Examples, sizes: tuple[int, ...]) -> streams.Examples:
        is_padding = jnp.arange(part.image.shape[1]) >= jnp.asarray(sizes)[:, None]
        image = jnp.where(is_padding, len(stream.images) - 1, part.image)
        return part._replace(image=image, label=jnp.where(is_padding, 5, part.label))

    return drawn._replace(train=spoil(drawn.train, SIZES), test=spoil(drawn.test, TEST_SIZES))


def test_a_task_learns_as_if_all_were_of_its_size() -> None:
    """The same examples in the same order give the same weights, whatever other tasks there are."""
    alone = from_arrays([blobs(7, 0)], [blobs(5, 0)])
    beside = from_arrays([blobs(7, 0), blobs(100, 1)], [blobs(5, 0), blobs(5, 1)])
    model = networks.mlp(2, (4,))

    def weights(stream: streams.Benchmark) -> Any:
        run = make_run(stream, lambda hyper: online(model, stream.setting, examples_per_step=10))
        images = jnp.asarray(stream.images)

        @jax.jit
        def trained(seed: Seed) -> Any:
            drawn = run.draw_stream(seed)
            start = run.init(seed, drawn, images)
            return run.train_task(seed, drawn, start, images, jnp.int32(0))[0].params

        return trained(Seed(jax.random.key(0), {}))

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        weights(alone),
        weights(beside),
    )
