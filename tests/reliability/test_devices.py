"""Runs over some of the local devices: what they give does not depend on how many there are."""

import pathlib
import subprocess
import sys
import types
from typing import Any

import pytest
from running import users_environment

from experiments.process import backend

ROOT = pathlib.Path(__file__).parents[2]
TINY = ("--packaged_mnist", "--learner=la_maml", "--num_tasks=2", "--samples_per_task=60")


@pytest.mark.parametrize(
    ("platform", "asked", "found", "reason"),
    [
        ("gpu", 8, 4, "devices is 8; it must be at most 4, as JAX has it (of a kind)."),
        ("tpu", 2, 4, "devices is 2; it must be 4, as JAX has it (of a kind)."),
        ("gpu", 4, 4, None),
        ("cpu", 1, 2, None),
    ],
)
def test_more_devices_than_there_are_are_refused(
    platform: str, asked: int, found: int, reason: str | None
) -> None:
    devices: list[Any] = [types.SimpleNamespace(platform=platform, device_kind="of a kind")] * found
    if reason is None:
        backend.require(asked, devices)
        return
    with pytest.raises(ValueError) as refused:
        backend.require(asked, devices)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("asked", "seeds", "taken"), [(1, 5, 2), (3, 5, 3), (8, 5, 5), (3, None, 3)]
)
def test_so_many_cpu_devices_are_made(
    asked: int, seeds: int | None, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(backend.jax.config, "update", settings.__setitem__)
    backend.configure("mnist_rotations", seeds, asked)
    assert settings["jax_num_cpu_devices"] == taken
    assert settings["jax_cuda_visible_devices"] == ",".join(map(str, range(asked)))


@pytest.mark.slow
def test_bits_do_not_depend_on_the_number_of_devices(tmp_path: pathlib.Path) -> None:
    """Five runs on one, two and three devices, as users have them."""
    found = []
    for devices in (1, 2, 3):
        folder = tmp_path / str(devices)
        command = [sys.executable, "-m", "experiments.train", *TINY, "--num_seeds=5"]
        command += [f"--devices={devices}", f"--workdir={folder}"]
        subprocess.run(command, cwd=ROOT, env=users_environment(), check=True, capture_output=True)
        found.append([(folder / name).read_bytes() for name in ("results.npz", "metrics.jsonl")])
    assert found[0] == found[1] == found[2]
