"""A loss of one's own: who learns under it, and who says that it does not fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import lines, squares
from helpers import assert_close, assert_same_bits

from lamaml_jax import LEARNERS, Batch, Model, agem, hyper, networks, online, streams, train
from lamaml_jax.types import Params

pytestmark = pytest.mark.usefixtures("quick_compile")


CLASSIFIERS = {"icarl", "ucb", "ewc"}


ALONE = {"hat"}  # needs heads of its own


GENTLE = {
    **dict.fromkeys(("lr", "lr_init", "inner_lr", "outer_lr", "std_init"), 0.02),
    **{"lr_lr": 0.01, "mean_eta": 0.1, "within_batch_lr": 0.1},
    **{
        "glances": 1,
        "inner_steps": 1,
        "examples_per_step": 1,
        "threshold": 0.3,
        "mc_samples": 2,
        "batches_per_example": 1,
    },
}


def picky(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Return `squares`, but NaN for targets of zero, of which there are none but in padding and empty memories."""
    return squares(outputs * (y / y)[:, None], y)


def picky_network(hidden: tuple[int, ...], num_outputs: int = 1) -> Model:
    """Return a network that is NaN for inputs of zero, like one that divides them by their norm."""
    model = networks.mlp(num_outputs, hidden)

    def apply(params: Params, x: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(x, axis=1, keepdims=True)
        return model.apply(params, x * (norm / norm))

    return model._replace(apply=apply)


REGRESSORS = [n for n in LEARNERS if n not in CLASSIFIERS | ALONE]


def gently(name: str) -> dict[str, Any]:
    return {n: v for n, v in GENTLE.items() if n in hyper.names(LEARNERS[name])}


@pytest.mark.parametrize("name", REGRESSORS)
def test_learners_regress(name: str) -> None:
    # By whose rates a plane alone is fitted too fast, or too slowly.
    hidden = (16,) if name.endswith("bgd") else ()
    # A first task shorter than a batch leaves pieces without an example, and slots that stay empty.
    stream = lines((7, 200, 295, 250))
    result = train(LEARNERS[name], picky_network(hidden), stream, loss=picky, **gently(name))
    losses = result.eval_loss[0]
    assert losses.shape == (5, 4) and not result.diverged.any()
    assert losses[-1].mean() < 0.9 * losses[0].mean()
    x = stream.images[:7]
    assert result.predict(x).shape == (1, 7, 1)
    with pytest.raises(ValueError, match="see `eval_loss`"):
        _ = result.accuracy


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_classifiers_learn_though_a_network_is_not_finite_at_zeros(name: str) -> None:
    rng = np.random.default_rng(0)
    tasks = []
    for size in (7, 12, 30):
        y = np.arange(size) % 2
        tasks.append((rng.normal(size=(size, 3)) + 4 * y[:, None], y))
    stream = streams.from_arrays(tasks, tasks, heads="per_task", batch_size=10)
    keywords = gently(name) | ({"memory": 200} if name == "icarl" else {})
    result = train(LEARNERS[name], picky_network((8,), 6), stream, **keywords)
    assert not result.diverged.any()
    for leaf in jax.tree.leaves(result.state):
        assert np.isfinite(leaf).all()
    assert result.accuracy[0, -1].mean() > 0.7


def test_a_mean_reference_takes_no_empty_slot() -> None:
    keywords = gently("agem") | {"reference": "mean"}
    cases = [(picky_network(()), picky), (networks.mlp(1, ()), squares)]
    # A reference that is NaN would not stop a step, but leave its gradient as it is.
    one, other = (train(agem, m, lines((7, 12)), loss=f, **keywords).state for m, f in cases)
    assert_close(one.params, other.params, 1e-6)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_batch_of_padding_changes_nothing(name: str) -> None:
    setting = lines().setting._replace(loss=picky)
    learner = LEARNERS[name](picky_network((4,)), setting, **gently(name))
    size, key = setting.batch_size, jax.random.key(0)
    x, task = jnp.zeros((size, 3)), jnp.zeros(size, jnp.int32)
    batch = Batch(x, x[:, 0], task, jnp.zeros(size, bool), jnp.asarray(True), jnp.zeros(()))
    state = learner.init(key, batch)
    after, info = jax.jit(learner.update)(key, state, batch)
    assert_same_bits(after, state)
    assert all(np.isfinite(value) for value in info.values())


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_others_say_that_they_classify(name: str) -> None:
    with pytest.raises(ValueError, match=f"loss is given; it must be None for {name}"):
        train(LEARNERS[name], networks.mlp(1, (4,)), lines(), loss=squares)


def test_a_loss_that_raises_is_named() -> None:
    def of_classes(outputs: jax.Array, y: jax.Array) -> jax.Array:
        return outputs[:, y]

    with pytest.raises(ValueError, match=r"loss raises \w+ \(.*\) for outputs \(10, 1\) and y"):
        train(online, networks.mlp(1, ()), lines(), loss=of_classes)
