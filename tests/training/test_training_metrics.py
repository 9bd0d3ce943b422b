"""Metrics of a result: of which runs, stages and tasks they are."""

import dataclasses

import numpy as np
import pytest
from blobs import plain

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
