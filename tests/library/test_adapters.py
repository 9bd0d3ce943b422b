"""Networks of other libraries as models: what they compute, and that they learn."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    BATCH_SIZE,
    SETTING,
    assert_close,
    assert_same_bits,
    differs,
    make_batch,
)
from libraries import (
    CLASSES,
    KEY,
    UNITS,
    equinox,
    flax_nnx,
    haiku,
    inputs,
    linen,
)

from lamaml_jax import er, la_maml, networks

pytestmark = pytest.mark.usefixtures("quick_compile")

every_library = pytest.mark.parametrize("make", [linen, flax_nnx, equinox, haiku])


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


@pytest.mark.parametrize(
    ("kind", "factory"), [pytest.param("dense", er, marks=pytest.mark.slow), ("tokens", la_maml)]
)
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
