"""Write the tables in README.md and docs/ from the committed results.

    python -m experiments.docs

Run it after `python -m experiments.collect`. What stands between a table's two comments (see
`reporting/documents.py`) is replaced; prose stays as it is.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for `python experiments/docs.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from experiments.process import console
from experiments.reporting import documents
from lamaml_jax.files import write_whole

_ROOT = pathlib.Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    """Write the tables, and print which files have changed."""
    argparse.ArgumentParser(
        "experiments.docs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    for path in pages():
        text = path.read_text(encoding="utf-8")
        try:
            renewed = documents.renew(text)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(_ROOT)}: {error}") from None
        if renewed != text:
            with write_whole(path) as file:
                file.write(renewed.encode())
            print(path.relative_to(_ROOT))


def pages() -> list[pathlib.Path]:
    """Return all pages that may have tables."""
    return [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))]


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        main(sys.argv[1:])
