"""One HTML page of many runs, which needs no other file and no network.

`reading` reads them, `sections` says what the page shows in which order, as `blocks` that page.html lays out.
"""

import pathlib
import sys
from collections.abc import Sequence

import jinja2

from experiments.reporting.page import reading
from experiments.reporting.page.reading import Found
from experiments.reporting.page.sections import SECTIONS, Builder
from lamaml_jax.files import write_whole


def write(paths: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Write the page of all finished runs in `paths`, name on stderr those that cannot be read, and print its path.

    Raises:
        ValueError: There are no runs, none that can be read, or of different benchmarks; or `out` is no place for a
            file.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"out is {str(out)!r}; it must be a file in a folder that is there.")
    found = reading.read(reading.find(paths))
    for problem in found.problems:
        print(f"warning: {problem}", file=sys.stderr)
    text = build(found)
    with write_whole(out) as file:
        file.write(text.encode())
    print(f"Report: {out}")


def build(found: Found, builders: Sequence[Builder] = SECTIONS) -> str:
    """Return the page of runs, sweeps and analyses; `builders` make its sections, in order."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [section for builder in builders if (section := builder(found)) is not None]
    return environment.get_template("page.html").render(
        found=found,
        versions={run.description["versions"]["lamaml_jax"] for run in found.runs},
        sections=sections,
    )
