"""Sweeps on Ray's cluster: the same bits as without it, whatever is killed; no process of Ray outlives a test."""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator

import processes
import pytest
from running import quick_environment

from experiments.process import signals
from lamaml_jax.training import saving

ROOT = pathlib.Path(__file__).parents[2]
SWEEP = ("--packaged_mnist", "--learner=online", "--grid=lr=0.03,0.1,1e30", "--num_seeds=2")
MARK = "OF_A_TEST_OF_LAMAML_JAX"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra cluster)"
    ),
    pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="processes are found in /proc"),
]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Ray as tests need it: on 127.0.0.1 alone, silent, in a folder of its own; and nothing of it is left."""
    mark = uuid.uuid4().hex
    folder = tempfile.mkdtemp(prefix="ray_")  # short, as its sockets' paths must be
    yield {
        **quick_environment(),
        MARK: mark,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": folder,
    }
    try:
        until(lambda: not processes.marked(MARK, mark), "Ray's processes end", 60)
    finally:
        for process in processes.marked(MARK, mark):
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def until(is_so: Callable[[], object], what: str, seconds: float = 400.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def swept(environment: dict[str, str], folder: pathlib.Path, *flags: str) -> subprocess.Popen[str]:
    """Begin a sweep in a process of its own."""
    return begun(environment, "sweep", folder, *SWEEP, *flags)


def begun(
    environment: dict[str, str], script: str, folder: pathlib.Path, *flags: str
) -> subprocess.Popen[str]:
    """Begin a script in a process of its own."""
    command = [sys.executable, "-m", f"experiments.{script}", *flags, f"--workdir={folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)  # type: ignore[call-overload]


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    """Return what a sweep has said in the end."""
    _, error = process.communicate(timeout=600)
    assert process.returncode == status, error
    assert "Traceback" not in error, error
    return error


def assert_same(found: pathlib.Path, expected: pathlib.Path) -> None:
    """Compare the files of two sweeps, all of their bits but times."""
    names = [path.relative_to(expected) for path in expected.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(p.relative_to(found) for p in found.rglob("*") if p.is_file())
    for name in names:
        if name.parent.name == "state" and name.suffix != ".json":
            a, b = (saving.read_arrays(folder / name) for folder in (found, expected))
            whole = [key for key in b if not key.startswith("['clock']")]
            # Those that diverged have other states where training ended there.
            assert all(a[key][:4].tobytes() == b[key][:4].tobytes() for key in whole), name
        elif name.name != "summary.json" and name.suffix != ".png":
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A sweep of a second, on one machine."""
    folder = tmp_path_factory.mktemp("short")
    finish(swept(quick_environment(), folder, *SHORT))
    return folder


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A sweep of some seconds, on one machine."""
    folder = tmp_path_factory.mktemp("long")
    finish(swept(quick_environment(), folder, *LONG))
    return folder


SHORT = ("--num_tasks=2", "--samples_per_task=20")
LONG = ("--num_tasks=20", "--samples_per_task=1000", "--set=batch_size=5")


def test_a_sweep_on_local_workers_is_the_sweep_without(
    short: pathlib.Path, environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    error = finish(swept(environment, tmp_path, *SHORT, "--cluster=local", "--unit_runs=2"))
    assert "3 of 3 units ended" in error
    assert_same(tmp_path, short)


@pytest.mark.parametrize(
    ("script", "flags"), [("train", "--learner=online,er"), ("alignment", "--learner=er")]
)
def test_other_scripts_on_local_workers_are_those_without(
    script: str, flags: str, environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    common = (flags, "--packaged_mnist", *SHORT, "--num_seeds=2")
    here, there = tmp_path / "here", tmp_path / "there"
    finish(begun(quick_environment(), script, here, *common))
    finish(begun(environment, script, there, *common, "--cluster=local", "--unit_runs=1"))
    assert_same(there, here)


OWN = """
import os
import numpy as np
from lamaml_jax import online, streams

def blobs():
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    tasks = [(rng.normal(size=(60, 5)), labels)]
    return streams.from_arrays(tasks, tasks)

def wrong(model, setting, *, lr: float):
    if os.environ.get("RAY_RAYLET_PID"):  # in a worker
        raise KeyError("a mistake")
    return online(model, setting, lr=lr)
