"""Training as one function: what it returns, how it sweeps, resumes and stops, what is kept, what is refused."""

import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import FAST, NETWORK, blobs, trained
from helpers import assert_same_bits

from lamaml_jax import (
    LEARNERS,
    Learner,
    Model,
    er,
    hat,
    hyper,
    icarl,
    iid,
    la_maml,
    load,
    load_packaged_la_maml,
    networks,
    online,
    parallel,
    streams,
    train,
    ucb,
)
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.training import Progress, Runs, program

pytestmark = pytest.mark.usefixtures("quick_compile")

# What is trained, and what is returned.


def test_runs_are_points_times_seeds_and_each_is_what_it_is_alone() -> None:
    result = trained()
    assert result.accuracy.shape == (6, 4, 3) and result.seeds.tolist() == [3, 5] * 3
    assert [point["lr_init"] for point in result.points] == [0.02, 0.02, 0.1, 0.1, 0.2, 0.2]
    alone = train(la_maml, NETWORK, blobs(), seeds=(5,), lr_init=0.1, **FAST)
    np.testing.assert_array_equal(alone.accuracy[0], result.accuracy[3])
    assert_same_bits(alone.state, jax.tree.map(lambda a: a[3:4], result.state))


def test_one_and_several_devices_give_the_same_bits() -> None:
    one = train(
        la_maml, NETWORK, blobs(), seeds=(3, 5), lr_init=0.2, **FAST, devices=jax.devices()[:1]
    )
    np.testing.assert_allclose(one.accuracy, trained().accuracy[4:], atol=0.051)
    assert len(jax.devices()) == 2


def test_metrics_table_and_picture_are_of_the_accuracies() -> None:
    result = trained()
    learnt = result.accuracy
    np.testing.assert_allclose(result.metrics()["ra"], learnt[:, -1].mean(axis=1), rtol=1e-6)
    lines = result.table().splitlines()
    assert lines[0] == "| lr_init | RA | LA | BTI | seeds |" and len(lines) == 5
    mean, deviation = 100 * learnt[2:4, -1].mean(), 100 * learnt[2:4, -1].mean(axis=1).std()
    assert lines[3].startswith(f"| 0.1 | {mean:.2f} ± {deviation:.2f} |")
    (axes,) = result.plot().axes
    curves = [line.get_ydata() for line in axes.lines]
    expected = 100 * np.mean([learnt[0, 2, :2].mean(), learnt[1, 2, :2].mean()])
    assert len(curves) == 3 and curves[0][1] == pytest.approx(expected, rel=1e-5)


def test_predictions_are_the_evaluations() -> None:
    result, stream = trained(), blobs()
    rows = stream.make_stream(jax.random.key(0)).test
    for task in (0, 2):
        x = stream.images[np.asarray(rows.image[task])]
        scores = result.predict(x, task)
        assert scores.shape == (6, 20, 3)
        right = (scores.argmax(axis=2) == np.asarray(rows.label[task])).mean(axis=1)
        np.testing.assert_allclose(right, result.accuracy[:, -1, task], rtol=1e-6)
        np.testing.assert_array_equal(result.predict(x, task, run=4), scores[4])
    np.testing.assert_array_equal(result.evaluate(), result.accuracy[:, -1])


def test_raw_images_are_predicted_through_the_transform_of_their_task(mnist: ImageDataset) -> None:
    stream = streams.mnist_permutations(mnist, num_tasks=2, samples_per_task=40)
    result = train(online, networks.mlp(10, (8,)), stream, seeds=(0, 1))
    scores = result.predict(mnist.test_images[..., 0], task=1)
    right = (scores.argmax(axis=2) == mnist.test_labels).mean(axis=1)
    np.testing.assert_allclose(right, result.accuracy[:, -1, 1], rtol=1e-6)


