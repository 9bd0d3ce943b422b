"""What a list of a table says of its runs, and which of them are collected and shown."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from collecting import described, finished, preset
from running import run_script

from experiments import collect, tables
from experiments.runs import workdirs
from experiments.tabling import cells, expected, showing, work
from lamaml_jax import checkpoint
from lamaml_jax.datasets import ImageDataset

CIFAR = ("--table=cifar100", "--num_seeds=1", "--list")


def minutes(printed: str) -> dict[str, float]:
    """Return the minutes that a list says are needed, in its order, by run."""
    found = re.findall(r"\| (\w+) \| [^|]* \| about ([\d.]+)", printed)
    return {name: float(number) for name, number in found}


@pytest.fixture
def committed(gathered: pathlib.Path) -> pathlib.Path:
    """Results of three learners, one of which is of three seeds."""
    row = "split_cifar100,{},per_task,{},{},,50.00,0.00,60.00,0.00,-10.00,0.00,{}\n"
    with gathered.open("a") as file:
        file.write(row.format("multi", "er", 3, 6.0))
        file.write(row.format("single", "c_maml", 1, 10.0))
        file.write(row.format("single", "la_maml", 1, 50.0))
    return gathered


def test_a_list_tells_done_from_missing_and_takes_minutes_as_measured(
    committed: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*CIFAR, f"--workdir={tmp_path / 'none'}", "--learner=la_maml,c_maml,er,gem,mer")
    run_script(tables, *command, "--minutes=60")
    printed = capsys.readouterr().out
    assert "| split_cifar100_single_la_maml | done, 1 seed | took 50.0 minutes |" in printed
    assert "| split_cifar100_multi_er | done, 3 seeds | took 6.0 minutes |" in printed
    # Ten epochs of one glance are as many updates as one of ten; C-MAML has two glances.
    assert minutes(printed) == {
        "split_cifar100_single_er": 2.0,
        "split_cifar100_multi_c_maml": 50.0,
        "split_cifar100_multi_la_maml": 50.0,
    }
    line = (
        "| split_cifar100_multi_{} | missing{} | about 50.0 minutes | measured in the single pass |"
    )
    assert line.format("la_maml", "") in printed
    assert line.format("c_maml", ", left out by --minutes=60") in printed
    assert "_gem | missing, left out by --minutes=60 | not known | pass --data_dir" in printed
    assert "What runs takes about 52 minutes" in printed
    assert "Left out, since they have no preset: split_cifar100_multi_mer" in printed
    run_script(tables, *command, "--num_seeds=3")
    printed = capsys.readouterr().out
    assert minutes(printed)["split_cifar100_single_c_maml"] == 30.0
    assert "_single_la_maml | missing | about 150.0 minutes (2.5 hours) |" in printed
    run_script(tables, *command, "--again")
    printed = capsys.readouterr().out
    assert "0 of 9 are done." in printed


def test_a_list_counts_what_is_left_of_a_run_and_refuses_another_in_its_folder(
    committed: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "split_cifar100_single_la_maml"
    finished(folder, [56.0, 58.0], 0)
    (folder / "summary.json").unlink()
    (folder / "state").mkdir()
    checkpoint.save(folder / "state", checkpoint.Place(15), {"w": np.zeros(1)})
    command = (*CIFAR, f"--workdir={tmp_path}", "--learner=la_maml", "--protocol=single", "--again")
    run_script(tables, *command)
    printed = capsys.readouterr().out
    assert "begun, 15 of 20 tasks" in printed and minutes(printed)[folder.name] == 25.0
    run_script(tables, *command, "--set=memory=7")
    printed = capsys.readouterr().out
    assert "Refused: split_cifar100_single_la_maml" in printed
    assert "differs in keywords.memory (200, now 7)" in printed


def test_what_is_done_inside_a_task_counts_where_the_images_tell_its_length(
    tmp_path: pathlib.Path, mnist: ImageDataset
) -> None:
    config = preset("mnist_permutations", "online", 0, num_tasks=2, samples_per_task=40)
    checkpoint.save(tmp_path / "state", checkpoint.Place(1, 3), {"w": np.zeros(1)})
    assert expected._share_left(config, tmp_path, mnist) == 1 / 8
    assert expected._share_left(config, tmp_path, None) == 1 / 2
    assert expected._share_left(config, tmp_path / "none", mnist) == 1


def test_what_is_measured_already_is_done_whatever_is_in_its_folder(
    committed: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = cells.Name("split_cifar100", "single", "la_maml")
    folder = name.folder(tmp_path)
    finished(folder, [56.0], 0)
    settings = workdirs.read_settings(folder)
    settings["keywords"]["memory"] = 7  # as another release may have it
    (folder / "config.json").write_text(described(settings))
    command = (*CIFAR, f"--workdir={tmp_path}", "--learner=la_maml", "--protocol=single")
    run_script(tables, *command)
    printed = capsys.readouterr().out
    assert f"| {folder.name} | done, 1 seed | took 50.0 minutes |" in printed
    assert "Refused" not in printed
    cell = cells.make(name, preset(*name[::2], 0), tmp_path, None)
    shown = showing.results([cell], collect.read_rows())
    assert "| La-MAML | 1 | 50.00 |" in shown, "what is measured, not what is in the folder"
    run_script(tables, *command, "--again")
    assert f"Refused: {folder.name}" in capsys.readouterr().out


def test_what_is_begun_goes_on_with_one_device_or_with_several(tmp_path: pathlib.Path) -> None:
    one, three = cells.Part((0,), tmp_path / "one"), cells.Part((0, 1, 2), tmp_path / "three")

    def begin(part: cells.Part, device: str) -> None:
        part.folder.mkdir(exist_ok=True)
        description = json.loads(described(dataclasses.asdict(preset("mnist_rotations", "er"))))
        (part.folder / "config.json").write_text(json.dumps(description | {"device": device}))

    assert cells.num_runs([one, three]) == 3 and cells.num_runs([one]) == 1
    begin(one, "several x cpu, cpu")  # beside more seeds
    assert cells.num_runs([one, three]) == 3 and cells.num_runs([one]) == 2
    begin(one, "1 x cpu, cpu")
    assert cells.num_runs([one, three]) == 1
    begin(three, "1 x cpu, cpu")  # beside the first
    assert cells.num_runs([one, three]) == 1
    (one.folder / "summary.json").write_text("{}")
    assert cells.num_runs([one, three]) == 1 and cells.num_runs([one]) == 0


def test_finished_runs_of_presets_are_collected_and_shown(
    committed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    name = cells.Name("split_cifar100", "single", "la_maml")
    finished(tmp_path / cells.label(name), [56.0], 0)
    one, three = (
        cells.make(name, preset(*name[::2], *range(number)), tmp_path, None) for number in (1, 3)
    )
    assert [folder.name for _, folder in three.ahead()] == [f"{cells.label(name)}_seeds_1_to_2"]
    work.gather([one, three], collect.read_rows(), again=False)
    assert collect.read_rows()[collect.key_of(one.config)]["ra_mean"] == "50.00", "as it was"
    assert work.gather([one], collect.read_rows(), again=True) == {}
    assert collect.read_rows()[collect.key_of(one.config)]["ra_mean"] == "56.00"
    finished(tmp_path / f"{cells.label(name)}_seeds_1_to_2", [59.0, 62.0], 1)
    work.gather([three], collect.read_rows(), again=False)
    shown = showing.results([three], collect.read_rows())
    assert "| La-MAML | 3 | 59.00 ± 2.45 | 50.45 ± 0.12 | 8.55 ± 2.33 | 61.18 ± 1.44 |" in shown
    assert "| -9.00 ± 0.20 | -2.18 |" in shown
    (fewer,) = work.gather([one], collect.read_rows(), again=True).values()
    assert "with 1 seed, and measured.csv has 3" in fewer
    images = "Each task: 2250 training images, evaluated on 500."
    assert images in showing.results([three], {})
    shown = showing.results([three], {}, [cells.label(name)])
    assert "| La-MAML | – | – | – | – | 61.18 ± 1.44 |" in shown, "what is refused is not shown"
    tuned = preset(*name[::2], 0)
    tuned = dataclasses.replace(tuned, keywords={**tuned.keywords, "memory": 7})
    assert cells.obstacles(cells.make(name, tuned, tmp_path, None)) == ["memory"]
