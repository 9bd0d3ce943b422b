"""A clock that is set back while a run is at work: the same bits, and states are kept as before."""

import pathlib
from typing import Any

import pytest
from absl import flags
from blobs import FAST, NETWORK, blobs, trained
from helpers import assert_same_bits
from running import run_train

from lamaml_jax import checkpoint, la_maml, train, training


class SetBack(training.Clock):
    """A clock on which a second passes whenever it is looked at, until it is set back by an hour."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = 0

    def now(self) -> float:
        self.looked += 1
        return self.looked - (3600.0 if self.looked > 5 else 0.0)


@pytest.mark.usefixtures("quick_compile")
def test_a_clock_set_back_changes_no_bit_and_stops_no_checkpoints(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, save = [], checkpoint.save

    def note(directory: pathlib.Path, place: checkpoint.Place, tree: Any) -> None:
        kept.append(place)
        save(directory, place, tree)

    monkeypatch.setattr(checkpoint, "save", note)
    result = train(
        *(la_maml, NETWORK, blobs()),
        **{"seeds": (3, 5), "lr_init": [0.02, 0.1, 0.2], **FAST},
        checkpoint_dir=tmp_path,
        checkpoint_seconds=3,
        clock=SetBack(),
    )
    assert sum(place.batches > 0 for place in kept) >= 3
    assert_same_bits(result.record, trained().record)
    assert_same_bits(result.state, trained().state)


@pytest.mark.parametrize("minutes", ["nan", "inf", "-1"])
def test_states_are_kept_after_a_time_that_comes(minutes: str) -> None:
    with pytest.raises(flags.Error, match="it must be a finite number of at least 0"):
        run_train(f"--checkpoint_minutes={minutes}", "--workdir=none")
