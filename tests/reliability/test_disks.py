"""Disks that are full, read-only or gone while a run is at work: one sentence, and the same command goes on."""

import contextlib
import pathlib
import resource
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from blobs import FAST, NETWORK, blobs, trained
from helpers import assert_same_bits
from running import run_train

from experiments.runs import metric_lines, workdirs
from lamaml_jax import la_maml, train
from lamaml_jax.checkpoint import saved

ARGUMENTS: Any = {"seeds": (3, 5), "lr_init": [0.02, 0.1, 0.2], **FAST}
TINY = (
    *("--learner=la_er", "--packaged_mnist", "--num_seeds=1"),
    *("--num_tasks=2", "--samples_per_task=20", "--eval=needed"),
)


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)):
        pytest.skip("this process may mount no file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> bool:
    command = shutil.which("mount")
    done = command and subprocess.run([command, *arguments], capture_output=True, check=False)
    return bool(done) and done.returncode == 0


@contextlib.contextmanager
def full(disk: pathlib.Path) -> Iterator[None]:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def read_only(disk: pathlib.Path) -> Iterator[None]:
    assert _mount("-o", "remount,ro", str(disk))
    try:
        yield
    finally:
        assert _mount("-o", "remount,rw", str(disk))


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let no file grow beyond a few hundred bytes, as a quota does, where nothing can be mounted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("quick_compile")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("full", "No space left on device"),
        ("read_only", "Read-only file"),
        ("limited", "too large"),
    ],
)
def test_a_state_that_cannot_be_kept_costs_none_of_those_before(
    fault: str, reason: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path if fault == "limited" else request.getfixturevalue("disk")
    faults = {"full": full, "read_only": read_only, "limited": lambda _: limited()}
    with contextlib.ExitStack() as stack:

        def begin(progress: Any) -> None:
            if progress.done == 2:
                stack.enter_context(faults[fault](folder))

        with pytest.raises(OSError, match=f"^{folder}/states/2 cannot be written .*{reason}"):
            train(
                *(la_maml, NETWORK, blobs()),
                **ARGUMENTS,
                checkpoint_dir=folder / "states",
                on_task=begin,
            )
        assert [place.name for place in saved(folder / "states")] == ["1"]
    result = train(la_maml, NETWORK, blobs(), **ARGUMENTS, checkpoint_dir=folder / "states")
    assert_same_bits(result.record, trained().record)
    assert_same_bits(result.state, trained().state)


def test_results_that_cannot_be_written_are_written_by_the_same_command(
    disk: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results = workdirs.write_results

    def on_a_full_disk(*arguments: Any) -> None:
        with full(disk):
            write_results(*arguments)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(workdirs, "write_results", on_a_full_disk)
        run_train(*TINY, f"--workdir={disk / 'run'}")
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == (
        f"error: {disk / 'run' / 'results.npz'} cannot be written (No space left on device); what was kept before "
        "it is left as it was."
    )
    assert {path.name for path in (disk / "run").iterdir()} == {
        *("config.json", "metrics.jsonl", "state")
    }
    with read_only(disk), pytest.raises(SystemExit):
        run_train(*TINY, f"--workdir={disk / 'run'}")
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "Read-only file system" in error
    run_train(*TINY, f"--workdir={disk / 'run'}")
    with read_only(disk):
        run_train(*TINY, f"--workdir={disk / 'run'}")  # which only shows what is there


def test_a_folder_that_is_removed_after_the_first_task_is_whole_in_the_end(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = metric_lines.write

    def then_removed(workdir: pathlib.Path, progress: Any) -> None:
        write(workdir, progress)
        if progress.done == 1:
            shutil.rmtree(workdir)

    whole, removed = tmp_path / "whole", tmp_path / "removed"
    run_train(*TINY, f"--workdir={whole}")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(metric_lines, "write", then_removed)
        run_train(*TINY, f"--workdir={removed}")
    assert (
        "removed was removed while its run is at work; it is made anew" in capsys.readouterr().err
    )
    names = [{str(p.relative_to(run)) for p in run.rglob("*")} for run in (whole, removed)]
    assert names[0] == names[1]
    for name in ("metrics.jsonl", "results.npz", "config.json", "state/learner.json"):
        assert (whole / name).read_bytes() == (removed / name).read_bytes()


def test_a_folder_that_cannot_be_made_is_one_sentence(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        run_train(*TINY, f"--workdir={tmp_path / 'file' / 'run'}")
    error = capsys.readouterr().err.splitlines()
    assert error == [f"error: [Errno 20] Not a directory: '{tmp_path / 'file' / 'run'}'"]
