"""What a person meant by a name, and how values are shown to a person: pure functions over text.

Which field or id was meant by one that is not known (`nearest`, `Nearest`), and names and values as text
that no terminal stumbles over (`show_name`, `show_value`). Nothing here knows a task or a graph.
"""

from __future__ import annotations

import bisect
import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "RESOURCE_WORDS",
    "Nearest",
    "fit_width",
    "nearest",
    "nearest_field",
    "show_capacity",
    "show_name",
    "show_value",
    "width_of",
]

ALIKE = 0.6  # difflib's ratio from which on two names are alike
NEIGHBOURS = 15  # names in order, to either side, that are compared
LONGEST_COMPARED = 100  # characters of a name
MOST_LETTERS = 100  # distinct characters that are tried in the place of a wrong one
LONGEST_SHOWN = 200  # characters of a value in a message
RESOURCE_WORDS = {"cpu_millicores": "cores", "memory_mb": "memory"}

# What people write for a field, by a piece of the name of the field that they mean.
ALIASES = {
    "_id": ("id", "name", "key", "task", "worker", "label", "host", "hostname"),
    "command": ("cmd", "run", "exec", "script", "shell", "args", "argv"),
    "dependencies": ("deps", "depends", "depends_on", "dependson", "needs", "requires", "after", "parents", "upstream"),
    "cpu_cores": ("cpu", "cpus", "core", "cores", "ncpus", "num_cpus", "cpu_count", "n_cores", "threads"),
    "memory_": ("mem", "memory", "ram", "mem_mb", "memory_mb", "mem_gb", "memory_gb"),
    "max_retries": ("retries", "retry", "attempts", "max_attempts"),
    "duration": ("time", "seconds", "runtime", "duration_s", "estimate", "expected_duration"),
    "resources": ("gpu", "gpus", "resource", "requirements"),
    "priority": ("prio", "weight", "importance"),
    "tasks": ("jobs", "steps", "stages"),
    "workers": ("machines", "nodes", "hosts", "cluster"),
}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, if any is alike at all."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
    return matches[0] if matches else None


def nearest_field(name: str, fields: Sequence[str]) -> str | None:
    """The field that is meant: by another word that people have for it, or by being alike."""
    word = name.lower().replace("-", "_")
    for piece, aliases in ALIASES.items():
        if word in aliases:
            meant = next((field for field in fields if piece in field), None)
            if meant:
                return meant
    return nearest(word, fields)


class Nearest:
    """The nearest of many names, at a price that does not grow with how many there are.

    Compared are the names that one slip away lead to (a letter too many, missing, wrong, or two swapped), and those
    that share the longest beginnings and endings, which are neighbours in the order of the names, read either way.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = {name: None for name in known if 0 < len(name) <= LONGEST_COMPARED}
        self._forward = sorted(self._known)
        self._backward = sorted(name[::-1] for name in self._known)
        self._letters = sorted(set().union(*self._known))[:MOST_LETTERS]

    def find(self, name: str) -> str | None:
        """The known name that is most like this one, if any is alike at all."""
        if len(name) > LONGEST_COMPARED:
            return None
        near = [other for other in self._one_slip_away(name) if other in self._known]
        near += neighbours(self._forward, name)
        near += [other[::-1] for other in neighbours(self._backward, name[::-1])]
        return nearest(name, dict.fromkeys(near))

    def _one_slip_away(self, name: str) -> Iterable[str]:
        for at in range(len(name) + 1):
            head, tail = name[:at], name[at:]
            yield head + tail[1:]
            yield head + tail[1:2] + tail[:1] + tail[2:]
            for letter in self._letters:
                yield head + letter + tail
                yield head + letter + tail[1:]


def neighbours(names: list[str], name: str) -> list[str]:
    """The names in order that would stand next to this one."""
    at = bisect.bisect(names, name)
    return names[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]


def show_name(name: str) -> str:
    """A name on one line: what a terminal would act upon, or could not show, is written as in a Python string."""
    return name if name.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def show_value(value: Any) -> str:
    """A value as in Python, in part where it is long; its type where it cannot be shown."""
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    text = show_name(text)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def width_of(text: str) -> int:
    """The columns that a text takes on a terminal: two for a wide character, none for a mark on the one before."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def fit_width(text: str, width: int, cut: str = "…") -> str:
    """The text in so many columns: filled with spaces, or cut with a sign that it is."""
    missing = width - width_of(text)
    if missing < 0:
        text = text[: 4 * width]
        while text and width_of(text) > width - len(cut):
            text = text[:-1]
        text += cut
        missing = width - width_of(text)
    return text + " " * missing


def show_capacity(resource: str, amount: int) -> str:
    """An amount of a resource, as a person reads it."""
    if resource == "cpu_millicores":
        return f"{f'{amount / 1000:,.3f}'.rstrip('0').rstrip('.')} core{'' if amount == 1000 else 's'}"
    if resource == "memory_mb":
        gb = amount / 1024
        return f"{amount:,} MB" if gb < 10 else f"{gb:,.0f} GB" if gb >= 1000 else f"{gb:.4g} GB"
    return f"{amount:,} {show_name(resource)}"
