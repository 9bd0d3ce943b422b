"""Work directories: whose files they hold, who is at work there, and which run it is."""

import errno
import json
import os
import pathlib
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from running import run_train

from experiments.reporting import figures, pictures
from experiments.runs import identity, locks, workdirs
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax.datasets import ImageDataset

TINY = ("--learner=online", "--packaged_mnist", "--smoke", "--num_tasks=2", "--samples_per_task=20")


@pytest.fixture
def config() -> Config:
    return make_config(
        benchmark="mnist_rotations",
        learner="online",
        assignments=[],
        seeds=(0,),
        stream={},
        network={},
    )


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write(folder: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


# What is removed.


@pytest.mark.parametrize(
    ("files", "ours"),
    [
        ({"config.json": '{"mine": 1}', "state/thesis.txt": ""}, False),
        ({"config.json": "[1, 2"}, False),
        ({"config.json": '{"settings": {}, "data": {}, "versions": {"jax": "1"}}'}, False),
        ({"summary.json": "{}"}, False),
        ({"results.npz": "mine", "notes.txt": ""}, False),
        ({"state/1": "mine"}, False),
        ({"state/thesis.txt": "precious", "state/1": ""}, True),
        ({"state/2/thesis.txt": "precious"}, True),
    ],
)
@pytest.mark.parametrize("overwrite", [True, False])
def test_files_of_others_are_refused_and_stay(
    files: dict[str, str],
    ours: bool,
    overwrite: bool,
    tmp_path: pathlib.Path,
    config: Config,
    mnist: ImageDataset,
) -> None:
    write(tmp_path, files)
    if ours:
        workdirs.write_json(tmp_path / "config.json", identity.describe(config, mnist))
    before = contents(tmp_path)
    if ours and not overwrite:
        workdirs.check(tmp_path, config, mnist)  # what is in its way is only in the way of removal
    else:
        reserve = workdirs.reserve([(config, tmp_path)], mnist, overwrite=overwrite)
        with pytest.raises(ValueError, match=str(tmp_path)), reserve:
            pass
    assert contents(tmp_path) == before


def test_overwriting_leaves_what_no_run_wrote(
    tmp_path: pathlib.Path, config: Config, mnist: ImageDataset
) -> None:
    names = ("summary.json", "results.npz", "metrics.jsonl", "config.json")
    write(
        tmp_path, {name: "" for name in (*names, "state/3", "state/4.partial", "state/5.damaged")}
    )
    write(tmp_path, {"results.npz.partial": "", "notes.txt": "mine", "plots/a.png": "mine"})
    figures.Figure().savefig(tmp_path / "accuracy_matrix.png", metadata={"Title": "lamaml_jax"})
    mine = {"notes.txt", "plots/a.png", "accuracy_matrix.png"}
    accuracy, diverged = np.zeros((1, 2, 1)), np.zeros(1, bool)
    pictures.draw_run(tmp_path, {"accuracy": accuracy, "diverged": diverged}, "ours")
    assert (tmp_path / "task_accuracy.png").exists()
    workdirs.write_json(tmp_path / "config.json", identity.describe(config, mnist))
    with workdirs.reserve([(config, tmp_path)], mnist, overwrite=True):
        workdirs.claim(tmp_path, config, mnist)
    assert set(contents(tmp_path)) == {*mine, "config.json", "state/config.json"}


# Who is at work.


def test_a_second_process_is_told_of_the_first(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock of this process keeps out the script in this process as well."""
    write(tmp_path / "er", {locks.NAME: "host elsewhere, process 1"})  # as a killed one leaves it
    with locks.hold(tmp_path / "er"), locks.hold(tmp_path / "gem"), pytest.raises(SystemExit):
        run_train(*TINY, "--learner=online,er", f"--workdir={tmp_path}")
    error = capsys.readouterr().err
    assert f"process {os.getpid()})" in error and "elsewhere" not in error
    assert error.startswith("error: workdir is") and error.count("\n") == 1
    assert contents(tmp_path) == {}, "the first has ended, and leaves no lock"


def test_a_lock_outlives_no_other_file_of_its_name(tmp_path: pathlib.Path) -> None:
    with locks.hold(tmp_path):
        (tmp_path / locks.NAME).unlink()
        with locks.hold(tmp_path):
            assert (tmp_path / locks.NAME).exists()


def test_where_no_file_can_be_locked_runs_go_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with locks.hold(tmp_path):
        pass
    assert "cannot be locked: No locks available" in capsys.readouterr().err


# Which run it is.


@pytest.fixture
def restored_settings() -> Iterator[None]:
    before = dict(jax.config.values)
    yield
    for name in ("jax_threefry_partitionable", "jax_default_matmul_precision", "jax_enable_x64"):
        jax.config.update(name, before[name])
    jax.config.update("jax_default_prng_impl", before["jax_default_prng_impl"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_threefry_partitionable", False),
        ("jax_default_prng_impl", "rbg"),
        ("jax_enable_x64", True),
        ("jax_default_matmul_precision", "bfloat16"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_settings_that_change_numbers_are_part_of_a_run(
    name: str,
    value: Any,
    finished: bool,
    config: Config,
    mnist: ImageDataset,
    restored_settings: None,
) -> None:
    found, before = identity.describe(config, mnist), jax.config.values[name]
    assert identity.differences(found, found, finished=finished) == []
    jax.config.update(name, value)
    wanted = identity.describe(config, mnist)
    expected = [f"{name} ({before}, now {value})"]
    assert identity.differences(found, wanted, finished=finished) == expected


def test_only_a_run_that_goes_on_needs_the_same_programs(
    config: Config, mnist: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_b=1 --xla_a --xla_dump_to=here")
    found = identity.describe(config, mnist)
    assert found["flags"]["XLA_FLAGS"] == "--xla_a --xla_b=1"
    monkeypatch.setenv("XLA_FLAGS", "--xla_a")
    wanted = identity.describe(config, mnist)
    found["versions"]["jax"], found["device"] = "0.0.1", "8 x other"
    assert identity.differences(found, wanted, finished=True) == []
    assert identity.differences(found, wanted, finished=False) == [
        f"versions.jax (0.0.1, now {jax.__version__})",
        f"device (8 x other, now {wanted['device']})",
        "flags.XLA_FLAGS (--xla_a --xla_b=1, now --xla_a)",
    ]


@pytest.mark.parametrize(
    ("platform", "before", "now", "same"),
    [("cpu", 2, 8, True), ("cpu", 1, 2, False), ("cpu", 8, 1, False), ("gpu", 2, 8, False)],
)
def test_a_run_goes_on_with_other_cpu_cores(
    platform: str,
    before: int,
    now: int,
    same: bool,
    config: Config,
    mnist: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bits of two or more CPU devices are the same; those of one differ."""
    client = types.SimpleNamespace(platform_version="1")
    device = types.SimpleNamespace(platform=platform, device_kind="kind", client=client)

    def described(count: int) -> dict[str, Any]:
        monkeypatch.setattr(jax, "devices", lambda: [device] * count)
        monkeypatch.setattr(jax, "device_count", lambda: count)
        return identity.describe(config, mnist)

    differing = identity.differences(described(before), described(now), finished=False)
    assert (differing == []) is same and all(name.startswith("device (") for name in differing)


# What is damaged.


@pytest.mark.parametrize("name", ["config.json", "summary.json", "results.npz", "state"])
def test_a_damaged_file_is_named_with_what_to_do(
    name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*TINY, "--num_seeds=1", f"--workdir={tmp_path}")
    run_train(*arguments)
    printed = capsys.readouterr().out
    before = contents(tmp_path)
    path = tmp_path / ("state/2" if name == "state" else name)
    if name == "state":
        (tmp_path / "summary.json").unlink()
        (tmp_path / "state" / "1").unlink()  # or it would be gone on with
    if name == "results.npz":
        (tmp_path / "task_accuracy.png").unlink()
    path.write_bytes(path.read_bytes()[:50])
    if name == "config.json":
        (tmp_path / "state" / name).unlink()  # or it would be taken
    if name == "results.npz":
        run_train(*arguments)  # the numbers are in summary.json
        output = capsys.readouterr()
        assert output.out.splitlines()[:3] == printed.splitlines()[:3]
        error = output.err
        (tmp_path / "summary.json").unlink()
    else:
        with pytest.raises(SystemExit):
            run_train(*arguments)
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
    assert path.name in error and "remove" in error
    if name == "config.json":
        return
    path.unlink()
    (tmp_path / "metrics.jsonl").write_text('{"task": ')
    run_train(*arguments)
    after = contents(tmp_path)
    assert set(after) == set(before) and after["metrics.jsonl"] == before["metrics.jsonl"]
    with np.load(tmp_path / "results.npz") as results:
        assert results["accuracy"].shape == (1, 3, 2)
    assert json.loads(after["summary.json"])["ra_mean"] == pytest.approx(
        json.loads(before["summary.json"])["ra_mean"]
    )


@pytest.mark.parametrize("content", ["", "{}", "[]", "1", "null", '{"learner": "er"}', "[" * 10**5])
def test_a_summary_that_lacks_what_tables_need_is_damaged(
    content: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(ValueError, match=r"summary\.json is damaged; remove it"):
        workdirs.read_summary(tmp_path)


def test_damage_anywhere_in_the_results_is_named(tmp_path: pathlib.Path) -> None:
    workdirs.write_results(tmp_path, {"accuracy": np.arange(6.0)}, {})
    whole = (tmp_path / "results.npz").read_bytes()
    found = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        (tmp_path / "results.npz").write_bytes(damaged)
        try:
            workdirs.read_results(tmp_path)
        except ValueError as error:
            assert "results.npz is missing or damaged; remove it" in str(error)
            found += 1
    assert found > len(whole) / 2
