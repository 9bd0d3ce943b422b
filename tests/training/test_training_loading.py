"""What is given to load, and told from what was trained."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, lines, plain, squares
from helpers import assert_same_bits

from lamaml_jax import Learner, Model, er, load, networks, online, products, replay, streams, train
from lamaml_jax.networks.paper import MLP

pytestmark = pytest.mark.usefixtures("quick_compile")


def plain_init(key: jax.Array, x: jax.Array) -> jax.Array:
    return 0.1 * jax.random.normal(key, (x.shape[1], 3))


def own_method(model: Model, setting: Any, *, step: float = 0.1, other: int = 1) -> Learner:
    return online(model, setting, lr=step)


def test_what_a_file_cannot_hold_is_given_again(tmp_path: pathlib.Path) -> None:
    model = Model(plain_init, lambda params, x: x @ params)
    result = train(own_method, model, blobs(), step=0.1)
    result.save(tmp_path)
    with pytest.raises(ValueError, match="learner is not given; a saved own_method does not"):
        load(tmp_path)
    with pytest.raises(ValueError, match="model is not given"):
        load(tmp_path, learner=own_method)
    found = load(tmp_path, learner=own_method, model=model)
    x = blobs().images[:5]
    np.testing.assert_array_equal(found.predict(x), result.predict(x))
    with pytest.raises(ValueError, match="'draw' is not a thing that can be given"):
        load(tmp_path, learner=own_method, model=model, draw=print)


def network(activation: Any) -> Model:
    return Model(plain_init, lambda params, x: activation(x @ params))


def flipping(model: Model, setting: Any, *, step: float = 0.1, other: int = 1) -> Learner:
    """Return another version of `own_method`."""
    learner = online(model, setting, lr=step)
    return learner._replace(predict=lambda *of, key=None: -learner.predict(*of))


def test_what_was_not_trained_is_warned_of_where_it_is_loaded(tmp_path: pathlib.Path) -> None:
    train(own_method, network(jnp.tanh), blobs()).save(tmp_path)
    load(tmp_path, learner=own_method, model=network(jnp.tanh), stream=blobs())
    with pytest.warns(UserWarning, match="^model given to load for .* may be another than was"):
        load(tmp_path, learner=own_method, model=network(jax.nn.relu))
    with pytest.warns(UserWarning, match="^learner given to load for "):
        load(tmp_path, learner=flipping, model=network(jnp.tanh))


def test_another_transform_of_the_same_data_is_warned_of(tmp_path: pathlib.Path) -> None:
    def turned(by: float, shift: float = 0.0) -> streams.Benchmark:
        x, y = np.arange(40, dtype=np.float32).reshape(8, 5) + shift, np.arange(8) % 3
        return streams.from_arrays([(x, y)], [(x, y)], transform=lambda x: by * x)

    train(online, NETWORK, turned(-1)).save(tmp_path)
    load(tmp_path, stream=turned(-1))
    load(tmp_path, stream=turned(-1, shift=1))  # new data, which may be meant
    with pytest.warns(UserWarning, match="^stream given to load for "):
        load(tmp_path, stream=turned(-2))


def test_another_loss_is_warned_of(tmp_path: pathlib.Path) -> None:
    def doubled(outputs: jax.Array, y: jax.Array) -> jax.Array:
        return 2 * squares(outputs, y)

    train(online, networks.mlp(1, (4,)), lines(), loss=squares, lr=0.01).save(tmp_path)
    longer = lines()._replace(setting=lines().setting._replace(epochs=2))
    for stream in ({}, {"stream": lines()}, {"stream": longer}):
        load(tmp_path, loss=squares, **stream)
        with pytest.warns(UserWarning, match="^loss given to load for "):
            load(tmp_path, loss=doubled, **stream)


def test_a_method_of_ones_own_is_given_whatever_its_name(tmp_path: pathlib.Path) -> None:
    @functools.wraps(online)
    def named(*arguments: Any, **keywords: Any) -> Learner:
        return online(*arguments, **keywords)

    result = train(named, NETWORK, blobs())
    result.save(tmp_path / "own")
    with pytest.raises(ValueError, match="learner is not given; a saved online does not hold it"):
        load(tmp_path / "own")
    assert_same_bits(load(tmp_path / "own", learner=named).state, result.state)
    train(functools.partial(er, memory=10), NETWORK, blobs()).save(tmp_path / "bound")
    assert load(tmp_path / "bound").plan.static["memory"] == 10
    drawing = functools.partial(er, draw=functools.partial(replay.draw, size=3))
    train(drawing, NETWORK, blobs()).save(tmp_path / "function")
    with pytest.raises(ValueError, match="learner is not given; a saved er does not hold it"):
        load(tmp_path / "function")


def turned(params: Any, x: jax.Array, gates: Any = None) -> jax.Array:
    return -NETWORK.apply(params, x, gates)


def turned_if_gated(params: Any, x: jax.Array, gates: Any = None) -> jax.Array:
    return NETWORK.apply(params, x) if gates is None else turned(params, x, gates)


@pytest.mark.parametrize(
    "part",
    [
        {"apply": turned},
        {"apply": turned_if_gated},
        {"features": lambda params, x: -NETWORK.features(params, x)},  # type: ignore[misc]
        {"init": lambda key, x: NETWORK.init(jax.random.fold_in(key, 1), x)},
        {"kernels": ()},
    ],
)
def test_a_network_of_which_a_part_was_replaced_is_given_again(
    part: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    model = NETWORK._replace(**part)
    result = dataclasses.replace(plain(), plan=plain().plan._replace(model=model))
    result.save(tmp_path)
    with pytest.raises(ValueError, match="model is not given"):
        load(tmp_path)
    load(tmp_path, model=model)
    with pytest.warns(UserWarning, match="^model given to load for "):
        load(tmp_path, model=NETWORK)


def test_the_packages_networks_are_known_from_another_process(tmp_path: pathlib.Path) -> None:
    module = MLP((8,), 3, dot_general=products.float32)
    copied = networks.from_flax(module)._replace(source=NETWORK.source)
    assert copied.apply is not NETWORK.apply
    result = dataclasses.replace(plain(), plan=plain().plan._replace(model=copied))
    result.save(tmp_path)
    x = blobs().images[:4]
    np.testing.assert_array_equal(load(tmp_path).predict(x), plain().predict(x))
