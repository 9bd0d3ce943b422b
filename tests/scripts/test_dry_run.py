"""What --dry_run says of a command, and that it runs and writes nothing."""

import pathlib
import re
import types
from collections.abc import Callable, Iterator

import pytest
from running import run_script, run_train

from experiments import alignment, sweep, tune
from experiments.presets.grids import GRIDS
from experiments.runs import dry_run

SHORT = ("--packaged_mnist", "--num_seeds=2", "--num_tasks=2", "--samples_per_task=40")
TINY = ("--learner=la_er", *SHORT, "--eval=needed")


def test_a_dry_run_says_what_would_run_and_what_is_left_of_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "PROBE_SECONDS", 0.01)
    workdir = tmp_path / "run"
    run_train(*TINY, f"--workdir={workdir}", "--dry_run")
    printed = capsys.readouterr().out
    assert not workdir.exists()
    # Two seeds, two tasks of four batches, each learnt in one step.
    assert re.search(
        r"\| la_er \| 2 \| 2 of 2 \| 16 \| \d+\.\d \| 1\.\d GiB \| \d+ MiB \|", printed
    )
    assert "p = 0.5 at best (paired test); p < 0.05 takes 6 seeds" in printed
    assert printed.endswith("Nothing was run.\n")
    run_train(*TINY, f"--workdir={workdir}")
    (workdir / "summary.json").unlink()
    (workdir / "state" / "2").unlink()
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    capsys.readouterr()
    run_train(*TINY, f"--workdir={workdir}", "--dry_run")
    assert "| la_er | 2 | 1 of 2 | 8 |" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before
    with pytest.raises(SystemExit):
        run_train(*TINY, "--set=memory=7", f"--workdir={workdir}", "--dry_run")
    assert "holds a run that differs in keywords.memory (200, now 7)" in capsys.readouterr().err
    run_train(*TINY, "--set=memory=7", f"--workdir={workdir}", "--dry_run", "--overwrite")
    assert "| la_er | 2 | 2 of 2 | 16 |" in capsys.readouterr().out, "nothing of it is done"
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_dry_sweep_probes_one_of_its_programs(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "PROBE_SECONDS", 0.01)
    probed, probe = [], dry_run.probe
    monkeypatch.setattr(dry_run, "probe", lambda *given: probed.append(1) or probe(*given))
    grid = ("--grid=lr_lr=0.1,0.2", "--grid=memory=10,20")
    run_script(
        sweep,
        *("--learner=la_er", *SHORT, *grid, f"--workdir={tmp_path / 'sweep'}", "--dry_run"),
        *("--report_best", "--report_seeds=3"),
    )
    printed = capsys.readouterr().out
    assert printed.count("| la_er | 4 | 2 of 2 |") == 2 and probed == [1]
    assert printed.count("| la_er | 3 | 2 of 2 |") == 1, "the best point, whichever it is"
    assert not (tmp_path / "sweep").exists()


def test_a_probe_sees_what_later_tasks_and_their_ends_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, batches = [0.0], [100, 1, 40, 100]

    def train(
        state: None, stage: int, first: int, most: Callable[[], int]
    ) -> Iterator[types.SimpleNamespace]:
        """Take 1 ms longer for a batch than in the task before, and 30 ms for a task's end."""
        while first < batches[stage]:
            stop = min(batches[stage], first + most())
            if first < batches[stage] - 1:
                stop = min(stop, batches[stage] - 1)
            clock[0] += 1e-3 * (1 + stage) * (stop - first) + 0.03 * (stop == batches[stage])
            yield types.SimpleNamespace(state=state, first=first, stop=stop)
            first = stop

    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: clock[0])
    program = types.SimpleNamespace(start=None, train=train)
    plan = types.SimpleNamespace(rows=batches, num_batches=lambda stage: batches[stage])
    whole = sum(1e-3 * (1 + stage) * number + 0.03 for stage, number in enumerate(batches))
    assert dry_run._train(program, plan, 0.1) == pytest.approx(whole / sum(batches))
    assert clock[0] < 0.5


def test_dry_tuning_probes_every_learner_and_runs_nothing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "PROBE_SECONDS", 0.01)
    probed, probe = [], dry_run.probe
    monkeypatch.setattr(
        dry_run, "probe", lambda of, *given: probed.append(of.learner) or probe(of, *given)
    )
    flags = ("--learner=online,bgd", "--set=hidden=8", f"--workdir={tmp_path / 'tune'}")
    run_script(tune, *SHORT, *flags, "--set=mc_samples=1", "--dry_run")  # which BGD alone has
    printed = capsys.readouterr().out
    assert probed == ["online", "bgd"]
    assert printed.endswith("Nothing was run.\n")
    for learner in probed:
        assert f"| {learner} | {2 * len(GRIDS[learner])} |" in printed, "every point, two seeds"
    assert not (tmp_path / "tune").exists()


def test_scripts_that_cannot_say_it_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_script(alignment, "--packaged_mnist", "--workdir=runs/none", "--dry_run")
    assert (
        "only train, sweep, tune and tables can say what they would run" in capsys.readouterr().err
    )
