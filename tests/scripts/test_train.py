"""The training script: what it writes, how it resumes, and what it refuses before any work."""

import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from running import quick_environment, run_train

from experiments import presets, train
from experiments.runs.config import Config

ROOT = pathlib.Path(train.__file__).parents[1]
TINY = ("--packaged_mnist", "--smoke", "--set=inner_steps=2")
SPLIT, PERMUTED = ["--benchmark=split_cifar100"], ["--benchmark=mnist_permutations"]
Script = Callable[..., str]


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> Script:
    """Run the script with flags in this process; return what it printed."""

    def run(*arguments: str) -> str:
        run_train(*arguments)
        return capsys.readouterr().out

    return run


def test_run_writes_all_files_from_an_empty_folder(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "experiments.train", *TINY, "--workdir=results"]
    environment = {**quick_environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert "| La-MAML |" in done.stdout
    workdir = tmp_path / "results"
    written = {path.name for path in workdir.iterdir()}
    pictures = {"accuracy_matrix.png", "task_accuracy.png", "learning_rates.png"}
    files = {"config.json", "metrics.jsonl", "results.npz", "summary.json", "state"}
    assert written == files | pictures
    summary = json.loads((workdir / "summary.json").read_text())
    assert set(summary) >= {
        *("benchmark", "learner", "protocol", "semantics", "order", "num_seeds"),
        *(f"{name}_{kind}" for name in ("ra", "la", "bti", "fwt") for kind in ("mean", "std")),
        *(
            "diverged_seeds",
            "compile_seconds",
            "train_seconds",
            "eval_seconds",
            "updates_per_second",
        ),
    }
    results = np.load(workdir / "results.npz")
    assert results["accuracy"].shape == (2, 4, 3)
    assert results["loss"].shape == results["gradient_norm"].shape == (2, 3, 10)
    assert results["rate_mean"].shape == (2, 4, len(results["layer_names"]))
    assert summary["ra_mean"] == pytest.approx(100 * results["accuracy"][:, -1].mean(), abs=1e-4)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(line["task"], line["seed"]) for line in lines] == [
        (task, seed) for task in (1, 2, 3) for seed in (0, 1)
    ]
    config = json.loads((workdir / "config.json").read_text())
    assert config["settings"]["keywords"]["inner_steps"] == 2
    assert len(config["data"]["sha256"]) == 64


