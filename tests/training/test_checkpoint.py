"""States on disk: what is restored, from which folders, and what a damaged one says."""

import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax import checkpoint
from lamaml_jax.checkpoint import Place
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
        checkpoint.save(folder, Place(step), a_state(clock={"train": float(step)}))
        checkpoint.save(folder, Place(step, 5), a_state(clock={"train": step + 0.5}))

    place, restored = checkpoint.restore(folder, a_state())  # type: ignore[misc]
    assert {path.name for path in folder.iterdir()} == {"2", "2.5"} and place == (2, 5)
    assert restored["clock"] == {"train": 2.5} and isinstance(restored["clock"]["train"], float)
    np.testing.assert_array_equal(restored["params"]["kernel"], a_state()["params"]["kernel"])
    assert restored["rest"][1].dtype == jnp.bfloat16 and restored["rest"][2] is None
    np.testing.assert_array_equal(restored["rest"][1], np.ones(2))


@pytest.mark.parametrize("content", ["", "half", "noise"])
def test_a_damaged_state_is_named(tmp_path: pathlib.Path, content: str) -> None:
    checkpoint.save(tmp_path, Place(7), a_state())
    whole = (tmp_path / "7").read_bytes()
    damaged = {"": b"", "half": whole[: len(whole) // 2], "noise": bytes(range(256))}
    (tmp_path / "7").write_bytes(damaged[content])
    with pytest.raises(ValueError, match="7 is damaged .*; remove it, and the run begins anew"):
        checkpoint.restore(tmp_path, a_state())


def test_a_changed_byte_is_found(tmp_path: pathlib.Path) -> None:
    checkpoint.save(tmp_path, Place(1), a_state())
    content = (tmp_path / "1").read_bytes()
    kernel = a_state()["params"]["kernel"].tobytes()
    (tmp_path / "1").write_bytes(content.replace(kernel, kernel[::-1]))
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.restore(tmp_path, a_state())


def test_damage_anywhere_is_named(tmp_path: pathlib.Path) -> None:
    """Of every byte one bit and all: NumPy and zipfile have a different error for nearly each field."""
    checkpoint.save(tmp_path, Place(1), {"a": np.arange(2.0), "b": 1.5})
    whole = (tmp_path / "1").read_bytes()
    found = 0
    for place in range(len(whole)):
        for flip in (1, 255):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            (tmp_path / "1").write_bytes(damaged)
            try:
                _, restored = checkpoint.restore(tmp_path, {"a": np.zeros(2), "b": 0.0})  # type: ignore[misc]
                assert restored["b"] == 1.5 and restored["a"].tolist() == [0, 1]  # as of a date
            except ValueError as error:
                assert str(error).startswith(f"{tmp_path / '1'} is ") and "remove it" in str(error)
                found += 1
    assert found > len(whole)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"kernel": np.zeros((3, 2), np.float32)}, "kernel"),
        ({"kernel": np.zeros((2, 3))}, "kernel"),
        ({"kernel": np.zeros((2, 3), np.float32), "more": np.zeros(1)}, "more"),
        ({}, "kernel"),
    ],
)
def test_the_state_of_another_run_is_refused(
    tmp_path: pathlib.Path, params: dict[str, Any], name: str
) -> None:
    checkpoint.save(tmp_path, Place(1), a_state(params={"kernel": np.zeros((2, 3), np.float32)}))
    with pytest.raises(ValueError, match=rf"1 is a state of another kind, .*'{name}'\]; it must"):
        checkpoint.restore(tmp_path, a_state(params=params))


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


def test_a_damaged_last_state_is_warned_of_and_the_one_before_taken(tmp_path: pathlib.Path) -> None:
    for place in (Place(1), Place(1, 30), Place(2)):
        checkpoint.save(tmp_path, place, a_state(clock={"train": float(place.batches)}))
    whole = (tmp_path / "2").read_bytes()
    (tmp_path / "2").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="2 is damaged .*; the state before it, .*/1.30, is taken"):
        place, restored = checkpoint.restore(tmp_path, a_state())  # type: ignore[misc]
    assert place == Place(1, 30) and restored["clock"] == {"train": 30.0}
    (tmp_path / "1.30").write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.restore(tmp_path, a_state())


@pytest.mark.filterwarnings("ignore:.* is damaged")
def test_damaged_states_count_no_longer(tmp_path: pathlib.Path) -> None:
    """Two whole ones are kept again after one was taken, whose damaged followers are warned of once."""
    for place in (Place(1), Place(2)):
        checkpoint.save(tmp_path, place, a_state())
    checkpoint.write(tmp_path / "3", a_state())
    for name in ("2", "3"):
        (tmp_path / name).write_bytes(b"")
    for _ in range(2):
        place, _ = checkpoint.restore(tmp_path, a_state())  # type: ignore[misc]
        assert place == Place(1) == checkpoint.saved(tmp_path)[-1]
    checkpoint.save(tmp_path, Place(1, 7), a_state())
    (tmp_path / "1.7").write_bytes(b"")
    assert checkpoint.restore(tmp_path, a_state())[0] == Place(1)  # type: ignore[index]
