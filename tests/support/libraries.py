"""Small networks of other libraries, of dense inputs and of tokens, and how each library itself calls them."""

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
    make_batch,
)

from lamaml_jax import Model, networks

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


def inputs(kind: str) -> jax.Array:
    if kind == "dense":
        return make_batch(0).x
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(VOCABULARY, size=(BATCH_SIZE, LENGTH)), jnp.int32)
