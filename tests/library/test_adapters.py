"""Networks of other libraries as models: what they compute, that they learn, and what is refused."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import (
    BATCH_SIZE,
    NUM_FEATURES,
    SETTING,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
)

from lamaml_jax import Model, er, la_maml, networks

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
UNITS, CLASSES, VOCABULARY, LENGTH = 8, SETTING.num_classes, 5, 4


class Library(NamedTuple):
    """A dense network of one library, one of tokens, and how the library itself calls them."""

    dense: Any
    tokens: Any
    adapt: Callable[[Any], Model]
    call: Callable[[Any, jax.Array, jax.Array], jax.Array]


def linen() -> Library:
    dense = nn.Sequential([nn.Dense(UNITS), nn.LayerNorm(), nn.relu, nn.Dense(CLASSES)])
    flat = lambda x: x.reshape(len(x), -1)  # noqa: E731
    tokens = nn.Sequential([nn.Embed(VOCABULARY, UNITS), flat, nn.Dense(CLASSES)])
    call = lambda net, key, x: net.apply(net.init(key, x), x)  # noqa: E731
    return Library(dense, tokens, networks.from_flax, call)


class NnxDense(nnx.Module):
    gate_sizes = (UNITS,)

    def __init__(self, units: int, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(
            [nnx.Linear(NUM_FEATURES, units, rngs=rngs), nnx.Linear(units, CLASSES, rngs=rngs)]
        )
        self.dropout = nnx.Dropout(0.5, deterministic=True)

    def features(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.layers[0](x))

    def __call__(self, x: jax.Array, gates: Any = None) -> jax.Array:
        hidden = self.features(x) if gates is None else self.features(x) * gates[0]
        return self.layers[1](self.dropout(hidden))


class NnxTokens(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(VOCABULARY, UNITS, rngs=rngs)
        self.out = nnx.Linear(LENGTH * UNITS, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.embed(x).reshape(len(x), -1))


def flax_nnx() -> Library:
    dense = functools.partial(NnxDense, UNITS)
    call = lambda make, key, x: make(rngs=nnx.Rngs(key))(x)  # noqa: E731
    return Library(dense, NnxTokens, networks.from_nnx, call)


def equinox() -> Library:
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")

    class Gated(eqx.Module):  # type: ignore[misc, name-defined]
        layers: list[Any]
        dropout: Any
        activate: Callable[[jax.Array], jax.Array] = eqx.field(static=True)
        gate_sizes = (UNITS,)

        def features(self, x: jax.Array) -> jax.Array:
            return self.activate(self.layers[0](x))

        def __call__(self, x: jax.Array, gates: Any = None) -> jax.Array:
            hidden = self.features(x) if gates is None else self.features(x) * gates[0]
            return self.layers[1](self.dropout(hidden))

    def dense(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        layers = (
            eqx.nn.Linear(NUM_FEATURES, UNITS, key=first),
            eqx.nn.Linear(UNITS, CLASSES, key=second),
        )
        # What is static need not be the same object in each module.
        return Gated([*layers], eqx.nn.Dropout(0.5, inference=True), lambda x: jax.nn.relu(x))

    def tokens(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        embed = eqx.nn.Lambda(eqx.filter_vmap(eqx.nn.Embedding(VOCABULARY, UNITS, key=first)))
        flat = eqx.nn.Lambda(jnp.ravel)
        return eqx.nn.Sequential([embed, flat, eqx.nn.Linear(LENGTH * UNITS, CLASSES, key=second)])

    call = lambda make, key, x: jax.vmap(make(key))(x)  # noqa: E731
    return Library(dense, tokens, networks.from_equinox, call)


def haiku() -> Library:
    hk = pytest.importorskip("haiku", reason="dm-haiku is not installed")

    def gated(x: jax.Array, gates: Any = None) -> jax.Array:
        hidden = jax.nn.relu(hk.Linear(UNITS)(x))
        return hk.Linear(CLASSES)(hidden if gates is None else hidden * gates[0])

    def of_tokens(x: jax.Array) -> jax.Array:
        return hk.Linear(CLASSES)(hk.Flatten()(hk.Embed(VOCABULARY, UNITS)(x)))

    dense, tokens = hk.transform(gated), hk.without_apply_rng(hk.transform(of_tokens))
    call = lambda net, key, x: (  # noqa: E731
        net.apply(net.init(key, x), None, x) if net is dense else net.apply(net.init(key, x), x)
    )
    return Library(dense, tokens, networks.from_haiku, call)


every_library = pytest.mark.parametrize("make", [linen, flax_nnx, equinox, haiku])


def inputs(kind: str) -> jax.Array:
    if kind == "dense":
        return make_batch(0).x
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(VOCABULARY, size=(BATCH_SIZE, LENGTH)), jnp.int32)


@pytest.mark.parametrize("kind", ["dense", "tokens"])
@every_library
def test_a_model_has_the_logits_of_its_librarys_own_call(make: Any, kind: str) -> None:
    library, x = make(), inputs(kind)
    network = getattr(library, kind)
    model = library.adapt(network)
    params = jax.jit(model.init)(KEY, x)
    logits = jax.jit(model.apply)(params, x)
    assert logits.shape == (BATCH_SIZE, CLASSES)
    assert_close(logits, jax.jit(functools.partial(library.call, network))(KEY, x), 1e-6)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    networks.check_outputs(model, SETTING, x)


@pytest.mark.parametrize(("kind", "factory"), [("dense", er), ("tokens", la_maml)])
@every_library
def test_seeds_start_apart_and_learn_in_one_program(make: Any, kind: str, factory: Any) -> None:
    library, x = make(), inputs(kind)
    model = library.adapt(getattr(library, kind))
    small = {"glances": 1, "memory": 12, "replay_batch": 4}
    rates = {"lr": 0.3} if factory is er else {"lr_init": 0.3, "inner_steps": 2}
    learner = factory(model, SETTING, **small, **rates)
    batch = make_batch(0)._replace(x=x)

    def run(key: jax.Array) -> Any:
        key, now = jax.random.split(key)
        start = learner.init(now, batch)
        step = lambda state, key: learner.update(key, state, batch)  # noqa: E731
        state, info = jax.lax.scan(step, start, jax.random.split(key, 20))
        return start.params, state.params, info["loss"]

    start, end, losses = jax.jit(jax.vmap(run))(jax.random.split(KEY, 2))
    one, other = (jax.tree.map(lambda a, i=i: a[i], start) for i in range(2))
    assert differs(one, other)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.dtype, b.dtype), start, end)
    assert np.all(losses[:, -1] < 0.7 * losses[:, 0])


@pytest.mark.parametrize("make", [flax_nnx, equinox, haiku])
def test_a_network_may_have_gates_and_features(make: Any) -> None:
    library, x = make(), inputs("dense")
    model = library.adapt(library.dense)
    params = model.init(KEY, x)
    gates = [jnp.zeros(UNITS)]
    closed = model.apply(params, x, gates=gates)
    assert_same_bits(closed, jnp.broadcast_to(closed[:1], closed.shape))
    assert differs(closed, model.apply(params, x))
    if make is haiku:
        assert (model.features, model.gate_sizes) == (None, ())
        return
    assert model.features is not None
    assert model.features(params, x).shape == (BATCH_SIZE, UNITS)
    assert model.gate_sizes == (UNITS,)
    assert library.adapt(library.tokens).features is None


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