"""


def test_a_script_by_its_path_has_its_modules_and_a_mistake_is_one_sentence(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    """Started in another folder; what is not mistaken ends first and is merged."""
    (tmp_path / "own.py").write_text(OWN)
    flags = ["--benchmark=own.py:blobs", "--learner=own.py:wrong,online", "--set=lr=0.1"]
    flags += ["--num_seeds=1", "--cluster=local", "--unit_cpus=1", "--workdir=run"]
    command = [sys.executable, str(ROOT / "experiments" / "train.py"), *flags]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "warning" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "error: unit run/wrong/cluster/0000 failed: KeyError: 'a mistake'"
    assert (tmp_path / "run" / "online" / "summary.json").exists()
    assert not (tmp_path / "run" / "online" / "cluster").exists()
    assert not (tmp_path / "run" / "wrong" / "summary.json").exists()


def test_a_node_that_is_killed_loses_nothing(
    long: pathlib.Path, environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    """Two nodes of one CPU; the second is killed, with its worker, while a unit of its own has a state."""
    command = [sys.executable, str(ROOT / "tests" / "support" / "two_nodes.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as nodes:  # type: ignore[call-overload]
        assert nodes.stdin is not None and nodes.stdout is not None
        at = json.loads(nodes.stdout.readline())
        flags = (f"--cluster={at['address']}", "--unit_runs=2", "--unit_cpus=1")
        process = swept(environment, tmp_path, *LONG, *flags)

        def at_work() -> list[int]:
            """Return the second node's worker, once it has learnt a task of a unit."""
            workers = [p for p in processes.children(at["raylet"]) if "run" in processes.command(p)]
            states = [p.parent for p in tmp_path.rglob("cluster/*/state/[0-9]*")]
            mine = [w for w in workers if any(is_held_by(s.parent, w) for s in states)]
            assert process.poll() is None, process.communicate()
            return mine

        until(at_work, "the second node has learnt a task")
        for victim in (at["raylet"], *at_work()):
            os.kill(victim, signal.SIGKILL)
        error = finish(process)
        nodes.stdin.close()
    assert "died; it goes on after " in error and "after 0 tasks" not in error, error
    assert_same(tmp_path, long)


def is_held_by(folder: pathlib.Path, process: int) -> bool:
    """Return whether a process holds a folder's lock."""
    try:
        return f"process {process}" in (folder / ".lamaml_jax.lock").read_text()
    except OSError:
        return False


def test_the_driver_may_be_killed_or_stopped_and_started_again(
    long: pathlib.Path, environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    flags = (*LONG, "--cluster=local", "--unit_runs=2", "--unit_cpus=1")

    def learnt() -> set[pathlib.Path]:
        return set(tmp_path.rglob("cluster/*/state/[0-9]*"))

    def at_work() -> set[str]:
        return {path.read_text() for path in tmp_path.rglob("cluster/*/.lamaml_jax.lock")}

    first = swept(environment, tmp_path, *flags)
    until(lambda: learnt() or first.poll() is not None, "a task is learnt")
    of_first = at_work()
    first.kill()
    first.communicate()
    assert learnt() and not (tmp_path / "sweep.csv").exists()
    # Its workers may be at work a moment longer; those of the second wait until they end.
    second = swept(environment, tmp_path, *flags)
    until(lambda: at_work() - of_first or second.poll() is not None, "a unit goes on")
    second.send_signal(signal.SIGTERM)
    assert "whose states are kept; the same command goes on" in finish(second, signals.UNFINISHED)
    assert not (tmp_path / "sweep.csv").exists()
    finish(swept(environment, tmp_path, *flags))
    assert_same(tmp_path, long)


GREEDY = """
import os, time
import numpy as np
from lamaml_jax import streams

def blobs():
    if os.environ.get("RAY_RAYLET_PID"):  # in a worker
        kept = []
        for _ in range({gib} * 16):
            kept.append(np.ones(2**23))  # 64 MiB
            time.sleep(0.05)
        time.sleep(30)
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    tasks = [(rng.normal(size=(60, 5)), labels) for _ in range(2)]
    return streams.from_arrays(tasks, tasks)
"""


def test_a_worker_out_of_memory_ends_in_one_sentence(
    environment: dict[str, str], tmp_path: pathlib.Path
) -> None:
    """Ray's monitor, told that memory ends 2 GiB from here, ends each try of a unit that takes 4 GiB."""
    total, free = (
        int(line.split()[1]) / 2**20
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
        if line.startswith(("MemTotal", "MemAvailable"))
    )
    if free < 5:
        pytest.skip(f"{free:.1f} GiB of memory are free, and 5 are needed")
    (tmp_path / "greedy.py").write_text(GREEDY.format(gib=4))
    environment["RAY_memory_usage_threshold"] = str((total - free + 2) / total)
    flags = [f"--benchmark={tmp_path / 'greedy.py'}:blobs", "--learner=online", "--num_seeds=1"]
    flags += ["--cluster=local", "--set=lr=0.1", f"--workdir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "experiments.train", *flags]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("its machine ran out of memory; it goes on after 0 tasks") == 3
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith("error: unit ") and "is given up after 4 tries, as memory is short" in last
    )
