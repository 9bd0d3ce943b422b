"""--tensorboard: what the event files hold, after interruptions as well, and what stands in for tensorboardX."""

import importlib.util
import json
import pathlib
import struct
from collections import Counter

import numpy as np
import pytest
from running import Stopped, run_train, stop_after
from tensorboardX.proto.event_pb2 import Event

from experiments.runs import workdirs

TINY = ("--learner=la_er", "--packaged_mnist", "--smoke", "--samples_per_task=20")


def scalars(folder: pathlib.Path) -> Counter[tuple[str, int, float]]:
    """Return the name, step and value of all scalars in a folder's event files, and how often each is there."""
    found: Counter[tuple[str, int, float]] = Counter()
    for path in folder.iterdir():
        data, at = path.read_bytes(), 0
        while at < len(data):  # a length, its checksum, an event, its checksum
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            found.update((v.tag, event.step, v.simple_value) for v in event.summary.value)
            at += 12 + size + 4
    return found


def test_event_files_hold_what_was_measured_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        run_train(*TINY, f"--workdir={tmp_path}", "--tensorboard")
    assert {step for _, step, _ in scalars(tmp_path / "tensorboard" / "seed_1")} == {1, 2}
    run_train(*TINY, f"--workdir={tmp_path}", "--tensorboard")
    results = workdirs.read_results(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for i in (0, 1):
        found = scalars(tmp_path / "tensorboard" / f"seed_{i}")
        assert set(found.values()) == {1}
        values = {(name, step): value for name, step, value in found}
        for line in (line for line in lines if line["seed"] == i):
            for name in ("accuracy", "mean_accuracy_so_far", "loss", "lr_gradient_norm"):
                assert values[name, line["task"]] == pytest.approx(line[name], rel=1e-6)
        layers = results["layer_names"]
        means = [[values[f"rate_mean/{n}", t] for n in layers] for t in (1, 2, 3)]
        np.testing.assert_array_equal(np.float32(means), results["rate_mean"][i, 1:])
        assert len(values) == 3 * (5 + 2 * len(layers))
    run_train(*TINY, "--learner=online", "--num_tasks=1", f"--workdir={tmp_path}", "--overwrite")
    assert not (tmp_path / "tensorboard").exists()


def test_without_the_extra_nothing_starts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "tensorboardX" else found(n, *a)
    )
    with pytest.raises(SystemExit):
        run_train(*TINY, f"--workdir={tmp_path / 'run'}", "--tensorboard")
    error = capsys.readouterr().err.strip()
    assert error.endswith("pip install tensorboardX") and "\n" not in error
    assert not (tmp_path / "run").exists()
