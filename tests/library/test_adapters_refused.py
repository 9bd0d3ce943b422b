"""What is no pure function of its parameters, or no network of its inputs, is refused in one sentence."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from helpers import (
    BATCH_SIZE,
    NUM_FEATURES,
    SETTING,
)
from libraries import (
    CLASSES,
    KEY,
    equinox,
    flax_nnx,
    inputs,
)

from lamaml_jax import Model, networks

pytestmark = pytest.mark.usefixtures("quick_compile")


def linen_refusals() -> dict[str, Any]:
    class Counter(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            self.param("steps", lambda key: jnp.int32(0))
            return nn.Dense(CLASSES)(x)

    def of(*layers: Any) -> Callable[[], Model]:
        return lambda: networks.from_flax(nn.Sequential([nn.Dense(CLASSES), *layers]))

    return {
        "layers_1/mean is in the collection 'batch_stats'": of(nn.BatchNorm(False)),
        "layers_1 draws with a key at every call": of(nn.Dropout(0.5, deterministic=False)),
        "steps is of dtype int32": lambda: networks.from_flax(Counter()),
        "the network has no parameters": lambda: networks.from_flax(nn.Sequential([nn.relu])),
    }


def nnx_refusals() -> dict[str, Any]:
    class Net(nnx.Module):
        def __init__(self, more: Any, *, rngs: nnx.Rngs) -> None:
            self.dense, self.more = nnx.Linear(NUM_FEATURES, CLASSES, rngs=rngs), more(rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.more(self.dense(x))

    def of(more: Any) -> Callable[[], Model]:
        return lambda: networks.from_nnx(functools.partial(Net, more))

    return {
        "more/mean is a BatchStat": of(lambda rngs: nnx.BatchNorm(CLASSES, rngs=rngs)),
        "more/rngs/count is a RngCount": of(lambda rngs: nnx.Dropout(0.5, rngs=rngs)),
        "the network draws with a key": of(lambda rngs: nnx.Dropout(0.5)),
    }


def equinox_refusals() -> dict[str, Any]:
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")

    def with_layer(more: Any) -> Callable[[jax.Array], Any]:
        dense = lambda key: eqx.nn.Linear(NUM_FEATURES, CLASSES, key=key)  # noqa: E731
        return lambda key: eqx.nn.Sequential([dense(key), more()])

    def of(make: Any) -> Callable[[], Model]:
        return lambda: networks.from_equinox(make)

    norm = with_layer(lambda: eqx.nn.BatchNorm(CLASSES, axis_name="batch", mode="batch"))
    counting = with_layer(
        lambda: eqx.nn.Lambda(jax.tree_util.Partial(jnp.add, jnp.arange(CLASSES)))
    )
    return {
        "layers/1/[a-z_]+ is a state": of(norm),
        "make returns a tuple": of(eqx.nn.make_with_state(norm)),
        "the network draws with a key": of(with_layer(lambda: eqx.nn.Dropout(0.5))),
        "layers/1/.* is of dtype int32": of(counting),
    }


def haiku_refusals() -> dict[str, Any]:
    hk = pytest.importorskip("haiku", reason="dm-haiku is not installed")

    def of(more: Any, transform: Any = hk.transform) -> Callable[[], Model]:
        return lambda: networks.from_haiku(transform(lambda x: more(hk.Linear(CLASSES)(x))))

    norm = lambda x: hk.BatchNorm(True, True, 0.9)(x, is_training=True)  # noqa: E731
    return {
        "transformed is a TransformedWithState": of(norm, hk.transform_with_state),
        "the network keeps a state": of(norm),
        "the network draws with a key": of(lambda x: hk.dropout(hk.next_rng_key(), 0.5, x)),
    }


@pytest.mark.parametrize(
    "refusals", [linen_refusals, nnx_refusals, equinox_refusals, haiku_refusals]
)
def test_what_is_not_a_function_of_its_parameters_is_refused(refusals: Any) -> None:
    x = inputs("dense")
    for words, make in refusals().items():  # JAX may add lines of its own below the sentence
        with pytest.raises(ValueError, match=rf"^{words}.*; (it|a model) must .*\.(\n|$)"):
            jax.eval_shape(make().init, KEY, x)


@pytest.mark.parametrize(
    ("make", "example"),
    [
        (flax_nnx, "networks.from_nnx(lambda rngs: NnxDense(..., rngs=rngs))"),
        (equinox, "networks.from_equinox(lambda key: Gated(..., key=key))"),
    ],
)
def test_a_module_itself_is_refused_with_an_example(make: Any, example: str) -> None:
    library = make()
    made = library.dense(rngs=nnx.Rngs(0)) if make is flax_nnx else library.dense(KEY)
    with pytest.raises(ValueError, match="itself; pass a function that makes it") as refused:
        library.adapt(made)
    assert str(refused.value).endswith(f" {example}.")


def test_a_function_that_equinox_has_wrapped_makes_a_model() -> None:
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")
    make = lambda key: eqx.nn.Linear(NUM_FEATURES, CLASSES, key=key)  # noqa: E731
    x = inputs("dense")
    for wrapped in (eqx.filter_jit(make), eqx.Partial(make)):
        model = networks.from_equinox(wrapped)
        assert model.apply(model.init(KEY, x), x).shape == (BATCH_SIZE, CLASSES)


def test_an_error_of_the_users_own_stays_what_it_is() -> None:
    def broken(x: jax.Array) -> jax.Array:
        raise ValueError("mine")

    hk = pytest.importorskip("haiku", reason="dm-haiku is not installed")
    with pytest.raises(ValueError, match="^mine$"):
        networks.from_haiku(hk.transform(broken)).init(KEY, inputs("dense"))


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda params, x: x[:, :5], "the model has 5 outputs; it must have 6, the number of "),
        (lambda params, x: x[0, :6], r"returns an array of shape \(6,\); .* of shape \(10, 6\)"),
        (lambda params, x: (x, x), "the model returns tuple; it must return logits of shape"),
        (
            lambda params, x: x @ jnp.ones((3, 3)),
            r"the model raises TypeError on inputs of float32 and shape \(10, .*\); it must be a ",
        ),
    ],
)
def test_a_model_must_have_an_output_per_class(apply: Any, message: str) -> None:
    x = jax.ShapeDtypeStruct((BATCH_SIZE, NUM_FEATURES), jnp.float32)
    with pytest.raises(ValueError, match=message):
        networks.check_outputs(Model(lambda key, x: {"w": jnp.ones(3)}, apply), SETTING, x)
