"""The tables in Markdown files, written from the results that are committed as CSV files.

A table stands between two comments, of which the first says what it is:

    <!-- table: measured benchmark=mnist_rotations -->
    <!-- end -->

Its kind is one of TABLES, whose functions' docstrings say what the arguments are.
"""

import pathlib
import re
from collections.abc import Callable, Mapping

from experiments import presets
from experiments.reporting.summary import TITLES
from experiments.reporting.tables import markdown

_MARKED = re.compile(r"(<!-- table: (?P<table>.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_ROOT = pathlib.Path(__file__).parents[2]

Row = Mapping[str, str]

_BENCHMARKS = {
    "mnist_rotations": "Rotations",
    "mnist_permutations": "Permutations",
    "mnist_many_permutations": "Many Permutations",
    "split_cifar100": "Split CIFAR-100",
    "split_tiny_imagenet": "Split TinyImageNet",
}
_HEADINGS = {
    "set": "`--set`",
    "initializer": "weights",
    "precision": "products",
    "train_seconds": "training seconds",
}
_STORAGE = _ROOT / "docs" / "measured" / "storage_rotations.csv"
_NEEDS = {
    "task_data": "a task's data at its end",
    "task_id": "the task at test",
    "one_task": "one task per batch",
    "mixed_stream": "all tasks at once",
}
_KEYS = ("benchmark", "protocol", "heads", "learner")
_OTHERWISE = {"kaiming": "Kaiming's weights", "earlier": "earlier code"}
"""Which of the further results stand in for one that is not measured yet, and what is said of them."""


def renew(text: str) -> str:
    """Return a Markdown text with all its tables written anew.

    Raises:
        ValueError: A comment names no table, or a table without results.
    """
    return _MARKED.sub(lambda m: f"{m[1]}\n{_table(m['table'])}\n\n{m[3]}", text)


def measured(
    benchmark: str, protocol: str = "single", heads: str = "", learners: str = ""
) -> list[list[str]]:
    """Return the presets' results beside the paper's, by RA, IID last.

    What is not measured yet is taken from the further results, and says so.

    Args:
        benchmark: Its name.
        protocol: Its name.
        heads: Its name; the benchmark's own, which are the paper's, by default.
        learners: Those that are shown, in order, with commas between; all by default.
    """
    own_heads = "shared" if benchmark.startswith("mnist") else "per_task"
    heads = heads or own_heads
    rows = {}
    for row in [
        *presets.read_table(presets.FURTHER_RESULTS),
        *presets.read_table(presets.MEASURED_RESULTS),
    ]:
        if [row[key] for key in _KEYS[:3]] == [benchmark, protocol, heads] and (
            row.get("what", "") in ("", *_OTHERWISE)
        ):
            rows[row["learner"]] = row  # of two rows the measured one
    shown = learners.split(",") if learners else sorted(rows, key=lambda name: _rank(rows[name]))
    table = [["learner", "RA", "LA", "BTI", "paper's RA", "paper's BTI"]]
    for learner in shown:
        row = rows[learner]
        paper = _paper(benchmark, protocol, learner) if heads == own_heads else {}
        note = f" ({_OTHERWISE[row['what']]})" if "what" in row else ""
        cells = [_cell(row, name) for name in ("ra", "la", "bti")]
        table.append([TITLES[learner] + note, *cells, _cell(paper, "ra"), _cell(paper, "bti")])
    return table


def further(what: str, by: str = "learner", also: str = "", paper: str = "") -> list[list[str]]:
    """Return further results in the order of their file, or by RA where they are those of learners.

    Args:
        what: Which of them.
        by: The columns that tell them apart, with commas between.
        also: More columns of numbers.
        paper: Not empty for a last row of the paper's values, whose LA is RA less BTI.
    """
    rows = [row for row in presets.read_table(presets.FURTHER_RESULTS) if row["what"] == what]
    if by == "learner":
        rows.sort(key=_rank)
    names, more = by.split(","), also.split(",") if also else []
    headings = [_HEADINGS.get(name, name) for name in (*names, *more)]
    table = [[*headings[: len(names)], "RA", "LA", "BTI", *headings[len(names) :]]]
    for row in rows:
        cells = [_cell(row, name) for name in ("ra", "la", "bti")]
        table.append([*(_word(row[n]) for n in names), *cells, *(row[n] for n in more)])
    if paper:
        values = _paper(*(rows[0][key] for key in ("benchmark", "protocol", "learner")))
        learnt = f"{float(values['ra_mean']) - float(values['bti_mean']):.2f}"
        blank = [""] * (len(names) - 1)
        table.append(["paper", *blank, _cell(values, "ra"), learnt, _cell(values, "bti")])
    return table


def weights() -> list[list[str]]:
    """Return the presets that start from Xavier's weights beside the same from Kaiming's, and the paper's."""
    headings = ["benchmark", "learner", "RA, xavier_uniform", "BTI", "RA, kaiming", "BTI"]
    table = [[*headings, "paper's RA", "paper's BTI"]]
    xavier = {
        tuple(row[key] for key in _KEYS): row
        for row in presets.read_table(presets.MEASURED_RESULTS)
    }
    for row in presets.read_table(presets.FURTHER_RESULTS):
        if row["what"] != "kaiming" or row["heads"] != "shared":
            continue
        ours = xavier.get(tuple(row[key] for key in _KEYS))
        paper = _paper(*(row[key] for key in ("benchmark", "protocol", "learner")))
        first = [_cell(ours, "ra"), _cell(ours, "bti")] if ours else ["not measured yet", "–"]
        others = [_cell(values, name) for values in (row, paper) for name in ("ra", "bti")]
        table.append([_BENCHMARKS[row["benchmark"]], TITLES[row["learner"]], *first, *others])
    return table


def choices() -> list[list[str]]:
    """Return what each learner needs, keeps, takes and retains in a single pass, by RA on Rotations, IID last."""
    columns = {
        "RA, Rotations": measured("mnist_rotations"),
        "Permutations": measured("mnist_permutations"),
        "Many Permutations": measured("mnist_many_permutations"),
        "Permutations, a head per task": measured("mnist_permutations", heads="per_task"),
    }
    retained = {heading: {row[0]: row[1] for row in table} for heading, table in columns.items()}
    minutes = {
        TITLES[row["learner"]]: row["minutes"]
        for row in presets.read_table(presets.MEASURED_RESULTS)
        if (row["benchmark"], row["protocol"]) == ("mnist_rotations", "single")
    }
    state = {row["learner"]: row for row in presets.read_table(_STORAGE)}
    ranked = [row[0] for table in columns.values() for row in table[1:]]
    learners = dict.fromkeys([*ranked, *state])
    table = [["learner", "needs", "keeps, KB", "minutes", *columns]]
    for name in sorted(learners, key=lambda name: name == "IID"):
        needs = [_NEEDS.get(word, word) for word in state[name]["needs"].split(", ")]
        size = sum(int(number) for part, number in state[name].items() if part.endswith("KB"))
        cells = [values.get(name, "–") for values in retained.values()]
        table.append([name, ", ".join(needs), str(size), minutes.get(name, "–"), *cells])
    return table


def file(path: str, columns: str = "") -> list[list[str]]:
    """Return a committed CSV file as it is.

    Args:
        path: From the root of the repository.
        columns: Those that are shown, in order, with commas between; all by default.
    """
    rows = presets.read_table(_ROOT / path)
    names = columns.split(",") if columns else list(rows[0])
    return [names, *([row[name] for name in names] for row in rows)]


TABLES: dict[str, Callable[..., list[list[str]]]] = {
    function.__name__: function for function in (measured, further, weights, choices, file)
}


def _table(description: str) -> str:
    kind, *arguments = description.split()
    try:
        rows = TABLES[kind](**dict(text.split("=", 1) for text in arguments))
    except (KeyError, TypeError, ValueError, IndexError, OSError):
        rows = []
    if len(rows) < 2:
        raise ValueError(f"{description!r} is no table, or one without results.")
    return markdown(rows)


def _paper(benchmark: str, protocol: str, learner: str) -> Row:
    for row in presets.read_table(presets.PAPER_RESULTS):
        if [row["benchmark"], row["protocol"], row["learner"]] == [benchmark, protocol, learner]:
            return row
    return {}


def _rank(row: Row) -> tuple[bool, float]:
    return row["learner"] == "iid", -float(row["ra_mean"])


def _cell(row: Row, name: str) -> str:
    """Return a mean ± standard deviation over seeds, if there are several."""
    mean, std = row.get(f"{name}_mean", ""), row.get(f"{name}_std", "")
    if mean in ("", "nan"):
        return "–"
    return mean if row.get("num_seeds") == "1" or not std else f"{mean} ± {std}"


def _word(text: str) -> str:
    return TITLES.get(text) or _BENCHMARKS.get(text) or text
