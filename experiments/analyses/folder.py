"""What the folder of an analysis holds: what it is of, and its parts, each a picture and a table.

analysis.json is written when an analysis begins, and again, as finished, when it ends.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments.reporting import tables
from experiments.reporting.pictures import draw_anew
from experiments.reporting.summary import seeds_in_words
from experiments.runs import catalogue, identity, workdirs
from experiments.runs.config import Config
from lamaml_jax.datasets import ImageDataset

FILE = "analysis.json"


class About(NamedTuple):
    """What an analysis is of.

    Attributes:
        analysis: Its name, as that of the script.
        benchmark: Its name.
        learners: Their names; the folders of those named in `folders`, or none, hold what was run.
        seeds: Of every run.
        folders: Names inside the folder.
        options: What else tells how to read it.
        settings: Of `settings_of`.
        finished: Whether all of it is there.
    """

    analysis: str
    benchmark: str
    learners: list[str]
    seeds: list[int]
    folders: list[str]
    options: dict[str, Any]
    settings: dict[str, Any]
    finished: bool = False


class Part(NamedTuple):
    """A picture of an analysis, and a table.

    Attributes:
        name: Of their files, and unlike those of the other parts.
        title: What is shown.
        caption: What the table's numbers are.
        table: The headings first.
        plot: Draws the picture with a title above it, `narrow` for a phone.
        columns: The names of what is drawn.
        rows: What is drawn.
        remarks: Sentences on it.
    """

    name: str
    title: str
    caption: str
    table: list[list[str]]
    plot: Callable[..., Figure]
    columns: Sequence[str]
    rows: list[Sequence[Any]]
    remarks: Sequence[str] = ()


def settings_of(
    configs: Sequence[Config], dataset: ImageDataset | None, **more: Any
) -> dict[str, Any]:
    """Return all that determines what an analysis finds: settings by learner, the data, and `more` of its own."""
    found = {config.learner: identity.describe(config, dataset) for config in configs}
    of_learners = {learner: of["settings"] for learner, of in found.items()}
    return {**of_learners, "data": found[configs[0].learner]["data"]["sha256"], **more}


def check(root: pathlib.Path, about: About) -> None:
    """Check that a folder holds no analysis yet, or this very one.

    Raises:
        ValueError: It holds another analysis, or one with other settings.
    """
    path = root / FILE
    if not path.exists():
        return
    found = _read(path)
    if found.analysis != about.analysis:
        raise ValueError(
            f"workdir is {str(root)!r}, which holds an analysis of {found.analysis}; it must be a new folder, or one "
            f"of {about.analysis}."
        )
    if differing := _differences(found, about):
        raise ValueError(
            f"workdir is {str(root)!r}, which holds an analysis of {about.analysis} that differs in "
            f"{', '.join(differing)}; it must be a new folder, or one of the same settings."
        )


def begin(root: pathlib.Path, about: About) -> None:
    """Say in its folder what an analysis will be of; where this very analysis is finished, nothing changes.

    Raises:
        ValueError: As `check`.
    """
    check(root, about)
    path = root / FILE
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        workdirs.write_json(path, about._asdict())


def show(root: pathlib.Path, about: About, parts: Sequence[Part]) -> None:
    """Print parts of an analysis, and write and draw them."""
    seeds = seeds_in_words(len(about.seeds))
    for part in parts:
        title = f"{part.title}, {catalogue.short(about.benchmark)}, {seeds}"
        tables.write(root / f"{part.name}.csv", part.table)
        print(f"{title}. {part.caption}")
        print(tables.markdown(part.table))
        for remark in part.remarks:
            print(remark)
        for path in draw_anew(root / f"{part.name}.png", functools.partial(part.plot, title)):
            print(path)


def finish(root: pathlib.Path, about: About) -> None:
    """Say that all of an analysis is in its folder."""
    workdirs.write_json(root / FILE, about._replace(finished=True)._asdict())


def read(root: pathlib.Path) -> About:
    """Return what an analysis is of.

    Raises:
        ValueError: The file that says so is damaged.
    """
    return _read(root / FILE)


def _differences(found: About, wanted: About) -> list[str]:
    """Name what differs of two analyses, with both values; what only one of their learners has is not named."""
    ours, theirs = (
        json.loads(json.dumps(about._replace(finished=False, folders=[])._asdict()))
        for about in (found, wanted)
    )
    whole = {f"settings.{learner}" for learner in (*found.learners, *wanted.learners)}
    words = [
        f"{name.rpartition('.')[2]} ({was}, now {now})"
        for name, was, now in identity.differing(ours, theirs)
        if name not in whole
    ]
    return list(dict.fromkeys(words))


def _read(path: pathlib.Path) -> About:
    try:
        about = About(**json.loads(path.read_bytes()))
        lists = about.learners, about.seeds, about.folders
        if not all(isinstance(found, list) for found in lists):
            raise ValueError
        if not isinstance(about.settings, dict):
            raise ValueError
    except (OSError, ValueError, TypeError):
        raise ValueError(
            f"{path} is damaged; remove it, and the analysis's command writes it anew."
        ) from None
    return about
