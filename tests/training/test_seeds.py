"""Many seeds in one program: each as if it ran alone, and La-MAML learns."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, differs
from runs import Results, compile_runs, run_of, seeds_of

from lamaml_jax import Learner, la_maml, metrics, networks, online
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Hyper, Seed, make_run
from lamaml_jax.streams import Benchmark, mnist_rotations
from lamaml_jax.types import Setting

pytestmark = pytest.mark.usefixtures("quick_compile")  # bits as users get them: test_surroundings

MODEL = networks.mlp(10, hidden=(16,))


def build_la_maml(setting: Setting, hyper: Hyper) -> Learner:
    return la_maml(MODEL, setting, memory=20, inner_steps=2, glances=2, **hyper)


def build_online(setting: Setting, hyper: Hyper) -> Learner:
    return online(MODEL, setting, **hyper)


@pytest.fixture(scope="module")
def small(mnist: ImageDataset) -> Benchmark:
    return mnist_rotations(mnist, num_tasks=2, samples_per_task=45, batch_size=10)


@pytest.fixture(scope="module")
def eight(small: Benchmark) -> Results:
    return compile_runs(small, build_la_maml, 8)(seeds_of(*range(8)))


@pytest.fixture(scope="module")
def three_online(small: Benchmark) -> Callable[..., Results]:
    return compile_runs(small, build_online, 3)


def test_there_are_two_devices_to_spread_runs_over() -> None:
    assert len(jax.devices()) == 2 or jax.default_backend() != "cpu"


def test_a_seed_alone_gives_the_bits_it_gives_among_eight(small: Benchmark, eight: Results) -> None:
    alone = compile_runs(small, build_la_maml, 1)
    for number in (0, 5):
        assert_same_bits(run_of(alone(seeds_of(number)), 0), run_of(eight, number))


def test_seeds_differ_in_images_transforms_weights_and_memory(eight: Results) -> None:
    one, other = run_of(eight, 2), run_of(eight, 3)
    assert differs(one.stream.train.image, other.stream.train.image)
    assert differs(one.stream.transform, other.stream.transform)
    kernels = [run.start.params["Dense_0"]["kernel"] for run in (one, other)]
    assert differs(*kernels)
    assert differs(one.state.params, other.state.params)
    assert differs(one.state.lrs, other.state.lrs)
    assert differs(one.state.memory.x, other.state.memory.x)
    assert len({accuracy.tobytes() for accuracy in eight.accuracy}) == 8


def test_padding_is_not_remembered(eight: Results) -> None:
    assert eight.state.memory.seen.tolist() == [2 * 45] * 8


def test_a_task_is_logged(eight: Results) -> None:
    for log in eight.logs:
        assert set(log.infos) == {"loss", "gradient_norm", "lr_gradient_norm"}
        assert all(values.shape == (8, 5) for values in log.infos.values())
        assert log.finite.all()
    expected = jax.vmap(metrics.rate_summary)(eight.state.lrs)
    assert_close(eight.logs[-1].rates, expected)


@pytest.fixture(scope="module")
def calm(three_online: Callable[..., Results]) -> Results:
    return three_online(seeds_of(0, 1, 2, lr=[0.1, 0.1, 0.1]))


def test_a_seed_that_diverges_is_reported_and_leaves_the_others_whole(
    three_online: Callable[..., Results], calm: Results
) -> None:
    mixed = three_online(seeds_of(0, 1, 2, lr=[0.1, 1e30, 0.1]))
    for log in calm.logs:
        assert log.finite.tolist() == [True, True, True]
        assert log.rates is None
    for log in mixed.logs:
        assert log.finite.tolist() == [True, False, True]
    for number in (0, 2):
        assert_same_bits(run_of(mixed, number), run_of(calm, number))


def test_runs_under_vmap_give_nearly_the_same(small: Benchmark, calm: Results) -> None:
    run = make_run(small, lambda hyper: build_online(small.setting, hyper))
    images = jnp.asarray(small.images)

    @jax.jit
    @jax.vmap
    def train(seed: Seed) -> Any:
        stream = run.draw_stream(seed)

        def learn(state: Any, task: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = run.train_task(seed, stream, state, images, task)
            return state, run.evaluate(seed, stream, state, images, jnp.int32(0), jnp.int32(2))

        state, accuracy = jax.lax.scan(learn, run.init(seed, stream, images), jnp.arange(2))
        return stream, state, accuracy[-1]

    stream, state, accuracy = train(seeds_of(0, 1, 2, lr=[0.1, 0.1, 0.1]))
    assert_close((stream, state), (calm.stream, calm.state), 1e-4)
    assert_close(accuracy, calm.accuracy, 2e-3)  # an image or two


def test_hyper_parameters_are_each_runs_own(three_online: Callable[..., Results]) -> None:
    swept = three_online(seeds_of(4, 4, 4, lr=[0.1, 0.02, 0.1]))
    other = three_online(seeds_of(4, 4, 4, lr=[0.02, 0.5, 0.5]))
    assert_same_bits(run_of(swept, 0), run_of(swept, 2))
    assert_same_bits(run_of(swept, 1), run_of(other, 0))
    assert_same_bits(run_of(swept, 0)[:2], run_of(swept, 1)[:2])  # stream and first weights
    assert differs(run_of(swept, 0).state, run_of(swept, 1).state)


def test_no_key_is_used_twice_in_training(small: Benchmark) -> None:
    run = make_run(small, lambda hyper: build_la_maml(small.setting, hyper))
    seed = Seed(jax.random.key(0), {})
    with jax.debug_key_reuse(True):
        stream = jax.eval_shape(run.draw_stream, seed)
        state = jax.eval_shape(run.init, seed, stream, small.images)
        jax.eval_shape(run.train_task, seed, stream, state, small.images, 0)


def test_la_maml_learns_three_rotations(mnist: ImageDataset) -> None:
    benchmark = mnist_rotations(mnist, num_tasks=3, samples_per_task=300)
    build = functools.partial(la_maml, networks.mlp(10, hidden=(32,)), inner_steps=5)
    results = compile_runs(benchmark, lambda setting, hyper: build(setting), 2)(seeds_of(0, 1))
    assert results.accuracy.shape == (2, 3)
    assert np.all(results.accuracy > 0.5)
