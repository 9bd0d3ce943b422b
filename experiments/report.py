"""Make one page of many runs: tables beside the paper's values, figures, learnt rates, settings.

    python -m experiments.report RUN [RUN ...] --out=report.html

RUN is the work directory of a finished run, sweep or analysis, or a folder in which there are some, all of one
benchmark. The page is one file, which needs neither network nor other files. What is damaged or not finished is named,
and the others are shown.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/report.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.process import console
from experiments.reporting import page

_OUT = flags.DEFINE_string("out", "report.html", "The page to write")


def script(argv: Sequence[str]) -> None:
    """Set the process up and make the page."""
    console.prepare()
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Make the page of the runs that are named."""
    with console.plain_errors():
        if len(argv) < 2:
            raise ValueError("no run is given; name one or more folders of runs.")
        paths = [console.path("run", text) for text in argv[1:]]
        page.write(paths, console.path("out", _OUT.value))


if __name__ == "__main__":
    app.run(script)
