"""No table of results is typed by hand: the pages have what the committed results say."""

import csv
import pathlib
import re

import pytest

from experiments import docs, presets
from experiments.reporting import documents
from lamaml_jax import LEARNERS


@pytest.mark.parametrize("path", docs.pages(), ids=lambda path: path.name)
def test_tables_are_those_of_the_committed_results(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert documents.renew(text) == text, "python -m experiments.docs writes them anew"


NUMBER = re.compile(r"[-−]?\d[\d.,]*( ± [\d.]+)?%?( \(.*\))?")


def columns_of_numbers(text: str) -> list[str]:
    """Return the headings of the columns outside all marks of which most cells are a number, with what is beside it.

    Examples, whose output is checked where they are run, do not count.
    """
    by_hand = re.sub(r"<!-- table: .*?<!-- end -->|```.*?```", "", text, flags=re.DOTALL)
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", by_hand, flags=re.MULTILINE):
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for heading, _, *cells in zip(*lines, strict=True):
            if 2 * sum(NUMBER.fullmatch(cell) is not None for cell in cells) > len(cells):
                found.append(heading)
    return found


@pytest.mark.parametrize("path", docs.pages(), ids=lambda path: path.name)
def test_no_column_of_numbers_is_typed(path: pathlib.Path) -> None:
    assert not columns_of_numbers(path.read_text(encoding="utf-8"))


def test_typed_column_of_numbers_is_found() -> None:
    table = (
        "| learner | RA | note |\n| --- | --- | --- |\n| ER | 70.40 ± 0.90 | 1 of 2 |\n"
        "| GEM | – | all |\n| MER | 904 (900 to 911) | – |\n"
    )
    assert columns_of_numbers(f"Before.\n\n{table}\nAfter.\n") == ["RA"]
    assert not columns_of_numbers(f"```python\n{table}```\n")
    assert not columns_of_numbers(f"<!-- table: weights -->\n\n{table}\n<!-- end -->\n")


def test_committed_tables_are_all_shown() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in docs.pages())
    for path in (docs.pages()[0].parent / "docs" / "measured").glob("*.csv"):
        assert f"file path=docs/measured/{path.name}" in shown


def test_committed_pictures_are_all_shown() -> None:
    root = docs.pages()[0].parent / "docs" / "images"
    shown = "".join(path.read_text(encoding="utf-8") for path in docs.pages())
    pictures = {path.relative_to(root).as_posix() for path in root.rglob("*.png")}
    assert pictures and pictures == set(re.findall(r"images/([\w/]+\.png)\)", shown))


def test_changed_number_is_mended() -> None:
    table = documents.renew("<!-- table: measured benchmark=mnist_rotations -->\n<!-- end -->")
    assert "| MER | 77.74 ± 0.32 |" in table
    assert documents.renew(table.replace("77.74", "77.75") + " 77.75") == table + " 77.75"


def test_measured_row_takes_the_place_of_another(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = "mnist_many_permutations"
    with presets.MEASURED_RESULTS.open() as file:
        rows = [row for row in csv.DictReader(file) if row["learner"] != "gem"]
    path = tmp_path / "measured.csv"

    def write() -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    monkeypatch.setattr(presets, "MEASURED_RESULTS", path)
    write()
    cells = ["37.15 ± 0.70", "59.44 ± 0.39", "-22.30 ± 0.71", "32.14 ± 0.50", "-23.52 ± 0.87"]
    assert ["GEM (Kaiming's weights)", *cells] in documents.measured(benchmark)
    assert documents.weights()[-1][2:5] == ["not measured yet", "–", cells[0]]
    new = {"ra_mean": "40.00", "ra_std": "1.00", "bti_mean": "-20.00", "bti_std": "1.50"}
    rows.append({**rows[0], "heads": "shared", "learner": "gem", **new})
    write()
    gem = next(row for row in documents.measured(benchmark) if row[0].startswith("GEM"))
    assert (gem[0], gem[1], gem[3]) == ("GEM", "40.00 ± 1.00", "-20.00 ± 1.50")
    assert documents.weights()[-1][2:5] == ["40.00 ± 1.00", "-20.00 ± 1.50", cells[0]]


def test_order_of_a_table() -> None:
    ours = documents.measured("mnist_rotations")[1:]
    assert ours[-1][0] == "IID"
    values = [float(row[1].split()[0]) for row in ours[:-1]]
    assert values == sorted(values, reverse=True)
    chosen = documents.measured("mnist_rotations", learners="online,er")
    assert [row[0] for row in chosen] == ["learner", "Online", "ER"]


def test_choices_have_every_learner_with_what_it_needs_keeps_and_retains() -> None:
    heading, *rows = documents.choices()
    found = {row[0]: dict(zip(heading, row, strict=True)) for row in rows}
    assert len(found) == len(rows) == len(LEARNERS) and rows[-1][0] == "IID"
    assert (
        found["EWC"]["RA, Rotations"]
        == dict((row[0], row[1]) for row in documents.measured("mnist_rotations"))["EWC"]
    )
    assert (
        found["HAT"]["needs"] == "one task per batch, the task at test"
        and found["HAT"]["RA, Rotations"] == "–"
    )
    assert found["Online"]["keeps, KB"] == "0" and found["Meta-BGD"]["keeps, KB"] == "987"


def test_single_seed_has_no_spread_and_other_heads_no_paper() -> None:
    assert "57.00" in documents.measured("split_cifar100")[1]
    assert {row[4] for row in documents.measured("mnist_permutations", heads="per_task")[1:]} == {
        "–"
    }


@pytest.mark.parametrize(
    "description",
    ["nothing", "measured", "measured benchmark=mnist", "further what=x", "file path=nowhere.csv"],
)
def test_unknown_table_is_named(
    description: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docs, "_ROOT", tmp_path)
    text = f"Here:\n<!-- table: {description} -->\n<!-- end -->\n"
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(ValueError, match=f"README.md: '{description}' is no table"):
        docs.main([])
    assert (tmp_path / "README.md").read_text() == text


def test_command_writes_pages_and_leaves_prose(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "_ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("| a | table | by | hand |\n")
    page = tmp_path / "docs" / "page.md"
    page.write_text("Before.\n\n<!-- table: weights -->\nold\n<!-- end -->\n\nAfter.\n")
    docs.main([])
    assert capsys.readouterr().out == "docs/page.md\n"
    text = page.read_text()
    assert text.startswith("Before.\n\n<!-- table: weights -->\n\n| benchmark | learner |")
    assert text.endswith("|\n\n<!-- end -->\n\nAfter.\n") and "old" not in text
    docs.main([])
    assert capsys.readouterr().out == ""
