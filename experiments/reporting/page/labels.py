"""What a page calls its runs, each unlike all others."""

import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Sequence

from experiments.reporting.page.run import Run


def labelled(runs: Sequence[Run]) -> list[Run]:
    """Return the runs, one or more, with what differs among all of them in the label of each.

    Protocol, data, length and split are told; those that would be called the same even so have their folders in the
    labels as well.
    """
    facts = [_facts(run) for run in runs]
    differs = [len(set(of_all)) > 1 for of_all in zip(*facts, strict=True)]
    names = [
        (run.label, *itertools.compress(of_run, differs))
        for run, of_run in zip(runs, facts, strict=True)
    ]
    # An id on the page has no capitals.
    keys = [" ".join(name).casefold() for name in names]
    count, folders = Counter(keys), [run.folder.resolve() for run in runs]
    root = pathlib.Path(os.path.commonpath(folders))
    labels = [
        _in_words(*name) if count[key] == 1 else _in_words(*name, str(folder.relative_to(root)))
        for name, key, folder in zip(names, keys, folders, strict=True)
    ]
    return [run._replace(label=label) for run, label in zip(runs, labels, strict=True)]


def _facts(run: Run) -> list[str]:
    """Return what makes runs of one benchmark hard to compare, in words."""
    num_tasks = run.results["accuracy"].shape[2]
    return [
        f"{run.summary['protocol']} pass",
        run.summary["data"],
        "1 task" if num_tasks == 1 else f"{num_tasks} tasks",
        f"{run.split} data",
    ]


def _in_words(learner: str, *remarks: str) -> str:
    return f"{learner} ({', '.join(remarks)})" if remarks else learner
