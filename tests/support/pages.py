"""What a page of HTML holds."""

import base64
import csv
import html.parser
import io


class Elements(html.parser.HTMLParser):
    """All elements of a page, as tag and attributes, and the text of table cells."""

    def __init__(self, text: str) -> None:  # noqa: D107
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._in_cell = tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells.append(data)
            self._in_cell = False

    def all(self, attribute: str) -> list[str]:
        """Return the attribute's values, as far as elements have it."""
        return [str(values[attribute]) for _, values in self.found if attribute in values]


def data_of(uri: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file that is a data URI."""
    head, _, data = uri.partition(",")
    assert head == "data:text/csv;base64"
    return list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))
