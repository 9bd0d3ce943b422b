"""Say how two finished runs differ: in configuration, environment, data and results.

    python -m experiments.diff A B

A and B are work directories; a line of differences is "what: value in A | value in B". Of the results the first number
that differs is named, with its task and seed. The exit status is 0 if nothing differs, 1 if something does, and 2 on
bad input.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/diff.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from experiments.process import console
from experiments.reporting import differences
from experiments.runs import workdirs


def main(arguments: list[str]) -> int:
    """Print how two runs differ, and return the exit status."""
    parser = argparse.ArgumentParser(
        "experiments.diff",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("A", "B"):
        parser.add_argument(name, help="work directory of a finished run")
    given = parser.parse_args(arguments)
    folders = [console.path(name, text) for name, text in vars(given).items()]
    first, second = (workdirs.read_description(folder) for folder in folders)
    for folder in folders:
        if workdirs.read_summary(folder) is None:
            raise ValueError(f"{folder} holds a run that is not finished.")
    parts = {
        "configuration": differences.of_descriptions(
            first, second, ("settings", "files", "numerics")
        ),
        "environment": differences.of_descriptions(first, second, ("versions", "device", "flags")),
        "data": differences.of_data(first, second),
        "results": differences.of_results(*map(workdirs.read_results, folders)),
    }
    for name, lines in parts.items():
        print(f"{name}: {'differs' if lines else 'the same'}")
        print("".join(f"  {line}\n" for line in lines), end="")
    return int(any(parts.values()))


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        sys.exit(main(sys.argv[1:]))
