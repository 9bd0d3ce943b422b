"""Check on a finished run of your own that stopping and going on changes nothing: no bit of its results or its state.

    python -m experiments.verify runs/rotations --data_dir=DATA
    python -m experiments.verify runs/rotations --kills=5 --data_dir=DATA

The first goes on from the state before the last, and compares what comes out with what the run has. The second makes
the whole run anew, in processes that are killed at random instants. The run itself is only read. The exit status is 0
if all bits are the same, and 1 if not.
"""

import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/verify.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

import numpy as np
from absl import app, flags

from experiments.process import console, options, signals
from experiments.runs import finished, runner, workdirs
from lamaml_jax import checkpoint
from lamaml_jax.training import Interrupted, saving

_KILLS = flags.DEFINE_integer(
    "kills", 0, "Make the whole run anew, killed so many times at random instants", lower_bound=0
)
_IN = flags.DEFINE_string("in", None, "Where to make it: for the processes that are killed")


def script(argv: Sequence[str]) -> None:
    """Set the process up as the run's was, and verify."""
    finished.set_up(argv)
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Make the run, or its end, again, and compare."""
    with console.plain_errors():
        config, folder = finished.config(argv), console.path("run", argv[1])
        dataset = options.dataset(config)
        workdirs.check(folder, config, dataset)
        if _IN.value:
            runner.run(config, dataset, pathlib.Path(_IN.value))
            return
        with tempfile.TemporaryDirectory(prefix="verify_") as made:
            again = pathlib.Path(made) / "run"
            if _KILLS.value:
                _make_in_pieces(again)
            else:
                _begin_at_the_state_before_the_last(folder, again)
            try:
                runner.run(config, dataset, again)
            except Interrupted:  # whose state goes with the folder
                print(
                    "stopped; nothing of the repetition is kept, and the same command begins it anew.",
                    file=sys.stderr,
                )
                sys.exit(signals.UNFINISHED)
            differing = _differing(folder, again)
    if differing:
        sys.exit(f"not the same: {', '.join(differing)} of {folder} and of its repetition differ.")
    how = f"killed {_KILLS.value} times" if _KILLS.value else "from the state before the last"
    stateless = (
        "" if checkpoint.saved(folder / saving.CHECKPOINTS) else "; it has no states to compare"
    )
    print(f"The same bits: {folder}, made again {how}{stateless}.")


def _begin_at_the_state_before_the_last(folder: pathlib.Path, again: pathlib.Path) -> None:
    states = folder / saving.CHECKPOINTS
    places = checkpoint.saved(states)
    if len(places) < 2:
        raise ValueError(
            f"{states} holds {len(places)} states; it must hold two, or pass --kills=1."
        )
    (again / saving.CHECKPOINTS).mkdir(parents=True)
    for name in ("config.json", f"{saving.CHECKPOINTS}/{saving.DESCRIPTION}"):
        shutil.copy(folder / name, again / name)
    shutil.copy(states / places[-2].name, again / saving.CHECKPOINTS)
    print(f"going on after {places[-2].stage} tasks and {places[-2].batches} batches")


def _make_in_pieces(again: pathlib.Path) -> None:
    """Begin the run in processes that are killed, each some time after it has kept a state.

    Raises:
        ValueError: One ended by itself before.
    """
    command = [
        sys.executable,
        str(pathlib.Path(__file__).resolve()),
        *sys.argv[1:],
        f"--in={again}",
    ]
    states = again / saving.CHECKPOINTS
    for kill in range(1, _KILLS.value + 1):
        before = checkpoint.saved(states)[-1:]
        with tempfile.TemporaryFile("w+", errors="replace") as told:
            process = subprocess.Popen(command, stderr=told, stdout=subprocess.DEVNULL)
            try:
                while process.poll() is None and checkpoint.saved(states)[-1:] == before:
                    time.sleep(0.01)
                time.sleep(random.uniform(0, 1))
            finally:
                process.kill()
                status = process.wait()
            told.seek(0)
            said = told.read().strip().splitlines()[-1:]
        if status == 0:
            print(f"the run was finished before it could be killed for the {kill}. time")
            return
        if status > 0:
            reason = "".join(said).removeprefix("error: ")
            raise ValueError(f"the run made again ended by itself with status {status}: {reason}")
        place = (checkpoint.saved(states) or [checkpoint.Place(0)])[-1]
        print(f"killed after {place.stage} tasks and {place.batches} batches")


def _differing(folder: pathlib.Path, again: pathlib.Path) -> list[str]:
    """Return the names of what differs in any bit."""
    found, expected = (workdirs.read_results(of) for of in (again, folder))
    names = [n for n in {**expected, **found} if not _same(expected.get(n), found.get(n))]
    lines = [(of / "metrics.jsonl").read_bytes() for of in (folder, again)]
    names += ["metrics.jsonl"] if lines[0] != lines[1] else []
    states = []
    if not checkpoint.saved(folder / saving.CHECKPOINTS):
        return names
    for of in (folder, again):
        last = checkpoint.saved(of / saving.CHECKPOINTS)[-1]
        arrays = saving.read_arrays(of / saving.CHECKPOINTS / last.name)
        states.append({n: a for n, a in arrays.items() if n.startswith("['state']")})
    return names + [n for n in states[0] if not _same(states[0][n], states[1].get(n))]


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and a.tobytes() == b.tobytes()


if __name__ == "__main__":
    app.run(script)
