"""What --diagnostics keeps: all learnt rates of the first seed, whatever befalls the run; nothing else changes."""

import pathlib
import shutil
import types

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compiling_quickly
from running import Stopped, run_train, stop_after

from experiments.runs import diagnostics, runner, workdirs
from experiments.runs.making import make_config
from lamaml_jax.datasets import ImageDataset

HALF = 2**-11  # the relative error of half precision
CONFIG = make_config(
    benchmark="mnist_rotations",
    learner="la_er",
    assignments=["glances=1"],
    seeds=(0, 1),
    stream={"num_tasks": 3, "samples_per_task": 20},
    network={},
)
FLAGS = ("--packaged_mnist", "--num_tasks=3", "--samples_per_task=20")


@pytest.fixture(scope="module")
def runs(
    mnist: ImageDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, pathlib.Path]:
    """The same run with diagnostics, interrupted and gone on with, and without."""
    kept, plain = (tmp_path_factory.mktemp(name) for name in ("kept", "plain"))
    with compiling_quickly():
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
            stop_after(2, patch)
            runner.run(CONFIG, mnist, kept, diagnose=True)
        runner.run(CONFIG, mnist, kept, diagnose=True)
        runner.run(CONFIG, mnist, plain)
    return kept, plain


def test_rates_are_those_of_the_first_seed(runs: tuple[pathlib.Path, pathlib.Path]) -> None:
    rates, results = diagnostics.read_rates(runs[0]), workdirs.read_results(runs[0])
    assert list(rates) == list(results["layer_names"])
    assert rates["Dense_0/kernel"].shape == (4, 784, 100)
    for i, kept in enumerate(rates.values()):
        assert kept.dtype == np.float16
        means = kept.astype(np.float64).reshape(4, -1).mean(axis=1)
        np.testing.assert_allclose(means, results["rate_mean"][0, :, i], HALF, HALF / 1000)
    first, second = results["rate_mean"]
    assert not np.allclose(first, second, HALF, HALF / 1000)


def test_results_are_the_same_bits(runs: tuple[pathlib.Path, pathlib.Path]) -> None:
    kept, plain = map(workdirs.read_results, runs)
    assert set(kept) == set(plain)
    for name, array in plain.items():
        np.testing.assert_array_equal(kept[name], array)
    assert diagnostics.read_rates(runs[1]) == {}


def test_finished_run_says_that_it_keeps_nothing(
    runs: tuple[pathlib.Path, pathlib.Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*FLAGS, "--learner=la_er", "--set=glances=1", "--num_seeds=2", "--diagnostics")
    run_train(*flags, f"--workdir={runs[1]}")
    assert "finished; diagnostics are kept of runs only" in capsys.readouterr().err
    assert not (runs[1] / "rates.npz").exists()


def test_overwriting_removes_rates(
    runs: tuple[pathlib.Path, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(runs[0], workdir)
    run_train(*FLAGS, "--learner=online", f"--workdir={workdir}", "--overwrite")
    assert (workdir / "summary.json").exists() and not (workdir / "rates.npz").exists()


def _state(*shape: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(lrs={"w": jnp.ones((2, *shape))})


def test_rates_that_were_not_kept_are_none(tmp_path: pathlib.Path) -> None:
    kept = diagnostics.begin(tmp_path, _state(3), 4)
    diagnostics.keep(tmp_path, kept, _state(3), 2)
    rates = diagnostics.begin(tmp_path, _state(3), 4)["w"]
    assert rates.shape == (5, 3) and np.isfinite(rates).all(axis=1).tolist() == [0, 0, 1, 0, 0]


def test_other_files_are_named(tmp_path: pathlib.Path) -> None:
    diagnostics.keep(tmp_path, diagnostics.begin(tmp_path, _state(3), 4), _state(3), 1)
    with pytest.raises(ValueError, match="rates.npz is of another run"):
        diagnostics.begin(tmp_path, _state(5), 4)
    (tmp_path / "rates.npz").write_bytes(b"no rates")
    with pytest.raises(ValueError, match="rates.npz is damaged"):
        diagnostics.begin(tmp_path, _state(3), 4)


def test_learner_without_rates_keeps_nothing(tmp_path: pathlib.Path) -> None:
    state = types.SimpleNamespace(params={"w": jnp.ones((2, 3))})
    kept = diagnostics.begin(tmp_path, state, 4)
    diagnostics.keep(tmp_path, kept, state, 1)
    assert not kept and not list(tmp_path.iterdir())