def test_killed_run_goes_on_to_the_same_bits(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*TINY, "--set=inner_steps=1", "--num_tasks=12", "--eval=needed")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_train(*arguments, f"--workdir={whole}")

    started = subprocess.Popen(
        [sys.executable, "-m", "experiments.train", *arguments, f"--workdir={broken}"],
        cwd=ROOT,
        env=quick_environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not (broken / "state" / "2").exists():
        assert started.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert not (broken / "summary.json").exists()
    capsys.readouterr()
    run_train(*arguments, f"--workdir={broken}")

    progress = capsys.readouterr().err
    assert " 0/12" in progress and " 1/12" not in progress, "it began with the first task"
    expected, found = np.load(whole / "results.npz"), np.load(broken / "results.npz")
    assert set(expected) == set(found)
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    assert (whole / "metrics.jsonl").read_text() == (broken / "metrics.jsonl").read_text()


def test_finished_run_is_shown_again_without_training(
    tmp_path: pathlib.Path, script: Script
) -> None:
    arguments = ("--learner=online", "--packaged_mnist", "--smoke", f"--workdir={tmp_path}")
    first = script(*arguments)
    before = (tmp_path / "results.npz").stat().st_mtime_ns

    assert script(*arguments) == first
    assert (tmp_path / "results.npz").stat().st_mtime_ns == before


def test_learners_are_compared_in_one_table(tmp_path: pathlib.Path, script: Script) -> None:
    printed = script(
        "--learner=er,online",
        "--packaged_mnist",
        "--smoke",
        "--eval=needed",
        f"--workdir={tmp_path}",
    )

    assert "| ER |" in printed and "| Online |" in printed
    assert str(tmp_path / "comparison.png") in printed
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    for learner in ("er", "online"):
        accuracy = np.load(tmp_path / learner / "results.npz")["accuracy"]
        assert np.isnan(accuracy[:, 1, 2]).all() and np.isfinite(accuracy[:, -1]).all()


def test_all_leaves_out_by_name_what_cannot_be_compared(
    tmp_path: pathlib.Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: presets.PRESETS["mnist_rotations"][name] for name in ("online", "hat")}
    monkeypatch.setitem(presets.PRESETS, "mnist_rotations", few)
    arguments = ("--learner=all", "--packaged_mnist", "--smoke", "--num_tasks=1")
    printed = script(*arguments, f"--workdir={tmp_path / 'shared'}")

    assert "| Online |" in printed and "| HAT |" not in printed
    assert "need to know the task at test (--heads=per_task): hat\n" in printed
    assert "no preset here: la_maml, sync_la_maml, c_maml, " in printed
    printed = script(*arguments, "--heads=per_task", f"--workdir={tmp_path / 'per_task'}")
    assert all(f"| {name} |" in printed for name in ("Online", "HAT"))
    assert "need to know" not in printed


def test_metrics_need_no_other_evaluations(tmp_path: pathlib.Path, script: Script) -> None:
    arguments = ("--learner=online", "--packaged_mnist", "--smoke", "--set=lr=0.05")
    summaries = []
    for which in ("all", "seen", "needed"):
        script(*arguments, f"--eval={which}", f"--workdir={tmp_path / which}")
        summaries.append(json.loads((tmp_path / which / "summary.json").read_text()))

    for name in ("ra_mean", "la_mean", "bti_mean", "fwt_mean", "ra_std"):
        assert summaries[0][name] == summaries[1][name] == summaries[2][name], name
    every, seen = (
        np.load(tmp_path / which / "results.npz")["accuracy"] for which in ("all", "seen")
    )
    rows, tasks = np.indices(every.shape[1:])
    evaluated = (rows == 0) | (tasks <= rows)
    np.testing.assert_array_equal(seen, np.where(evaluated, every, np.nan))


def test_iid_learns_all_tasks_at_once(tmp_path: pathlib.Path, script: Script) -> None:
    printed = script(
        *("--learner=iid", "--packaged_mnist", "--num_seeds=2", "--num_tasks=3"),
        *("--set=lr=0.05", "--eval=needed", f"--workdir={tmp_path}"),
    )

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "IID" in printed and summary["ra_mean"] > 60
    assert summary["la_mean"] is summary["bti_mean"] is summary["fwt_mean"] is None
    results = np.load(tmp_path / "results.npz")
    assert results["loss"].shape[:2] == (2, 3) and np.isfinite(results["loss"][:, 0]).all()
    assert np.ptp(results["accuracy"][:, -1], axis=1).max() < 0.1, "one task is learnt better"


def test_semantics_are_presets_of_keywords() -> None:
    spelled_out = [
        *("order=second", "meta_loss_at=last", "inner_lr_relu=false", "replacement=false"),
        *("age_inclusive=false", "push_epochs=every", "shuffle_glances=false"),
        *("lr_init=0.3", "lr_lr=0.15"),
    ]
    overrides = [f"--set={text}" for text in spelled_out]
    paper, overridden, released = map(configured, (["--semantics=paper"], overrides, []))
    assert paper.semantics == "paper" and overridden.semantics == released.semantics == "released"
    assert paper.keywords == overridden.keywords
    assert all(paper.keywords[name] != released.keywords[name] for name in ("order", "lr_init"))


def configured(arguments: list[str]) -> Config:
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["train", *arguments])
        ((config,), _) = train._configs()
    return config


def test_diverged_seeds_are_reported(tmp_path: pathlib.Path, script: Script) -> None:
    printed = script(
        "--learner=online", "--packaged_mnist", "--smoke", "--set=lr=1e30", f"--workdir={tmp_path}"
    )

    assert "seeds 0, 1 diverged" in printed
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["diverged_seeds"] == [0, 1]
    assert summary["ra_mean"] is None


