"""The paper's tables: what of one is done and missing, in which order it runs, and what is said of it in the end."""

import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from collecting import described, finished, preset
from running import run_script, run_train

from experiments import collect, tables
from experiments.runs import dry_run, locks, workdirs
from experiments.tabling import cells, expected, showing, work
from lamaml_jax import checkpoint
from lamaml_jax.datasets import ImageDataset

pytestmark = pytest.mark.usefixtures("quick_compile")

TINY = ("--num_tasks=2", "--samples_per_task=20", "--set=hidden=8")
PERMUTED = ("--benchmark=mnist_permutations", *TINY)
OF_TABLE = ("--table=mnist", *PERMUTED)
TABLE = (*OF_TABLE, "--packaged_mnist")
CIFAR = ("--table=cifar100", "--num_seeds=1", "--list")
ONLINE, ER = "mnist_permutations_single_online", "mnist_permutations_single_er"


@pytest.fixture(autouse=True)
def brief_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "PROBE_SECONDS", 0.01)


def files(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def accuracy(folder: pathlib.Path) -> np.ndarray:
    with np.load(folder / "results.npz") as results:
        return results["accuracy"]


def listed(capsys: pytest.CaptureFixture[str], workdir: pathlib.Path, *more: str) -> str:
    """Return the list of Online's runs, for which no data are needed."""
    capsys.readouterr()
    run_script(tables, *OF_TABLE, "--learner=online", f"--workdir={workdir}", "--list", *more)
    return capsys.readouterr().out


def minutes(printed: str) -> dict[str, float]:
    """Return the minutes that a list says are needed, in its order, by run."""
    found = re.findall(r"\| (\w+) \| [^|]* \| about ([\d.]+)", printed)
    return {name: float(number) for name, number in found}


def test_a_table_is_run_cheapest_first_and_only_once(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*TABLE, "--learner=er,online", "--num_seeds=1", f"--workdir={tmp_path}")
    slow = ("--set=glances=300",)  # of ER alone
    run_script(tables, *command, *slow)
    out, progress = capsys.readouterr()
    assert "probing er on mnist_permutations" in progress
    assert progress.index(f"[1 of 2] {ONLINE}, about") < progress.index(f"[2 of 2] {ER}, about")
    assert re.search(r"mnist_permutations, single pass\n\n\| learner .*paper's RA", out)
    assert re.search(r"\| ER \| 1 \| \d+\.\d\d \|.*\n\| Online \| 1 \| \d+\.\d\d \|", out)
    assert "differ from the committed runs in num_tasks, samples_per_task, hidden" in out
    before = files(tmp_path)
    run_script(tables, *command, *slow)
    again, progress = capsys.readouterr()
    assert again == out and "[1 of" not in progress and "probing" not in progress
    assert files(tmp_path) == before


def test_a_run_that_train_has_made_counts_and_more_seeds_go_on_from_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online")
    run_train(*of_train, "--num_seeds=1", f"--workdir={tmp_path / ONLINE}")
    before = files(tmp_path)
    assert f"| {ONLINE} | done, 1 seed |" in listed(capsys, tmp_path, "--num_seeds=1")
    assert f"| {ONLINE} | seeds 1, 2 missing |" in listed(capsys, tmp_path, "--num_seeds=3")
    command = (*TABLE, "--learner=online", f"--workdir={tmp_path}")
    run_script(tables, *command, "--num_seeds=3")
    shown = capsys.readouterr().out
    assert before.items() <= files(tmp_path).items()
    run_train(*of_train, "--num_seeds=3", f"--workdir={tmp_path / 'whole'}", "--eval=needed")
    (ra,) = re.findall(r"\| Online \| ([^|]*) \|", capsys.readouterr().out)
    assert f"| Online | 3 | {ra} |" in shown
    whole, last = accuracy(tmp_path / "whole"), [0, -1]  # rows that both evaluate
    np.testing.assert_array_equal(whole[:1, last], accuracy(tmp_path / ONLINE)[:, last])
    np.testing.assert_array_equal(whole[1:], accuracy(tmp_path / f"{ONLINE}_seeds_1_to_2"))


def test_seeds_that_another_process_has_run_meanwhile_are_not_all_that_were_asked_for(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = work.perform
    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online", "--num_seeds=1")

    def meanwhile(*given: Any) -> work.Outcome:
        run_train(*of_train, f"--workdir={tmp_path / ONLINE}")
        return perform(*given)

    monkeypatch.setattr(work, "perform", meanwhile)
    run_script(tables, *TABLE, "--learner=online", "--num_seeds=2", f"--workdir={tmp_path}")
    assert len(accuracy(tmp_path / ONLINE)) == 1
    assert len(accuracy(tmp_path / f"{ONLINE}_seeds_1_to_1")) == 1


def test_what_was_stopped_goes_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = checkpoint.save

    def ask_to_stop(directory: pathlib.Path, place: Any, tree: Any) -> None:
        save(directory, place, tree)
        signal.raise_signal(signal.SIGTERM)

    of_train = ("--packaged_mnist", *PERMUTED, "--learner=online", "--num_seeds=1", "--eval=needed")
    run_train(*of_train, f"--workdir={tmp_path / 'whole'}")
    command = (*TABLE, "--learner=online", "--num_seeds=1", f"--workdir={tmp_path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", ask_to_stop)
        with pytest.raises(SystemExit) as stopped:
            run_script(tables, *command)
    assert stopped.value.code == 75
    assert f"| {ONLINE} | begun, 1 of 2 tasks |" in listed(capsys, tmp_path, "--num_seeds=1")
    run_script(tables, *command)
    np.testing.assert_array_equal(accuracy(tmp_path / ONLINE), accuracy(tmp_path / "whole"))


def test_what_fails_diverges_or_is_refused_is_named_and_stops_nothing_else(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*TABLE, "--learner=online,ewc,er", "--num_seeds=2", f"--workdir={tmp_path}")
    (tmp_path / "mnist_permutations_single_ewc").write_text("no folder")
    with locks.hold(tmp_path / ER), pytest.raises(SystemExit) as ended:
        run_script(tables, *command, "--set=lr=1e30")
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert re.search(
        r"Refused: mnist_permutations_single_ewc: .* which is not a folder\.\n", printed
    )
    assert re.search(rf"Failed: {ER}: .* where another process is at work", printed)
    assert f"Diverged: {ONLINE} (seed 0, 1)" in printed
    assert "| Online | 2 | – | – | – |" in printed and "| ER | – | – | – | – |" in printed


def test_the_script_lists_a_table_without_data_from_any_folder(tmp_path: pathlib.Path) -> None:
    script = pathlib.Path(tables.__file__)
    command = [sys.executable, str(script), "--table=tinyimagenet", "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "| split_tiny_imagenet_single_mer | " in done.stdout
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--table=cifar",), "'cifar' is not a table; did you mean cifar100?"),
        ((), "table is not given; it must be one of mnist, cifar100, tinyimagenet."),
        (
            ("--table=mnist", "--protocol=multi"),
            "protocol is 'multi'; the table mnist is of the single pass.",
        ),
        (
            ("--table=mnist", "--benchmark=split_cifar100"),
            "'split_cifar100' is not a benchmark of the table mnist",
        ),
        (
            ("--table=tinyimagenet", "--learner=la_der"),
            "learner is 'la_der'; on split_tiny_imagenet",
        ),
        (("--table=tinyimagenet", "--learner=hatt"), "'hatt' is not a learner; did you mean hat?"),
        (("--table=cifar100",), "data_dir is not given; it must be a folder for cifar100."),
        (("--table=cifar100", "--packaged_mnist"), "split_cifar100 needs cifar100 in a data_dir"),
        (("--table=cifar100", "--heads=shared"), "heads is 'shared'; split_cifar100 has no heads"),
    ],
)
def test_what_cannot_be_is_named_in_one_sentence(
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_script(tables, *arguments, f"--workdir={tmp_path}")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and sentence in line
