"""Processes of this machine: their children, commands and environments."""

import pathlib


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def command(process: int) -> str:
    """Return a process's command line, or nothing where it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def marked(variable: str, value: str) -> list[int]:
    """Return the processes in whose environment a variable has a value."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{variable}={value}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
