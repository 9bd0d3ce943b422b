"""The analyses that sweep, robustness and accuracy against time: what is run, and the numbers of it."""

import csv
import itertools
import json
import pathlib

import numpy as np
import pytest
from analysing import TINY, colors, config
from running import run_script

from experiments import robustness, time_accuracy
from experiments.analyses import robustness as rates
from experiments.analyses import time_accuracy as costs
from experiments.analyses.cost import gradients_per_run
from experiments.runs.config import Config
from experiments.sweeps.results import Sweep
from lamaml_jax.datasets import ImageDataset

# Robustness.


def test_every_rate_is_varied_with_the_others_at_the_preset() -> None:
    axes, points = rates.rates_around(config("sync_la_maml"), num_values=3, grid_size=0)
    assert [axis.name for axis in axes] == ["lr_init", "lr_lr", "outer_lr"]
    assert points[0] == ("0.15", "0.1", "0.3")
    assert len(points) == 1 + 3 * 3 - 1  # the preset's outer_lr is an end of the range
    assert all(sum(a != b for a, b in zip(p, points[0], strict=True)) <= 1 for p in points)
    assert min(float(p[0]) for p in points) == 0.001 and max(float(p[0]) for p in points) == 0.3


def test_the_papers_grids_are_of_both_rates() -> None:
    _, points = rates.rates_around(config("la_maml"), num_values=2, grid_size=3)
    spaced = {"0.001", "0.0173205", "0.3"}
    assert set(itertools.product(spaced, repeat=2)) <= set(points)


def swept(preset: Config, grid_size: int) -> Sweep:
    """Return a sweep of La-MAML in which RA is 50 + 10 log10(lr_lr) + 2 log10(lr_init); one point diverged."""
    axes, points = rates.rates_around(preset, 4, grid_size)
    ra = np.array(
        [[50 + 10 * np.log10(float(p[1])) + 2 * np.log10(float(p[0]))] * 2 for p in points]
    )
    ra[points.index(("0.3", "0.3"))] = np.nan
    seconds = np.zeros(len(points))
    return Sweep(axes, points, (100, 101), {"ra": ra}, np.isnan(ra), seconds, seconds)


def test_the_numbers_of_the_text_are_read_off_the_lines_and_the_grid() -> None:
    preset = config("la_maml")
    found = rates.numbers("la_maml", swept(preset, 3), 3)
    eta = found["rates"]["lr_lr"]
    assert eta["range"] == pytest.approx(10 * np.log10(300))
    inside = [value for value in np.geomspace(0.001, 0.3, 4) if value >= 0.003]
    assert eta["range_two_orders"] == pytest.approx(10 * np.log10(max(inside) / min(inside)))
    assert eta["best"] == pytest.approx(0.3) and eta["rank_correlation"] == pytest.approx(1)
    assert eta["diverged_at"] == []
    assert found["rates"]["lr_init"]["diverged_at"] == [0.3]
    assert found["grid"]["best"] == pytest.approx([0.0173205, 0.3])
    assert found["grid"]["best_ra_where_both_are_equal"] == pytest.approx(
        50 + 12 * np.log10(0.0173205)
    )
    assert found["grid"]["diverged"] == 1


def test_preset_outside_the_papers_range_is_not_counted_in_it() -> None:
    sweep = swept(config("la_maml", "lr_lr=0.35"), 3)
    eta = rates.numbers("la_maml", sweep, 3)["rates"]["lr_lr"]
    assert "0.35" in rates.line(sweep, 1)[0]
    assert eta["range"] == pytest.approx(10 * np.log10(300)) and eta["best"] == 0.3


def test_robustness_runs_all_points_as_one_program(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(
        robustness,
        *TINY,
        "--learner=c_maml",
        "--points=2",
        "--grid_size=2",
        "--num_seeds=1",
        f"--workdir={tmp_path}",
    )
    printed = capsys.readouterr().out
    assert "| α (inner_lr) |" in printed and "| β (outer_lr) |" in printed
    assert "mnist_rotations, 1 seed." in printed
    with (tmp_path / "robustness.csv").open() as file:
        rates_of_all = list(csv.DictReader(file))
    assert [row["learner"] for row in rates_of_all] == ["C-MAML", "C-MAML"]
    assert [row["rate"] for row in rates_of_all] == ["α (inner_lr)", "β (outer_lr)"]
    with (tmp_path / "c_maml_grid.csv").open() as file:
        cells = [row[1:] for row in csv.reader(file)][1:]
    assert len(cells) == 2 and all(float(cell) >= 0 for row in cells for cell in row)
    assert len(list((tmp_path / "c_maml" / "units").iterdir())) == 1
    assert {path.name for path in tmp_path.glob("*.png")} == {"c_maml_rates.png", "c_maml_grid.png"}
    assert set(json.loads((tmp_path / "c_maml.json").read_text())["rates"]) == {
        "inner_lr",
        "outer_lr",
    }


# Accuracy against time.


@pytest.mark.parametrize(
    ("learner", "per_batch"),
    [("er", 10 + 10 * 10), ("c_maml", 10 + 10 * 20), ("online", 10)],
)
def test_a_run_costs_what_its_batches_cost(
    learner: str, per_batch: int, mnist: ImageDataset
) -> None:
    of = config(learner, "epochs=3", *(["glances=1"] if learner != "online" else []))
    assert gradients_per_run(of, of.make_benchmark(mnist)) == 3 * 2 * 3 * per_batch


def test_accuracy_is_shown_against_both_costs(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [flag for flag in TINY if not flag.startswith("--set")]
    run_script(
        time_accuracy,
        *tiny,
        "--learner=er",
        "--passes=1,2",
        "--num_seeds=1",
        f"--workdir={tmp_path}",
    )
    with (tmp_path / "time_accuracy.csv").open() as file:
        once, twice = csv.DictReader(file)
    assert (once["glances"], twice["glances"]) == ("1", "2")
    assert int(twice["example-gradients"]) == 2 * int(once["example-gradients"]) > 0
    assert float(once["train seconds"]) > 0 and (tmp_path / "time_accuracy.png").exists()
    assert float(once["RA"]) > 0 and "±" not in once["RA"]  # of one seed
    assert "| ER | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize("passes", ["", "1,1", "1,", "1,01"])
def test_passes_are_numbers_that_differ(
    passes: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(time_accuracy, *TINY[:3], f"--passes={passes}", f"--workdir={tmp_path / 'x'}")
    assert f"passes is {passes!r}; its values must be one or more" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_learners_that_are_not_told_the_task_are_left_out_by_name(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(time_accuracy, *TINY[:3], "--learner=icarl", f"--workdir={tmp_path / 'x'}")
    assert "needs to know the task at test" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_learner_looks_the_same_whichever_others_are_drawn() -> None:
    sweep = swept(config("la_maml"), 3)
    ones = np.ones(len(sweep.points))
    sweep = sweep._replace(train_seconds=ones)
    curves = {name: costs.Curve(sweep, [1] * len(ones)) for name in ("gem", "la_maml")}
    both, alone = (costs.plot(of, "") for of in (curves, {"la_maml": curves["la_maml"]}))
    assert colors(both, "La-MAML") == colors(alone, "La-MAML") != colors(both, "GEM")
