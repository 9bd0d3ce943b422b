"""Training as one function: what is trained, and what is told on the way."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import FAST, NETWORK, blobs, plain, trained
from helpers import assert_close, assert_same_bits

from lamaml_jax import (
    LEARNERS,
    Learner,
    Result,
    hyper,
    iid,
    la_maml,
    load_packaged_la_maml,
    networks,
    online,
    streams,
    train,
    ucb,
)
from lamaml_jax.training import Clock, Progress, program, stages
from lamaml_jax.training.recording import OF_ALL

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_runs_are_points_times_seeds_and_each_is_what_it_is_alone() -> None:
    result = trained()
    assert result.accuracy.shape == (6, 4, 3) and result.seeds.tolist() == [3, 5] * 3
    assert [point["lr_init"] for point in result.points] == [0.02, 0.02, 0.1, 0.1, 0.2, 0.2]
    alone = train(la_maml, NETWORK, blobs(), seeds=(5,), lr_init=0.1, **FAST)
    np.testing.assert_array_equal(alone.accuracy[0], result.accuracy[3])
    assert_same_bits(alone.state, jax.tree.map(lambda a: a[3:4], result.state))


def test_one_and_several_devices_give_the_same_numbers() -> None:
    assert len(jax.devices()) == 2
    one = train(online, NETWORK, blobs(), seeds=(0, 1), devices=jax.devices()[:1])
    assert_close(one.state.params, plain().state.params)


@functools.cache
def mixed() -> Result:
    return train(iid, NETWORK, blobs(), seeds=(3, 5), lr=0.1)


@pytest.mark.parametrize("whole", [trained, mixed])
def test_a_task_in_parts_is_the_same_task(
    whole: Callable[[], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are kept short where many runs would have the program keep much memory."""
    expected, num_runs = whole(), len(whole().seeds)
    monkeypatch.setattr(program, "_BATCHES_PER_CALL", 2 * num_runs)
    parts = whole.__wrapped__()  # type: ignore[attr-defined]
    assert_same_bits(parts.record, expected.record)
    assert_same_bits(parts.state, expected.state)


