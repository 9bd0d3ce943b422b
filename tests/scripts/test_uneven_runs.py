"""Runs of scripts on tasks of unequal size, of which only their own batches and examples count."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from running import run_train

from experiments.reporting import figures
from experiments.reporting.page import reading
from experiments.runs import dynamics, probes, workdirs
from experiments.runs.making import make_config
from lamaml_jax import losses
from lamaml_jax.analysis import gradient_alignment
from lamaml_jax.metrics import learning_curve_area
from lamaml_jax.types import Batch

pytestmark = pytest.mark.usefixtures("quick_compile")

UNEVEN = """
import numpy as np
from lamaml_jax import streams

def make():
    rng = np.random.default_rng(0)
    def task(size):
        y = np.arange(size) % 2
        return (rng.normal(size=(size, 5)) + 3 * y[:, None]).astype(np.float32), y
    return streams.from_arrays([task(size) for size in (80, 30, 80)], [task(20)] * 3)
"""
QUIET = """
from lamaml_jax import Learner, learner_factory, online

@learner_factory
def quiet(model, setting):
    learner = online(model, setting)
    def update(key, state, batch):
        state, info = learner.update(key, state, batch)
        return state, {"nll": info["loss"]}
    return learner._replace(update=update)
"""


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("files") / "uneven.py"
    path.write_text(UNEVEN)
    return f"{path}:make"


@pytest.fixture(scope="module")
def run(benchmark: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    of_run = ("--learner=er", "--set=memory=20", "--num_seeds=2", "--diagnostics", "--eval_every=2")
    run_train(f"--benchmark={benchmark}", *of_run, f"--workdir={workdir}")
    return workdir


def test_a_line_has_the_mean_over_the_tasks_own_batches(run: pathlib.Path) -> None:
    loss = workdirs.read_results(run)["loss"]
    assert np.isnan(loss[:, 1, 3:]).all()
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found = {(line["task"], line["seed"]): line["loss"] for line in lines}
    for task, size in enumerate((8, 3, 8)):
        for seed in range(2):
            assert found[task + 1, seed] == pytest.approx(loss[seed, task, :size].mean())


def test_how_a_run_learns_is_measured_on_the_tasks_own_examples(run: pathlib.Path) -> None:
    cosine = dynamics.read(run)["gradient_cosine"]
    assert np.isnan(cosine[:, 0]).all() and np.isfinite(cosine[:, 1:]).all()


def test_evaluations_inside_a_task_lie_where_its_own_batches_are(run: pathlib.Path) -> None:
    shares = [[2 / 8, 4 / 8, 6 / 8], [2 / 3, np.nan, np.nan], [2 / 8, 4 / 8, 6 / 8]]
    results = workdirs.read_results(run)
    np.testing.assert_allclose(results["inside_progress"], shares)
    x, values = figures.inside_curves(
        results["accuracy"], results["inside_accuracy"], np.array(shares)
    )
    assert x[1].tolist() == [1, 1 + 2 / 3, 2, 2, 2] and np.isfinite(values[:, 1, :, :2]).all()
    page = reading.read(reading.find([run]))
    (found,) = page.runs
    assert not page.problems and found.progress is not None
    area = learning_curve_area(found.accuracy, found.inside, found.progress)
    assert np.isfinite(area).all()


def test_a_learner_need_not_call_its_loss_loss(benchmark: str, tmp_path: pathlib.Path) -> None:
    method = tmp_path / "method.py"
    method.write_text(QUIET)
    of_run = (f"--benchmark={benchmark}", f"--learner={method}:quiet", "--eval_every=2")
    run_train(*of_run, "--num_seeds=1", f"--workdir={tmp_path / 'run'}")
    assert (tmp_path / "run" / "inside_tasks.png").exists()
    page = reading.read(reading.find([tmp_path / "run"]))
    assert not page.problems and page.runs[0].inside is not None


def test_a_new_tasks_gradient_is_of_its_own_examples(benchmark: str) -> None:
    config = make_config(
        benchmark=benchmark,
        learner="er",
        assignments=["memory=20"],
        seeds=(0,),
        stream={},
        network={},
    )
    made = config.make_benchmark(None)
    functions, images = config.make_run(made), jnp.asarray(made.images)
    seed = jax.tree.map(lambda a: a[0], config.runs().stacked())
    stream = functions.draw_stream(seed)
    state = functions.init(seed, stream, images)
    state, _ = jax.jit(functions.train_task)(seed, stream, state, images, jnp.int32(0))
    measured = jax.jit(probes.alignment(config, made))(seed, stream, state, images, jnp.int32(1))
    x, y = images[stream.train.image[1, :30]], stream.train.label[1, :30]
    new = Batch(x, y, jnp.ones_like(y), y >= 0)
    memory = state.memory
    old = Batch(memory.x, memory.y, memory.task, jnp.arange(20) < memory.seen)
    loss = losses.task_loss(config.model(made.setting.num_classes).apply, made.setting)
    expected = gradient_alignment(loss, state.params, [old, new]).cosine[0, 1]
    np.testing.assert_allclose(measured["cosine_against_new_memory"], expected, rtol=1e-4)
