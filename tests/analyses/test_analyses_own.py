"""The analyses on a stream, a learner and a network of a user's own: what is counted, and what is not known."""

import csv
import json
import pathlib
import textwrap

import pytest
from running import run_script

from experiments import equivalence, time_accuracy
from experiments.analyses import reading
from experiments.analyses.cost import gradients_per_batch, gradients_per_run
from experiments.reporting.page.reading import find
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax import LEARNERS

pytestmark = pytest.mark.usefixtures("quick_compile")

OWN = """
    import numpy as np
    from lamaml_jax import networks, streams

    def uneven(*, epochs: int = 1):
        rng = np.random.default_rng(0)
        tasks = [(rng.normal(size=(size, 4)), np.arange(size) % 2) for size in (12, 53)]
        return streams.from_arrays(tasks, tasks, heads="per_task", epochs=epochs)

    def layer(num_classes, *, width: int):
        return networks.mlp(num_classes, hidden=(width,))
"""
METHOD = f"{pathlib.Path(__file__).parents[2] / 'examples' / 'my_method.py'}:ring_replay"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(textwrap.dedent(OWN))
    return path


def config(own: pathlib.Path, learner: str, *assignments: str) -> Config:
    return make_config(
        benchmark=f"{own}:uneven",
        learner=learner,
        assignments=list(assignments),
        seeds=(0,),
        stream={"epochs": 3},
        network={},
    )


@pytest.mark.parametrize(
    ("learner", "assignments", "count"),
    [
        ("online", [], 3 * (2 + 6) * 10),
        ("iid", [], 3 * 7 * 10),  # of both tasks together
        ("gem", ["memory=40", "glances=1"], 3 * (2 * 10 + 6 * (10 + 20))),
        ("icarl", ["glances=1"], 3 * (2 * 10 + 6 * (10 + 2))),
        (METHOD, [], None),
    ],
)
def test_a_run_costs_what_the_batches_of_its_tasks_cost(
    learner: str, assignments: list[str], count: int | None, own: pathlib.Path
) -> None:
    of = config(own, learner, *assignments)
    assert gradients_per_run(of, of.make_benchmark(None)) == count


def test_every_learner_of_the_package_is_counted(own: pathlib.Path) -> None:
    for learner in LEARNERS:
        assert gradients_per_batch(config(own, learner), 1)


def test_accuracy_is_shown_against_the_costs_that_are_known(
    own: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(
        time_accuracy,
        *(f"--benchmark={own}:uneven", f"--network={own}:layer", "--eval_split=test"),
        *(f"--learner=gem,{METHOD}", "--protocol=multi", "--passes=1,2", "--num_seeds=1"),
        *("--set=width=4", "--set=memory=40", f"--workdir={tmp_path}"),
    )
    with (tmp_path / "time_accuracy.csv").open() as file:
        counts = [row["example-gradients"] for row in csv.DictReader(file)]
    once = 2 * 10 + 6 * (10 + 20)
    assert counts == [str(once), str(2 * once), "–", "–"]
    assert "example-gradients are not counted: ring_replay" in capsys.readouterr().out
    written = json.loads((tmp_path / "time_accuracy.json").read_text())
    assert written[METHOD]["gradients"] == [None, None]
    assert find([tmp_path]) == [tmp_path]  # its sweeps are part of it
    _, _, (part,) = reading.read(tmp_path)
    assert [row[-1] for row in part.rows] == [once, 2 * once, None, None]
    seconds, gradients = part.plot("").axes
    assert (len(seconds.lines), len(gradients.lines)) == (2, 1)


def test_equivalence_is_of_a_benchmark_that_has_no_keywords(
    own: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    arguments = (f"--benchmark={own}:uneven", "--inner_steps=1", f"--workdir={tmp_path}")
    run_script(equivalence, *arguments)
    assert (tmp_path / "equivalence.png").exists()
