"""The names that a record has for measurements of its own, so that no info and no probe takes them."""

from collections.abc import Iterable

_OWN = frozenset({"seeds", "accuracy", "eval_loss", "diverged", "layer_names"})
_PREFIXES = ("rate_", "inside_")
_OF_NUMPY = frozenset({"file", "allow_pickle"})  # what numpy.savez takes beside arrays by name


def taken(names: Iterable[str], others: Iterable[str] = ()) -> str | None:
    """Return in one sentence which of these names is a record's own, or one of others beside them."""
    refused = _OWN | _OF_NUMPY | set(others)
    for name in names:
        if name in refused or name.startswith(_PREFIXES):
            return f"{name} is a name that the record has already; it must be another, such as my_{name}."
    return None
