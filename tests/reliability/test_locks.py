"""Two processes on one work directory: the second is told of the first, and of none that is dead."""

import pathlib
import platform
import shutil
import subprocess
import sys
from typing import Any

import pytest
from running import run_train

from experiments.runs import locks, metric_lines

ROOT = pathlib.Path(locks.__file__).parents[2]
HOLD = """
import pathlib, sys
from experiments.runs import locks
with locks.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(folder: pathlib.Path) -> subprocess.Popen[str]:
    """Start a process that holds a folder's lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_first_is_named_until_it_is_dead(tmp_path: pathlib.Path) -> None:
    with holding(tmp_path) as first:
        named = rf"another process is at work \(host {platform.node()}, process {first.pid}\)"
        with pytest.raises(ValueError, match=named), locks.hold(tmp_path):
            pass
        first.kill()
        first.wait()
        assert (tmp_path / locks.NAME).exists(), "it had no time to tidy"
        with locks.hold(tmp_path):
            pass
    assert not (tmp_path / locks.NAME).exists()


def test_a_lock_that_was_removed_with_its_folder_takes_no_other_away(
    tmp_path: pathlib.Path,
) -> None:
    folder = tmp_path / "run"
    with locks.hold(folder):
        shutil.rmtree(folder)
        second = holding(folder)
    assert (folder / locks.NAME).exists()
    second.communicate("")
    assert second.returncode == 0 and not (folder / locks.NAME).exists()


@pytest.mark.parametrize(("at_work", "done"), [(True, 0), (True, 1), (False, 1)])
def test_a_run_whose_folder_was_removed_writes_nothing_into_anothers(
    at_work: bool,
    done: int,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither inside the first task nor after it; the other is at work there, or was."""
    folder, write, others = tmp_path / "run", metric_lines.write, list[Any]()
    theirs = {"config.json": '{"of": "another"}', "metrics.jsonl": ""}

    def then_taken(workdir: pathlib.Path, progress: Any) -> None:
        write(workdir, progress)
        if progress.done == done:
            shutil.rmtree(workdir)
            others.append(holding(workdir))
            for name, text in theirs.items():
                (workdir / name).write_text(text)
            if not at_work:
                others[0].communicate("")

    monkeypatch.setattr(metric_lines, "write", then_taken)
    with pytest.raises(SystemExit) as ended:
        run_train(
            *("--learner=online", "--packaged_mnist", "--num_seeds=1", "--num_tasks=2"),
            *("--samples_per_task=20", "--checkpoint_minutes=0", f"--workdir={folder}"),
        )
    named = (
        f"where another process is at work (host {platform.node()}, process {others[0].pid})"
        if at_work
        else "which was removed while its run was at work, and holds another run now"
    )
    error = capsys.readouterr().err
    assert ended.value.code == 2 and named in error.splitlines()[-1]
    found = {path.name: path.read_text() for path in folder.iterdir() if path.name != locks.NAME}
    assert found == theirs
    if at_work:
        others[0].communicate("")
    assert not (folder / locks.NAME).exists()
