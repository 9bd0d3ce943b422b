"""What a result shows and predicts."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, plain, squares, trained
from IPython.core import formatters
from matplotlib import pyplot

from lamaml_jax import networks, online, streams, train

pytestmark = pytest.mark.usefixtures("quick_compile")


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


def test_a_picture_is_of_whole_runs_and_of_what_was_evaluated() -> None:
    whole = plain()
    values = whole.accuracy.copy()
    values[1, 2:] = np.nan  # one run diverged
    values[0, 2] = [np.nan, 0.5, 0.5]  # and of the other only what metrics need was evaluated
    diverged = np.array([False, True])
    record = {**whole.record, "accuracy": values, "diverged": diverged}
    (axes,) = dataclasses.replace(whole, record=record).plot().axes
    (line,) = axes.lines
    shown = 100 * np.array([values[0, 1, 0], np.nan, values[0, 3].mean()])
    np.testing.assert_allclose(line.get_ydata(), shown, rtol=1e-6)
    none = {**record, "diverged": np.array([True, True])}
    (axes,) = dataclasses.replace(whole, record=none).plot().axes
    assert np.isnan(axes.lines[0].get_ydata()).all()


def test_why_training_ended_is_said_once() -> None:
    whole = plain()
    values = whole.accuracy.copy()
    values[:, 1:] = np.nan
    lost = {**whole.record, "accuracy": values, "diverged": np.ones(2, bool)}
    table = dataclasses.replace(whole, record=lost).table()
    assert "Diverged: runs 0, 1 in task 0." in table and "Stopped" not in table
    one = {**lost, "diverged": np.array([True, False])}
    assert dataclasses.replace(whole, record=one).table().endswith("Stopped after 0 of 3.")


def test_a_result_has_what_was_measured_and_is_itself() -> None:
    result = plain()
    assert hasattr(result, "accuracy") and not hasattr(result, "eval_loss")
    with pytest.raises(ValueError, match="The runs classify; see `accuracy`"):
        _ = result.eval_loss
    assert result == result and result != dataclasses.replace(result) and hash(result)


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


def test_a_run_that_diverges_takes_no_other_down() -> None:
    result = train(online, NETWORK, blobs(), seeds=(0, 1), lr=[0.1, 1e30])
    assert result.diverged.tolist() == [False, False, True, True]
    assert np.isfinite(result.accuracy[:2]).all() and np.isnan(result.accuracy[2:, -1]).all()
    assert result.table().splitlines()[3:] == [
        "| 1e+30 | – | – | – | 0 (seed 0, 1 diverged) |",
        "",
        "Diverged: runs 2, 3 in task 0. Smaller rates or a `clip_norm` may help.",
    ]


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


def test_streams_to_evaluate_on_fit_what_was_trained() -> None:
    x, y = np.zeros((6, 5), np.float32), np.arange(6) % 3
    for stream, message in [
        (blobs(num_tasks=2), "stream has other heads than the learner was trained on"),
        (streams.from_arrays(*[[(x[:, :4], y)] * 3] * 2), "stream has other inputs than"),
        (streams.from_arrays(*[[(x, y)] * 3] * 2, transform=lambda x: -x), "other transform than"),
        ("blobs", "stream is a str; it must be a Benchmark"),
    ]:
        with pytest.raises(ValueError, match=message):
            plain().evaluate(stream)  # type: ignore[arg-type]
    targets = blobs()._replace(make_stream=_of_floats)
    with pytest.raises(ValueError, match="the stream's targets are float32"):
        plain().evaluate(targets)


def _of_floats(key: jax.Array) -> streams.Stream:
    return jax.tree.map(
        lambda a: a.astype(jnp.float32) if a.dtype == jnp.int32 else a, blobs().make_stream(key)
    )


def test_many_inputs_are_predicted_in_parts() -> None:
    x = blobs().images[:20]
    whole = trained().predict(x, 1)
    for eval_batch in (7, 20, 1000):
        parts = trained().predict(x, 1, eval_batch=eval_batch)
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="eval_batch is 0"):
        trained().predict(x, eval_batch=0)


def test_the_same_shape_is_predicted_again_without_tracing() -> None:
    whole, x, traced = plain(), blobs().images[:5], []

    def apply(*arguments: Any) -> jax.Array:
        traced.append(arguments)
        return NETWORK.apply(*arguments)

    model = whole.plan.model._replace(apply=apply)
    result = dataclasses.replace(whole, plan=whole.plan._replace(model=model))
    first = result.predict(x, 1)
    traced_first = len(traced)
    assert traced_first and not np.array_equal(result.predict(-x, 2), first)
    np.testing.assert_array_equal(result.predict(x, 1), first)
    assert len(traced) == traced_first


def test_one_runs_state_is_what_a_learner_takes() -> None:
    result, x = trained(), blobs().images[:5]
    learner = result.plan.build({"lr_init": jnp.float32(0.1)})
    scores = learner.predict(result.state_of(2), x, jnp.int32(0))
    np.testing.assert_allclose(scores, result.predict(x, run=2), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="run is 6"):
        result.state_of(6)


def test_a_notebook_shows_table_and_picture() -> None:
    formatted, _ = formatters.DisplayFormatter().format(trained())
    assert formatted["text/markdown"] == trained().table()
    formatted, _ = formatters.DisplayFormatter().format(trained().plot())
    assert formatted["image/png"].startswith(b"\x89PNG")
    assert not pyplot.get_fignums()


def test_numbers_have_the_digits_that_they_can_bear() -> None:
    result = plain()
    one = dataclasses.replace(
        result,
        plan=result.plan._replace(runs=result.plan.runs._replace(seeds=(0,))),
        record={name: values[:1] for name, values in result.record.items()},
    )
    accuracy = 100 * result.accuracy[0, -1].mean()
    assert one.table().splitlines()[2].startswith(f"| {accuracy:.2f} |")
    losses = result.record["accuracy"] / 1000
    plan = result.plan._replace(
        stream=blobs()._replace(setting=blobs().setting._replace(loss=squares))
    )
    record = {"eval_loss": losses, "seeds": result.seeds, "diverged": result.diverged}
    of_losses = dataclasses.replace(result, plan=plan, record=record)
    ends = losses[:, -1].mean(axis=1)
    assert of_losses.table().splitlines()[2].startswith(f"| {ends.mean():.4g} ± {ends.std():.2g} |")


def test_inputs_of_another_layout_are_not_taken_for_the_streams() -> None:
    task = (np.random.default_rng(0).random((10, 2, 3, 1)) > 0.5, np.arange(10) % 2)
    stream = streams.from_arrays([task], [task])
    result = train(online, networks.mlp(2, hidden=(4,)), stream, lr=0.1)
    scores = result.predict(task[0])
    for same in (task[0][..., 0], task[0].reshape(10, 6), task[0].astype(int)):
        np.testing.assert_array_equal(result.predict(same), scores)
    for other in (task[0].transpose(0, 2, 1, 3), task[0].astype(np.uint8)):
        with pytest.raises(
            ValueError, match=r"x is .*; it must be float32 of shape \[B, 2, 3, 1\]"
        ):
            result.predict(other)