@pytest.mark.parametrize("learner", [la_maml, iid])
def test_a_task_in_parts_is_the_same_task(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are kept short where many runs would have the program keep much memory."""
    arguments: Any = {"seeds": (3, 5), **(FAST if learner is la_maml else {})}
    whole = train(learner, NETWORK, blobs(), **arguments)
    monkeypatch.setattr(program, "_BATCHES_PER_CALL", 4)
    parts = train(learner, NETWORK, blobs(), **arguments)
    assert_same_bits(parts.record, whole.record)
    assert_same_bits(parts.state, whole.state)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train(online, NETWORK, blobs())
    assert capfd.readouterr() == ("", "")


def test_a_mixed_stream_has_a_before_and_an_after() -> None:
    result = train(iid, NETWORK, blobs(), lr=0.1)
    assert np.isfinite(result.accuracy[:, [0, 3]]).all() and np.isnan(result.accuracy[:, 1:3]).all()
    assert np.isfinite(result.metrics()["ra"]).all() and np.isnan(result.metrics()["bti"]).all()


def test_a_run_that_diverges_takes_no_other_down() -> None:
    result = train(online, NETWORK, blobs(), seeds=(0, 1), lr=[0.1, 1e30])
    assert result.diverged.tolist() == [False, False, True, True]
    assert np.isfinite(result.accuracy[:2]).all() and np.isnan(result.accuracy[2:, -1]).all()
    assert result.table().splitlines()[3:] == [
        "| 1e+30 | – | – | – | 0 (seed 0, 1 diverged) |",
        "",
        "Diverged: runs 2, 3 in task 0. Smaller rates or a `clip_norm` may help.",
    ]


def test_double_precision_is_kept(x64: None) -> None:
    assert blobs.__wrapped__().images.dtype == np.float32
    doubles = [(np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3)]
    stream = streams.from_arrays(doubles, doubles)
    assert stream.images.dtype == np.float64
    for learner in (la_maml, er, ucb):
        result = train(learner, NETWORK, stream, glances=1)
        assert np.isfinite(result.accuracy).all()


def test_points_may_be_given_and_draw_streams_of_their_own(mnist: ImageDataset) -> None:
    stream = streams.mnist_permutations(mnist, num_tasks=2, samples_per_task=20)
    points = [{"lr": 0.0, "stream_seed": 1}, {"lr": 0.0, "stream_seed": 2}]
    model = networks.mlp(10, (8,))
    result = train(online, model, stream, seeds=(0, 1), points=points)
    same = train(online, model, stream, seeds=(0, 1), stream_seed=2, lr=0.0)
    np.testing.assert_array_equal(result.accuracy[2:], same.accuracy)
    assert not np.array_equal(result.accuracy[:2], result.accuracy[2:])


# A loss of one's own.


def squares(outputs: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.square(outputs - y.reshape(outputs.shape)).sum(axis=-1)


@functools.cache
def lines() -> streams.Benchmark:
    """Return three tasks of fitting one plane each, close to each other."""
    rng = np.random.default_rng(0)
    slopes = np.array([1.0, -2.0, 0.5]) + 0.2 * rng.normal(size=(3, 3))
    tasks = []
    for slope, size in zip(slopes, (200, 300, 250), strict=True):
        x = rng.normal(size=(size, 3)).astype(np.float32)
        tasks.append((x, (x @ slope).astype(np.float32)))
    return streams.from_arrays(tasks, tasks)


CLASSIFIERS = {"icarl", "ucb", "ewc"}
ALONE = {"hat"}  # needs heads of its own
GENTLE = {
    **dict.fromkeys(("lr", "lr_init", "inner_lr", "outer_lr", "std_init"), 0.02),
    **{"lr_lr": 0.01, "mean_eta": 0.1, "within_batch_lr": 0.1},
    **{"glances": 1, "inner_steps": 2, "mc_samples": 2, "batches_per_example": 2},
}


@pytest.mark.parametrize("name", [n for n in LEARNERS if n not in CLASSIFIERS | ALONE])
def test_learners_regress(name: str) -> None:
    keywords = {n: v for n, v in GENTLE.items() if n in hyper.names(LEARNERS[name])}
    result = train(LEARNERS[name], networks.mlp(1, (16,)), lines(), loss=squares, **keywords)
    losses = result.eval_loss[0]
    assert losses.shape == (4, 3) and not result.diverged.any()
    assert losses[-1].mean() < 0.9 * losses[0].mean()
    x = lines().images[:7]
    assert result.predict(x).shape == (1, 7, 1)
    with pytest.raises(ValueError, match="see `eval_loss`"):
        _ = result.accuracy


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_others_say_that_they_classify(name: str) -> None:
    with pytest.raises(ValueError, match=f"loss is given; it must be None for {name}"):
        train(LEARNERS[name], networks.mlp(1, (4,)), lines(), loss=squares)


# What is told on the way.


def test_progress_is_told_before_and_after_every_task() -> None:
    told: list[tuple[int, int]] = []

    def norm(seed: Any, stream: Any, state: Any, images: Any, task: Any) -> dict[str, Any]:
        leaves = jax.tree.leaves(state.params)
        return {"norm": sum(jnp.vdot(a, a) for a in leaves) + 0 * task}

    norms = []

    def on_task(progress: Progress) -> None:
        told.append((progress.done, progress.row))
        norms.append(progress.probe(norm, 0)["norm"])
        found = progress.measure(lambda state: norm(0, None, state, None, 0))
        assert found["norm"].shape == (3,)
        np.testing.assert_allclose(found["norm"], norms[-1], rtol=1e-6)
        assert np.isfinite(progress.record["accuracy"][:, : progress.row + 1]).all()
        assert np.isnan(progress.record["accuracy"][:, progress.row + 1 :]).all()

    result = train(online, NETWORK, blobs(), seeds=(0, 1, 2), on_task=on_task)
    assert told == [(0, 0), (1, 1), (2, 2), (3, 3)]
    leaves = jax.tree.leaves(result.state.params)
    last = [sum(np.vdot(a[run], a[run]) for a in leaves) for run in range(3)]
    np.testing.assert_allclose(norms[-1], last, rtol=1e-5)
    assert not np.allclose(norms[0], norms[1])


def test_training_stops_where_it_is_told_to() -> None:
    result = train(online, NETWORK, blobs(), on_task=lambda progress: progress.done == 2)
    assert np.isfinite(result.accuracy[:, :3]).all() and np.isnan(result.accuracy[:, 3]).all()
    retained = result.accuracy[0, 2, :2].mean()
    assert result.metrics()["ra"] == pytest.approx(retained)
    assert result.table().endswith("Stopped after 2 of 3.")
    assert "2 of 3 stages" in repr(result) and len(repr(result)) < 500 and len(repr(blobs())) < 200


def test_training_goes_on_from_a_result() -> None:
    first = train(online, NETWORK, blobs())
    kept = jax.tree.map(np.copy, first.state)
    second = train(online, NETWORK, blobs(), start=first.state)
    np.testing.assert_array_equal(second.accuracy[:, 0], first.accuracy[:, -1])
    assert_same_bits(first.state, kept)  # not consumed
    third = train(online, NETWORK, blobs(), start=jax.tree.map(jnp.asarray, first.state))
    np.testing.assert_array_equal(third.accuracy, second.accuracy)
    with pytest.raises(ValueError, match="start has arrays of shapes"):
        train(online, NETWORK, blobs(), seeds=(0, 1), start=first.state)


class Stopped(Exception):
    pass


def test_checkpoints_go_on_to_the_same_bits(tmp_path: pathlib.Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise Stopped

    arguments: Any = {"seeds": (3, 5), "lr_init": [0.02, 0.1, 0.2], **FAST}
    with pytest.raises(Stopped):
        train(la_maml, NETWORK, blobs(), **arguments, on_task=stop, checkpoint_dir=tmp_path)
    told: list[int] = []
    result = train(
        *(la_maml, NETWORK, blobs()),
        **arguments,
        on_task=lambda progress: told.append(progress.done),
        checkpoint_dir=tmp_path,
    )
    assert told == [2, 3], "the task that was learnt when on_task failed is not lost"
    assert_same_bits(result.record, trained().record)
    assert_same_bits(result.state, trained().state)
    with pytest.raises(ValueError, match="whose runs differ in seeds"):
        train(la_maml, NETWORK, blobs(), checkpoint_dir=tmp_path, **arguments | {"seeds": (3, 4)})
    with pytest.raises(ValueError, match="whose runs differ in learner"):
        train(er, NETWORK, blobs(), checkpoint_dir=tmp_path)


def other_labels() -> streams.Benchmark:
    x, y = np.arange(40, dtype=np.float32).reshape(8, 5), np.arange(8) % 3
    return streams.from_arrays([(x, y)], [(x, y)])


def other_transform() -> streams.Benchmark:
    x, y = np.arange(40, dtype=np.float32).reshape(8, 5), (np.arange(8) + 1) % 3
    return streams.from_arrays([(x, y)], [(x, y)], transform=lambda x: -x)


@pytest.mark.parametrize(
    ("stream", "keywords", "what"),
    [
        (other_labels, {}, "sha256_data"),
        (other_transform, {}, "inputs, sha256_transforms"),
        (None, {"eval_batch": 7}, "eval_batch"),
    ],
)
def test_checkpoints_of_what_looks_alike_are_refused(
    stream: Any, keywords: Any, what: str, tmp_path: pathlib.Path
) -> None:
    x, y = np.arange(40, dtype=np.float32).reshape(8, 5), (np.arange(8) + 1) % 3
    first = streams.from_arrays([(x, y)], [(x, y)])
    train(online, NETWORK, first, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=f"whose runs differ in {what};"):
        train(online, NETWORK, stream() if stream else first, checkpoint_dir=tmp_path, **keywords)


def test_another_network_of_the_same_shapes_is_refused(tmp_path: pathlib.Path) -> None:
    models = [Model(plain_init, lambda p, x, s=s: jnp.tanh(s * x @ p)) for s in (1, 2)]
    train(online, models[0], blobs(), checkpoint_dir=tmp_path)
    train(online, models[0], blobs(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in sha256_network;"):
        train(online, models[1], blobs(), checkpoint_dir=tmp_path)


# A trained learner leaves the house.


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
    result = train(online, NETWORK, blobs(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="holds checkpoints of runs that are not finished"):
        load(tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in seeds"):
        train(online, NETWORK, blobs(), seeds=(7,)).save(tmp_path)
    result.save(tmp_path)
    assert_same_bits(load(tmp_path).state, result.state)


def test_a_learner_is_loaded_with_a_stream_and_loss_that_fit(tmp_path: pathlib.Path) -> None:
    model = networks.mlp(1, (4,))
    result = train(online, model, lines(), loss=squares, lr=0.01)
    result.save(tmp_path)
    found = load(tmp_path, stream=lines(), loss=squares)
    np.testing.assert_array_equal(found.evaluate(), result.eval_loss[:, -1])
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
    train(online, NETWORK, blobs()).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", None):
        (tmp_path / name).unlink()
        if damaged is not None:
            (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            load(tmp_path)
        (tmp_path / name).write_bytes(whole)
    assert json.loads((tmp_path / "learner.json").read_text())["learner"] == "online"


def test_a_trained_la_maml_comes_with_the_package() -> None:
    result = load_packaged_la_maml()
    np.testing.assert_allclose(result.evaluate()[0], result.accuracy[0, -1], atol=0.005)
    assert result.metrics()["ra"] > 0.55
    rates = result.state.lrs["Dense_0"]["kernel"][0]
    assert rates.std() > 0.01 and result.state.memory.x.shape == (1, 50, 784)


# What is refused before anything compiles.


def own_method(model: Model, setting: Any, *, step: float = 0.1, other: int = 1) -> Learner:
    return online(model, setting, lr=step)


def required(model: Model, setting: Any, *, step: float) -> Learner:
    return online(model, setting, lr=step)


def nothing(model: Model, setting: Any) -> None:
    return None


def mean(outputs: jax.Array, y: jax.Array) -> jax.Array:
    return squares(outputs, y).mean()


def plainly(model: Model, setting: Any, *, lr=0.1, steps=2) -> Learner:  # type: ignore[no-untyped-def]
    return online(model, setting, lr=lr / steps)


def positional(model: Model, setting: Any, step: float) -> Learner:
    return online(model, setting)


@pytest.mark.parametrize(
    ("learner", "keywords", "message"),
    [
        (online, {"rate": 1}, "'rate' is not a setting of online"),
        (la_maml, {"lr_int": 1}, "'lr_int' is not a setting of la_maml; did you mean lr_init"),
        (la_maml, {"lr_init": -1.0}, "lr_init is -1.0; it must be a finite number >= 0"),
        (la_maml, {"lr_init": [0.1, -1]}, "lr_init is -1; it must be a finite number >= 0"),
        (la_maml, {"lr_init": []}, r"lr_init is \[\]; it must hold one or more values"),
        (
            la_maml,
            {"clip_norm": [None, 1.0]},
            "the values of an axis must be numbers, without None",
        ),
        (la_maml, {"glances": [1, 2]}, r"glances is \[1, 2\]; it must be an integer"),
        (la_maml, {"points": [{"glances": 2}]}, "'glances' is not a float setting of la_maml"),
        (la_maml, {"points": []}, "points is empty"),
        (la_maml, {"points": [{}], "lr_lr": [1, 2]}, "points is given; lr_lr must be one value"),
        (own_method, {"step": [0.1, np.nan]}, "step is nan; it must be a finite number"),
        (positional, {}, "learner is positional.*; it must be a factory of a model and a setting"),
        (online, {"seeds": (0, 0)}, r"seeds is \[0, 0\]; it must hold one or more different"),
        (online, {"seeds": ()}, r"seeds is \[\]"),
        (online, {"seeds": (0.5,)}, "seeds is 0.5; it must be an integer"),
        (online, {"eval": "some"}, "eval is 'some'"),
        (online, {"eval_every": 5}, "eval_every is 5; it must be below 5, the batches of a task"),
        (icarl, {}, "learner is icarl, which needs to know the task at test"),
        (hat, {}, "learner is hat, which needs to know the task at test"),
        (
            online,
            {"loss": None, "stream": lines},
            "loss is None, and the stream's targets are float32",
        ),
        (
            online,
            {"stream": lambda: blobs(heads="per_task")},
            "the model has 3 outputs; it must have 9",
        ),
        (online, {"stream": lambda: [1]}, "stream is a list; it must be a Benchmark"),
        ("er", {}, "learner is 'er'; it must be a factory such as la_maml"),
        (nothing, {}, "learner is nothing, which returns a NoneType; it must return a Learner"),
        (required, {}, "step is not given; required has no default for it"),
        (online, {"devices": []}, "devices is empty"),
        (online, {"on_task": 3}, "on_task is 3; it must be a function"),
        (online, {"loss": "mse", "stream": lines}, "loss is 'mse'; it must be a function"),
        (online, {"loss": mean, "stream": lines}, r"loss returns shape \(\) for 10 examples"),
    ],
)
def test_bad_arguments_are_named(
    learner: Any, keywords: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "over_runs", None)  # nothing is compiled
    stream = keywords.pop("stream", blobs)()
    with pytest.raises(ValueError, match=message):
        train(learner, NETWORK, stream, **keywords)


def test_learners_of_whole_tasks_refuse_a_sequence() -> None:
    x, y = np.zeros((4, 5), np.float32), np.arange(4) % 3
    stream = streams.from_arrays([(x, y)] * 2, [(x, y)] * 2, sequence=[(0, 0), (1, 0)])
    with pytest.raises(ValueError, match="learner is gem, which needs batches of one task each"):
        train(LEARNERS["gem"], NETWORK, stream)
    result = train(la_maml, NETWORK, stream, **FAST)
    assert result.accuracy.shape == (1, 3, 2) and np.isnan(result.metrics()["la"]).all()


def test_keywords_without_annotations_are_of_their_defaults_types() -> None:
    result = train(plainly, NETWORK, blobs(), lr=[0.2, 0.02])
    same = train(online, NETWORK, blobs(), lr=0.1)
    np.testing.assert_array_equal(result.accuracy[:1], same.accuracy)


def test_seeds_are_integers_of_any_kind() -> None:
    for seeds in (4, np.int64(4), np.array(4), np.array([4]), jnp.arange(4, 5), range(4, 5)):
        assert train(online, NETWORK, blobs(), seeds=seeds).seeds.tolist() == [4]


def test_a_module_that_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model is a MLP; it must be a Model, as networks.mlp"):
        train(online, networks.MLP((4,), 3), blobs())


def test_evaluations_inside_tasks_of_unequal_size() -> None:
    result = train(online, NETWORK, blobs(), eval_every=2)
    inside = np.isfinite(result.record["inside_accuracy"][0, :, :, 0])
    assert inside.tolist() == [[True, False], [True, False], [True, True]]
    plain = train(online, NETWORK, blobs())
    np.testing.assert_array_equal(result.accuracy, plain.accuracy)


def test_predictions_name_what_does_not_fit() -> None:
    for x, task, run, message in [
        (
            np.zeros((2, 4), np.float32),
            0,
            None,
            r"x is float32 of shape \(2, 4\); it must be float32",
        ),
        (np.zeros((2, 5), np.uint8), 0, None, "x is uint8"),
        (np.zeros((2, 5)), 3, None, r"task is 3; it must be an integer in \[0, 2\]"),
        (np.zeros((2, 5)), 0, 6, r"run is 6; it must be an integer in \[0, 5\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            trained().predict(x, task, run=run)


def test_runs_are_listed_point_by_point() -> None:
    runs = Runs((4, 7), ({"lr": 1.0}, {"lr": 2.0}), {"lr": 1.0, "other": 3.0})
    assert [(point["lr"], seed) for point, seed in runs.each()] == [(1, 4), (1, 7), (2, 4), (2, 7)]
    hyper = runs.stacked().hyper
    assert hyper["lr"].tolist() == [1, 1, 2, 2] and hyper["other"].tolist() == [3] * 4