@pytest.mark.parametrize("batches_per_call", [1, 1000])
def test_a_method_is_traced_once_to_be_compiled(
    batches_per_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing is Python's work, and much of what short runs take."""
    monkeypatch.setattr(program, "_BATCHES_PER_CALL", batches_per_call)
    traced = []

    @functools.wraps(online)
    def counting(*arguments: Any, **keywords: Any) -> Learner:
        learner = online(*arguments, **keywords)

        def update(*of_batch: Any) -> Any:
            traced.append("update")
            return learner.update(*of_batch)

        return learner._replace(update=update)

    train(counting, NETWORK, blobs(), seeds=(0, 1, 2), lr=0.1)
    assert traced == ["update"]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train(online, NETWORK, blobs())
    assert capfd.readouterr() == ("", "")


def test_a_mixed_stream_has_a_before_and_an_after() -> None:
    result = mixed()
    assert np.isfinite(result.accuracy[:, [0, 3]]).all() and np.isnan(result.accuracy[:, 1:3]).all()
    assert np.isfinite(result.metrics()["ra"]).all() and np.isnan(result.metrics()["bti"]).all()


def test_a_run_that_diverges_is_recorded_as_it_is_alone() -> None:
    """Alone, training ends there; so nothing of it is kept of what it does beside others."""
    settings = {**FAST, "seeds": (0,), "eval_every": 2}
    beside = train(la_maml, NETWORK, blobs(), lr_init=[0.1, 1e30], **settings).record
    alone = train(la_maml, NETWORK, blobs(), lr_init=[1e30], **settings).record
    assert beside["diverged"].tolist() == [False, True]
    assert {"loss", "rate_mean", "inside_accuracy"} <= set(beside)
    for name in set(alone) - set(OF_ALL):
        np.testing.assert_array_equal(beside[name][1:], alone[name], err_msg=name)


def test_double_precision_is_kept(x64: None) -> None:
    assert blobs.__wrapped__().images.dtype == np.float32
    doubles = [(np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3)]
    stream = streams.from_arrays(doubles, doubles)
    assert stream.images.dtype == np.float64
    few = {"glances": 1, "inner_steps": 1, "mc_samples": 1}
    for learner in (la_maml, ucb):
        keywords = {n: v for n, v in few.items() if n in hyper.names(learner)}
        result = train(learner, networks.mlp(3, ()), stream, **keywords)
        assert np.isfinite(result.accuracy).all()


def test_learners_of_whole_tasks_refuse_a_sequence() -> None:
    x, y = np.zeros((4, 5), np.float32), np.arange(4) % 3
    stream = streams.from_arrays([(x, y)] * 2, [(x, y)] * 2, sequence=[(0, 0), (1, 0)])
    with pytest.raises(ValueError, match="learner is gem, which needs batches of one task each"):
        train(LEARNERS["gem"], NETWORK, stream)
    result = train(online, NETWORK, stream)
    assert result.accuracy.shape == (1, 3, 2) and np.isnan(result.metrics()["la"]).all()


def test_evaluations_inside_tasks_of_unequal_size() -> None:
    result = train(online, NETWORK, blobs(), eval_every=2)
    inside = np.isfinite(result.record["inside_accuracy"][0, :, :, 0])
    assert inside.tolist() == [[True, False], [True, False], [True, True]]
    np.testing.assert_array_equal(result.accuracy, plain().accuracy[:1])


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
    result = train(online, NETWORK, blobs(), on_task=lambda progress: np.int32(progress.done) == 2)
    assert np.isfinite(result.accuracy[:, :3]).all() and np.isnan(result.accuracy[:, 3]).all()
    retained = result.accuracy[0, 2, :2].mean()
    assert result.metrics()["ra"] == pytest.approx(retained)
    assert result.table().endswith("Stopped after 2 of 3.")
    assert "2 of 3 stages" in repr(result) and len(repr(result)) < 500 and len(repr(blobs())) < 200


@pytest.mark.parametrize("true", [np.True_, np.array(True), jnp.array(True)])
def test_training_stops_at_any_librarys_true(true: Any) -> None:
    assert stages._is_true(true) and not stages._is_true(~true)
    for said in (None, 1, "yes", np.ones(3), jnp.float32(1)):
        assert not stages._is_true(said)


def test_several_answers_whether_to_stop_are_refused() -> None:
    def on_task(progress: Progress) -> Any:
        return progress.record["accuracy"][:, progress.row].mean(axis=1) > 0.9

    with pytest.raises(ValueError, match=r"on_task returns bools of shape \(1,\); it must return"):
        train(online, NETWORK, blobs(), on_task=on_task)


def test_training_goes_on_from_a_result() -> None:
    first = plain()
    kept = jax.tree.map(np.copy, first.state)
    second = train(online, NETWORK, blobs(), seeds=(0, 1), start=first.state)
    np.testing.assert_array_equal(second.accuracy[:, 0], first.accuracy[:, -1])
    assert_same_bits(first.state, kept)  # not consumed
    on_device = jax.tree.map(jnp.asarray, first.state)
    third = train(online, NETWORK, blobs(), seeds=(0, 1), start=on_device)
    np.testing.assert_array_equal(third.accuracy, second.accuracy)


def test_a_start_of_other_shapes_dtypes_or_trees_is_one_sentence() -> None:
    state = plain().state
    narrow = jax.tree.map(lambda a: a.astype(np.float16), state)
    where = r"state\.params\['Dense_0'\]\['bias'\]"
    cases = [
        ((0, 1, 2), state, rf"{where} of float32\[2,8\] where .* has {where} of float32\[3,8\]"),
        ((0, 1), narrow, rf"{where} of float16\[2,8\] where .* has {where} of float32\[2,8\]"),
        ((0, 1), (), rf"nothing where .* has {where} of float32\[2,8\]"),
    ]
    for seeds, start, sentence in cases:
        with pytest.raises(ValueError, match=f"^start has {sentence}; it must be such a state"):
            train(online, NETWORK, blobs(), seeds=seeds, start=start)
    wide = jax.tree.map(lambda a: a.astype(np.float64), state)
    assert not train(online, NETWORK, blobs(), seeds=(0, 1), start=wide).diverged.any()


def test_a_trained_la_maml_comes_with_the_package() -> None:
    result = load_packaged_la_maml()
    np.testing.assert_allclose(result.evaluate()[0], result.accuracy[0, -1], atol=0.005)
    assert result.metrics()["ra"] > 0.55
    rates = result.state.lrs["Dense_0"]["kernel"][0]
    assert rates.std() > 0.01 and result.state.memory.x.shape == (1, 50, 784)


def test_a_clock_keeps_the_seconds_of_what_it_is_given() -> None:
    ticks = iter(range(1000))
    clock = Clock(lambda: float(next(ticks)))
    result = train(online, NETWORK, blobs(), clock=clock)
    # One program draws the streams; others initialise, train and evaluate. Each block takes one tick of this timer.
    assert clock == {"compile": 4, "train": len(result.plan.rows), "eval": 4}
    assert Clock() == {"compile": 0, "train": 0, "eval": 0}
