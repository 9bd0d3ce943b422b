"""Run what is missing of one of the paper's tables of results, and print the table with the paper's values.

    python -m experiments.tables --table=cifar100 --num_seeds=1 --data_dir=DATA --workdir=runs/tables

The runs are those of `experiments.train` with the presets, the cheapest first, each in a folder of its own,
WORKDIR/BENCHMARK_PROTOCOL_LEARNER; one that `experiments.train` has made there counts as well. What the committed
results have with as many seeds is not run again, whatever is in its folder, and a run of a preset is collected into
them when it is finished (see `experiments.collect`). The same command goes on where it was interrupted, and with more
seeds runs only these. --list runs nothing, and says what is done, what is missing and how long that takes.
"""

import pathlib
import sys
import time
from collections.abc import Mapping, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/tables.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments import collect
from experiments.cluster import options as cluster_options
from experiments.process import console, options
from experiments.runs.config import Config
from experiments.runs.making import assignments_for, make_config
from experiments.tabling import cells, showing, work
from experiments.tabling.cells import Cell, Name
from experiments.tabling.expected import cheapest_first, expect
from lamaml_jax.datasets import ImageDataset

_TABLE = flags.DEFINE_string(
    "table", None, "Which of the paper's tables: any of " + ", ".join(cells.TABLES)
)
_LIST = flags.DEFINE_bool(
    "list", False, "Run nothing: print what is done, what is missing, and how long it takes"
)
_MINUTES = flags.DEFINE_float(
    "minutes",
    None,
    "Begin no run that is expected to end later than so many minutes from the start; all by default",
    lower_bound=0.0,
)
_AGAIN = flags.DEFINE_bool(
    "again", False, "Run as well what the committed results have, as where a preset has changed"
)
_WORKDIR = "runs/tables"


def script(argv: Sequence[str]) -> None:
    """Set the process up and run what is missing."""
    cluster_options.set_up(_num_runs, lambda: cells.benchmarks(_TABLE.value)[0])
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Run what is missing of the table that the flags name, and print the table."""
    with console.plain_errors():
        options.refuse_arguments(argv, dry_run=True)
        begun = time.monotonic()
        names, without = _names()
        configs = [_config(name, names) for name in names]
        root, dataset = options.workdir(_WORKDIR), _dataset(configs[0])
        known = [cells.make(*of, root, dataset) for of in zip(names, configs, strict=True)]
        members = [cell for cell in known if not cell.config.lacks_task_ids()]
        rows = collect.read_rows()
        # Of what is collected nothing is to be run or read, so that any run may be in its folder.
        collected = [c for c in members if c.is_measured(rows) and not _AGAIN.value]
        others = [cell for cell in members if cell not in collected]
        refused = {cell.label(): text for cell in others if (text := work.refusal(cell, dataset))}
        sound = [cell for cell in others if cell.label() not in refused]
        done = [c for c in members if c in collected or (c in sound and not c.ahead())]
        missing = [cell for cell in sound if cell.ahead()]
        # Of a single run nobody asks how long it takes.
        is_asked = _is_list() or _MINUTES.value is not None or len(missing) > 1
        expected = expect(missing, rows, dataset if is_asked else None)
        ahead = cheapest_first(list(zip(missing, expected, strict=True)))
        notes = [
            _note("Left out, since they have no preset", [cells.label(name) for name in without]),
            _note(
                "Left out, since they need to know the task at test (--heads=per_task)",
                [cell.label() for cell in known if cell not in members],
            ),
            *(f"Refused: {label}: {text}" for label, text in refused.items()),
        ]
        if _is_list():
            print(showing.listed(done, ahead, rows, _MINUTES.value))
            _print(notes)
            print("Nothing was run.")
            return
        uncollected = work.gather(done, rows, again=_AGAIN.value)
        left = None if _MINUTES.value is None else _MINUTES.value - (time.monotonic() - begun) / 60
        outcome = work.perform(ahead, root, dataset, left)
        outcome.uncollected.update(uncollected)
        # What is asked for again is shown as it came out, whether or not it could be collected.
        rows = {} if _AGAIN.value else collect.read_rows()
        print(showing.results(members, rows, refused))
        _print([*notes, *_in_words(outcome, sound, rows)])
        if refused or outcome.failed or outcome.uncollected:
            sys.exit(1)


def _in_words(
    outcome: work.Outcome, members: Sequence[Cell], rows: Mapping[collect.Key, collect.Row]
) -> list[str]:
    """Return what is to be said below the table."""
    others = {
        cell.label(): ", ".join(obstacles)
        for cell in members
        if not cell.ahead() and (obstacles := cells.obstacles(cell))
    }
    differing = "; ".join(dict.fromkeys(others.values()))
    return [
        *(f"Failed: {label}: {reason}" for label, reason in outcome.failed.items()),
        *(f"Not collected: {label}: {reason}" for label, reason in outcome.uncollected.items()),
        _note("Diverged", showing.diverged(members, rows)),
        _note(
            f"Not begun, as {_MINUTES.value or 0:g} minutes are not enough",
            [f"{label} ({of.in_words()})" for label, of in outcome.not_begun.items()],
        ),
        _note(f"Not collected, as they differ from the committed runs in {differing}", [*others]),
    ]


def _note(what: str, labels: Sequence[str]) -> str:
    return f"{what}: {', '.join(labels)}" if labels else ""


def _print(notes: Sequence[str]) -> None:
    if lines := [note for note in notes if note]:
        print("", *lines, sep="\n")


def _names() -> tuple[list[Name], list[Name]]:
    given = {
        name: flags.FLAGS[name].value if flags.FLAGS[name].present else None
        for name in ("benchmark", "protocol")
    }
    learners = None if options.LEARNER.value is None else options.learners([])
    return cells.names(_TABLE.value, **given, learners=learners)


def _seeds() -> tuple[int, ...]:
    in_paper = 5 if _TABLE.value == "mnist" else 3
    return options.seeds(options.num_seeds(in_paper), first=0)


def _num_runs() -> int:
    """Return how many seeds are run beside each other, by what is in the folders; JAX has not started yet."""
    root, seeds = options.workdir(_WORKDIR), _seeds()
    parts = [part for name in _names()[0] for part in cells.divide(name.folder(root), seeds)]
    return cells.num_runs(parts) or len(seeds)


def _dataset(config: Config) -> ImageDataset | None:
    """Load the images, but for a list where they are not named."""
    is_named = options.PACKAGED.value or options.DATA_DIR.value is not None
    return options.dataset(config) if is_named or not _is_list() else None


def _config(name: Name, names: Sequence[Name]) -> Config:
    learners = list(dict.fromkeys(of.learner for of in names))
    return make_config(
        **options.settings() | name._asdict(),
        assignments=assignments_for(name.learner, learners, options.SET.value),
        seeds=_seeds(),
        eval="needed",  # by the metrics, which are all that a table has
    )


def _is_list() -> bool:
    return _LIST.value or options.DRY_RUN.value


if __name__ == "__main__":
    app.run(script)
