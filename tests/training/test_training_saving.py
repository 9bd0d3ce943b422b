"""A trained learner leaves the house, and comes back."""

import dataclasses
import json
import pathlib
from typing import Any

import flax.linen
import jax
import numpy as np
import pytest
from blobs import NETWORK, blobs, lines, plain, squares, trained
from helpers import assert_same_bits

from lamaml_jax import (
    Result,
    er,
    iid,
    la_er,
    load,
    networks,
    online,
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


def test_kinds_are_checked_where_a_result_is_loaded(tmp_path: pathlib.Path) -> None:
    plain().save(tmp_path)
    with pytest.raises(ValueError, match="stream is a tuple; it must be a Benchmark"):
        load(tmp_path, stream=(blobs(), blobs()))
    with pytest.raises(ValueError, match="model is a Dense; it must be a Model"):
        load(tmp_path, model=flax.linen.Dense(3))


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


def test_a_folder_of_runs_that_began_elsewhere_is_refused(tmp_path: pathlib.Path) -> None:
    plain().save(tmp_path)
    plain().save(tmp_path)
    again = train(online, NETWORK, blobs(), seeds=(0, 1), start=plain().state)
    with pytest.raises(ValueError, match="directory is .* whose runs differ in start;"):
        again.save(tmp_path)
    again.save(tmp_path / "again")
    load(tmp_path / "again").save(tmp_path / "again")
