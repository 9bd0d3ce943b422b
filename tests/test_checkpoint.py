"""States on disk: what is restored, from which folders, and what a damaged one says."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax import checkpoint
from lamaml_jax.files import write_whole


def a_state(**changes: Any) -> dict[str, Any]:
    state = {
        "params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros(0)},
        "rest": (np.int32([3]), np.asarray(jnp.ones(2, jnp.bfloat16)), None),
        "clock": {"train": 1.5},
    }
    return state | changes


@pytest.mark.parametrize(
    "name", ["plain", "run[1]", "100%", "a#b", "a?b", "grün", "a b", "back\\slash", "gs:"]
)
def test_any_folder_keeps_the_last_state(tmp_path: pathlib.Path, name: str) -> None:
    folder = tmp_path / name / "state"
    assert checkpoint.restore(folder, a_state()) is None
    for step in (1, 2):
        checkpoint.save(folder, step, a_state(clock={"train": float(step)}))

    step, restored = checkpoint.restore(folder, a_state())  # type: ignore[misc]
    assert [path.name for path in folder.iterdir()] == ["2"] and step == 2
    assert restored["clock"] == {"train": 2.0} and isinstance(restored["clock"]["train"], float)
    np.testing.assert_array_equal(restored["params"]["kernel"], a_state()["params"]["kernel"])
    assert restored["rest"][1].dtype == jnp.bfloat16 and restored["rest"][2] is None
    np.testing.assert_array_equal(restored["rest"][1], np.ones(2))


@pytest.mark.parametrize("content", ["", "half", "noise"])
def test_a_damaged_state_is_named(tmp_path: pathlib.Path, content: str) -> None:
    checkpoint.save(tmp_path, 7, a_state())
    whole = (tmp_path / "7").read_bytes()
    damaged = {"": b"", "half": whole[: len(whole) // 2], "noise": bytes(range(256))}
    (tmp_path / "7").write_bytes(damaged[content])
    with pytest.raises(ValueError, match="7 is damaged .*; remove it, and the run begins anew"):
        checkpoint.restore(tmp_path, a_state())


def test_a_changed_byte_is_found(tmp_path: pathlib.Path) -> None:
    checkpoint.save(tmp_path, 1, a_state())
    content = (tmp_path / "1").read_bytes()
    kernel = a_state()["params"]["kernel"].tobytes()
    (tmp_path / "1").write_bytes(content.replace(kernel, kernel[::-1]))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.restore(tmp_path, a_state())


@pytest.mark.parametrize(
    "params", [{"kernel": np.zeros((3, 2), np.float32)}, {"kernel": np.zeros((2, 3))}, {"w": None}]
)
def test_the_state_of_another_run_is_refused(
    tmp_path: pathlib.Path, params: dict[str, Any]
) -> None:
    checkpoint.save(tmp_path, 1, a_state(params={"kernel": np.zeros((2, 3), np.float32)}))
    with pytest.raises(ValueError, match="1 is damaged"):
        checkpoint.restore(tmp_path, a_state(params={**params, "more": np.zeros(1)}))


def test_an_interrupted_write_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), write_whole(path) as file:
        file.write(b"aft")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with write_whole(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
