"""Metrics of a result: of which runs, stages and tasks they are."""

import dataclasses

import numpy as np
import pytest
from blobs import NETWORK, plain, squares

from lamaml_jax import iid, la_er, networks, online, streams, train

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("beside", [False, True])
def test_a_run_that_diverged_has_no_metrics_whatever_is_beside_it(beside: bool) -> None:
    whole, runs = plain(), slice(0 if beside else 1, 2)
    record = {name: values.copy() for name, values in whole.record.items()}
    record["accuracy"][1, 2:] = np.nan
    record["diverged"][1] = True
    of_runs = whole.plan.runs._replace(seeds=whole.plan.runs.seeds[runs])
    result = dataclasses.replace(
        whole,
        plan=whole.plan._replace(runs=of_runs),
        record={name: values[runs] for name, values in record.items()},
    )
    for name, values in result.metrics().items():
        assert np.isnan(values[-1])
        np.testing.assert_array_equal(values[:-1], whole.metrics()[name][:-1][: len(values) - 1])


def task(size: int, of: int) -> streams.Arrays:
    return np.random.default_rng(of).normal(size=(size, 5)), np.arange(size) % 3


TASKS = [task(12, of) for of in range(3)]


def test_a_sequence_that_was_stopped_has_the_accuracy_it_ended_with() -> None:
    stream = streams.from_arrays(
        TASKS, TASKS, sequence=[(i % 3, i // 3) for i in range(36)], num_stages=3
    )
    result = train(online, NETWORK, stream, on_task=lambda progress: progress.done == 2)
    values = result.metrics()
    assert values["ra"] == pytest.approx(result.accuracy[0, 2].mean())
    assert np.isnan([values[name] for name in ("la", "bti", "fwt")]).all()


def test_a_mixed_streams_metrics_are_over_what_was_learnt() -> None:
    """As an upper bound of learners whose metrics are over these tasks."""
    stream = streams.from_arrays([TASKS[0], None, TASKS[2]], TASKS)
    result = train(iid, NETWORK, stream, lr=0.1)
    values = result.metrics()
    assert values["ra"] == pytest.approx(result.accuracy[0, -1, [0, 2]].mean())
    assert values["ra"] != pytest.approx(result.accuracy[0, -1].mean())
    assert np.isnan([values[name] for name in ("la", "bti", "fwt")]).all()
    assert "Diverged" not in result.table()
    (axes,) = result.plot().axes
    assert np.asarray(axes.lines[0].get_ydata())[-1] == pytest.approx(100 * values["ra"][0])


@pytest.mark.filterwarnings("error")
def test_a_mean_loss_that_overflows_does_not_end_training() -> None:
    x, y = np.eye(4, 5), np.arange(4.0)
    far = [(x, np.full(4, 1e25)), (x, y)]
    network, settings = networks.mlp(1, hidden=()), {"loss": squares, "lr": 0.1, "seeds": (0, 1)}
    result = train(online, network, streams.from_arrays([(x, y)] * 2, far), **settings)
    assert not result.diverged.any() and result.stages_learnt() == 2
    assert np.isinf(result.metrics()["ra"]).all()
    assert "| inf | inf | – | 2 |" in result.table()
    assert np.isinf(result.plot().axes[0].lines[0].get_ydata()).all()


def test_recorded_rates_begin_with_those_started_from() -> None:
    first = train(la_er, NETWORK, streams.from_arrays(TASKS, TASKS), lr_lr=0.5)
    second = train(la_er, NETWORK, streams.from_arrays(TASKS, TASKS), lr_lr=0.5, start=first.state)
    for name in ("rate_mean", "rate_share_nonpositive"):
        np.testing.assert_array_equal(second.record[name][:, 0], first.record[name][:, -1])
    assert not np.array_equal(first.record["rate_mean"][:, 0], first.record["rate_mean"][:, -1])