def test_another_configuration_is_not_overwritten(
    tmp_path: pathlib.Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--learner=online", "--packaged_mnist", "--smoke", f"--workdir={tmp_path}")
    script(*arguments)
    before = (tmp_path / "summary.json").read_bytes()

    with pytest.raises(SystemExit) as stop:
        script(*arguments, "--set=lr=0.02")
    assert stop.value.code == 2
    assert "differs in keywords" in capsys.readouterr().err
    assert (tmp_path / "summary.json").read_bytes() == before

    script(*arguments, "--set=lr=0.02", "--overwrite")
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["keywords"]["lr"] == 0.02


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--benchmark=mnist_rotation"], "did you mean mnist_rotations"),
        (["--learner=la_mam"], "did you mean la_maml"),
        (["--learner=er,hat"], "--heads=per_task"),
        (["--learner=er,er"], "one or more names of learners or functions, different in more"),
        (["--set=lr_int=0.1"], "did you mean lr_init"),
        (["--num_tasks=5", "--set=num_tasks=3"], "num_tasks is given by --num_tasks and by --set"),
        (["--order=first", "--set=order=second"], "order is given by --order and by --set; it mu"),
        (["--set=lr_init"], "not of the form name=value"),
        (["--set=lr_init=fast"], "lr_init is 'fast'; it must be a finite number >= 0"),
        (["--set=lr_init=-1"], "lr_init is -1.0; it must be a finite number >= 0"),
        (["--set=clip_norm=0"], "clip_norm is 0.0; it must be a finite number > 0"),
        (["--set=glances=2.5"], "glances is '2.5'; it must be an integer"),
        (["--set=glances=0"], "glances is 0; it must be an integer >= 1"),
        (["--set=inner_steps=11"], "inner_steps is 11; it must be an integer in [1, 10]"),
        (["--set=meta_loss_at=never"], "meta_loss_at is 'never'; it must be every, last"),
        (["--learner=online", "--order=second"], "order"),
        (["--num_seeds=0"], "num_seeds is 0; it must be at least 1"),
        (["--seed=-1"], "seed is -1; it must be in [0, 2**32 - num_seeds]"),
        (["--num_tasks=0"], "num_tasks is 0; it must be an integer >= 1"),
        (
            ["--samples_per_task=10001"],
            "samples_per_task is 10001; it must be an integer in [1, 10000]",
        ),
        (["--samples_per_task=5"], "samples_per_task is 5; it must be at least the batch size, 10"),
        (["--eval_split=validation", "--samples_per_task=10"], "when a tenth is held out"),
        (["--heads=per_task", *SPLIT], "heads is 'per_task'; split_cifar100 has no heads"),
        (["--interpolation=nearest", *PERMUTED], "mnist_permutations has no interpolation"),
        (["--classes_per_task=2"], "mnist_rotations has no classes_per_task"),
        (["--classes_per_task=3", *SPLIT], "is 3; it must divide the number of classes, 100"),
        (["--num_tasks=21", *SPLIT], "num_tasks is 21; it must be an integer in [1, 20]"),
        (["--convolution=lax"], "the network of mnist_rotations has no convolution"),
        (["--convolution=lax", "--precision=bfloat16", *SPLIT], "precision is 'bfloat16'"),
        (["--learner=mer", "--protocol=multi", *SPLIT], "there are presets for la_maml"),
        (SPLIT, "packaged_mnist is given; split_cifar100 needs cifar100 in a data_dir"),
        (["--nopackaged_mnist", *SPLIT], "it must be a folder for cifar100."),
        (["--data_dir=/nowhere"], "packaged_mnist and data_dir are both given"),
        (["--nopackaged_mnist"], "data_dir is not given"),
        (["--nopackaged_mnist", "--data_dir=/nowhere"], "/nowhere"),
        (["stray"], "'stray' is not a flag"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_no_files(
    arguments: list[str],
    sentence: str,
    tmp_path: pathlib.Path,
    script: Script,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        script("--packaged_mnist", f"--workdir={tmp_path / 'run'}", *arguments)

    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and sentence in error and "\n" not in error
    assert not (tmp_path / "run").exists()


def test_a_workdir_is_asked_for(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script("--packaged_mnist")
    assert "workdir is not given" in capsys.readouterr().err
