"""A trained learner leaves the house, and comes back."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, lines, plain, squares, trained
from helpers import assert_same_bits

from lamaml_jax import (
    Learner,
    Model,
    Result,
    er,
    iid,
    la_er,
    load,
    networks,
    online,
    replay,
    streams,
    train,
)
from lamaml_jax.training import description, plan, saving

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_a_saved_result_comes_back_and_predicts_the_same_bits(tmp_path: pathlib.Path) -> None:
    result = trained()
    result.save(tmp_path / "a" / "b")
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {
        *("learner.json", "learner.npz", "results.npz")
    }
    found = load(tmp_path / "a" / "b")
    assert_same_bits(found.record, result.record)
    assert_same_bits(found.state, result.state)
    assert jax.tree.structure(found.state) == jax.tree.structure(result.state)
    x = blobs().images[:9]
    np.testing.assert_array_equal(found.predict(x, 1), result.predict(x, 1))
    assert found.table() == result.table()
    with pytest.raises(ValueError, match="stream is not given"):
        found.evaluate()
    again = load(tmp_path / "a" / "b", stream=blobs())
    np.testing.assert_array_equal(again.evaluate(), result.accuracy[:, -1])


def test_what_is_saved_is_loaded_beside_checkpoints(tmp_path: pathlib.Path) -> None:
    result = train(online, NETWORK, blobs(), seeds=(7,), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="holds checkpoints and no results; the same call"):
        load(tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in seeds"):
        plain().save(tmp_path)
    result.save(tmp_path)
    assert_same_bits(load(tmp_path).state, result.state)
    evaluation = {"eval": "all", "eval_batch": 1000}
    saving.claim(tmp_path, result.plan, evaluation)  # the same call may still go on


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"floats": {"lr": 0.7}}, "lr"),
        ({"points": ({"lr": 0.1}, {"lr": 0.2})}, "lr"),
        ({"floats": {"lr": 0.7}, "seeds": (8, 9)}, "seeds, lr"),
    ],
)
def test_settings_that_differ_are_named_as_they_are_given(
    other: dict[str, Any], what: str, tmp_path: pathlib.Path
) -> None:
    runs = plan(online, NETWORK, blobs(), seeds=(0, 1), settings={"lr": 0.1}).runs
    planned = plain().plan._replace(runs=runs)
    saving.claim(tmp_path, planned, {})
    result = dataclasses.replace(plain(), plan=planned._replace(runs=runs._replace(**other)))
    with pytest.raises(ValueError, match=f"whose runs differ in {what}; it must be a new folder"):
        result.save(tmp_path)


def test_nothing_is_written_of_what_json_cannot_hold(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = description.describe(plain().plan)
    monkeypatch.setattr(description, "describe", lambda plan: described | {"seeds": np.float32(1)})
    with pytest.raises(TypeError, match="not JSON serializable"):
        plain().save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_learner_is_loaded_with_a_stream_and_loss_that_fit(tmp_path: pathlib.Path) -> None:
    model = networks.mlp(1, (4,))
    result = train(online, model, lines(), loss=squares, lr=0.01)
    result.save(tmp_path)
    found = load(tmp_path, stream=lines(), loss=squares)
    np.testing.assert_array_equal(found.evaluate(), result.eval_loss[:, -1])
    np.testing.assert_array_equal(result.evaluate(lines()), result.eval_loss[:, -1])
    x, y = np.zeros((4, 3), np.float32), np.zeros(4, np.float32)
    other = streams.from_arrays([(x, y)], [(x, y)])
    with pytest.raises(ValueError, match="stream has other heads than the learner was trained on"):
        load(tmp_path, stream=other, loss=squares)
    with pytest.raises(
        ValueError, match="load it with the learner and the model that were trained"
    ):
        load(tmp_path, model=networks.mlp(1, (5,)), loss=squares)


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


@pytest.mark.parametrize("name", ["learner.json", "learner.npz", "results.npz"])
def test_a_damaged_result_is_named(tmp_path: pathlib.Path, name: str) -> None:
    plain().save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", None):
        (tmp_path / name).unlink()
        if damaged is not None:
            (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            load(tmp_path)
        (tmp_path / name).write_bytes(whole)
    assert json.loads((tmp_path / "learner.json").read_text())["learner"] == "online"


def test_numbers_of_numpy_are_saved_as_pythons(tmp_path: pathlib.Path) -> None:
    model = networks.mlp(np.int64(3), hidden=(np.int32(8),))
    points = [{"lr": np.float32(0.05), "stream_seed": np.int64(3)}]
    result = train(er, model, blobs(), points=points, memory=np.int64(10))
    result.save(tmp_path)
    loaded = Result.load(tmp_path)
    assert loaded.plan.static["memory"] == 10 and loaded.plan.runs.points[0]["stream_seed"] == 3
    assert_same_bits(loaded.state, result.state)


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


def test_kinds_are_checked_where_a_result_is_loaded(tmp_path: pathlib.Path) -> None:
    plain().save(tmp_path)
    with pytest.raises(ValueError, match="stream is a tuple; it must be a Benchmark"):
        load(tmp_path, stream=(blobs(), blobs()))
    with pytest.raises(ValueError, match="model is a Dense; it must be a Model"):
        load(tmp_path, model=flax.linen.Dense(3))


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


def test_the_tasks_of_a_mixed_stream_are_saved(tmp_path: pathlib.Path) -> None:
    x, y = np.eye(6, 5, dtype=np.float32), np.arange(6) % 3
    stream = streams.from_arrays([(x, y), None, (x, y)], [(x, y), (-x, y), (x, y)])
    result = train(iid, NETWORK, stream, lr=0.5)
    result.save(tmp_path)
    assert result.accuracy[0, -1, 0] != result.accuracy[0, -1, 1]
    for given in ({}, {"stream": stream}):
        np.testing.assert_array_equal(
            load(tmp_path, **given).metrics()["ra"], result.metrics()["ra"]
        )


def test_a_stream_that_is_given_changes_nothing_of_what_was_trained(tmp_path: pathlib.Path) -> None:
    x, y = np.eye(6, 5, dtype=np.float32), np.arange(6) % 3
    data = [(x, y), (-x, y)]
    whole = streams.from_arrays(data, data)
    order = np.stack([np.repeat([0, 1], 6), np.tile(np.arange(6), 2)], axis=1)
    parts = streams.from_arrays(data, data, sequence=order, num_stages=4, batch_size=3, epochs=1)
    for name, trained_on, other, steps in (("whole", whole, parts, 10), ("parts", parts, whole, 3)):
        result = train(la_er, NETWORK, trained_on, glances=1, inner_steps=steps)
        result.save(tmp_path / name)
        found = load(tmp_path / name, stream=other)
        assert found.plan.stream.setting.batch_size == trained_on.setting.batch_size
        for metric, values in result.metrics().items():
            np.testing.assert_array_equal(found.metrics()[metric], values, err_msg=metric)
        np.testing.assert_array_equal(found.evaluate(), result.accuracy[:, -1])
        # It is saved again as what was trained, on what it was trained on.
        found.save(tmp_path / "again" / name)
        load(tmp_path / name).save(tmp_path / "again" / name)
        texts = [(at / name / "learner.json").read_text() for at in (tmp_path, tmp_path / "again")]
        assert texts[0] == texts[1]


def test_a_network_of_which_a_part_was_replaced_is_given_again(tmp_path: pathlib.Path) -> None:
    turned = NETWORK._replace(apply=lambda p, x, gates=None: -NETWORK.apply(p, x, gates))
    result = train(online, turned, blobs())
    result.save(tmp_path)
    with pytest.raises(ValueError, match="model is not given"):
        load(tmp_path)
    x = blobs().images[:4]
    np.testing.assert_array_equal(load(tmp_path, model=turned).predict(x), result.predict(x))
