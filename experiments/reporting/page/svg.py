"""A matplotlib figure as SVG inside an HTML page, in the page's colours."""

import io
import re

import matplotlib
import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

# Black, white and grey follow the page's colours, light or dark; the others stay.
_THEMED = {"#000000": "currentColor", "#ffffff": "var(--paper)", "#d3d3d3": "var(--grid)"}

_ELEMENT = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" role="img" '
    'aria-labelledby="{name}-title {name}-description" style="stroke-linejoin: round; stroke-linecap: butt">'
    '<title id="{name}-title">{title}</title><desc id="{name}-description">{description}</desc>{body}</svg>'
)


def inline(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Return a figure as an SVG element that screen readers know by its title and description.

    The same figure and name give the same text.

    Args:
        figure: As matplotlib draws it, on no background.
        name: Of the figure, unlike all others on the page; a part of the names inside it.
        title: Its short name.
        description: What is to be seen in it.
    """
    # The salt makes names of clip paths and markers the figure's own, and the same each time.
    settings = {"svg.hashsalt": name, "svg.fonttype": "none"}
    file = io.StringIO()
    with matplotlib.style.context(["default", settings]):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    # Names that nothing refers to would stand in the page once for each figure.
    body = text[text.index("</style>") + len("</style>") : text.rindex("</svg>")]
    body = "<defs>" + body
    used = set(re.findall(r"url\(#([^)]+)\)", body)) | set(re.findall(r'href="#([^"]+)"', body))
    body = re.sub(r' id="([^"]+)"', lambda m: m.group() if m.group(1) in used else "", body)
    for color, themed in _THEMED.items():
        body = body.replace(color, themed)
    return _ELEMENT.format(
        box=text.split('viewBox="')[1].split('"')[0],
        name=name,
        title=title,
        description=description,
        body=Markup(body),  # matplotlib escapes what it writes
    )
