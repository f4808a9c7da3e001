"""Many bugs in one build: a function to which some are to be done becomes a choice between its bodies.

Building is what takes time, so the native rooms are built once with all of its bugs in it, and a number in the
environment says which of them is awake; 0 is none, the room as it is (mutant schemata, Untch, Offutt and Harrold 1993).

    cdef bint f(self, int a) noexcept nogil:        cdef bint f(self, int a) noexcept nogil:
        cdef int b = 0                                  cdef int b = 0
        if a < b:                                       if PLANTED_NUMBER == 7:
            return True                                     if a <= b:
        return False                                            return True
                                                            return False
                                                        else:
                                                            if a < b: ...

Not every bug can be: one in a declaration, in a header or outside of functions is built by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["combine"]

HEADER = re.compile(r"( *)(?:def|cdef|cpdef)\b(?!\s+(?:class|enum|struct|extern)\b)[^=#]*\(")
PROLOGUE = """\
cdef extern from *:
    \'\'\'
    #ifndef PLANTED_NUMBER
    #include <stdlib.h>
    static int planted_number = -1;
    static int read_number(void) { return planted_number = atoi(getenv("FASTSCHED_MUTANT_NUMBER")); }
    #define PLANTED_NUMBER (planted_number < 0 ? read_number() : planted_number)
    #endif
    \'\'\'
    int PLANTED_NUMBER
"""


class Function(NamedTuple):
    """Where a function stands, by lines: its body is lines[body:end]."""

    indent: int
    body: int
    end: int


def combine(text: str, mutated: Mapping[int, str]) -> tuple[str, set[int]]:
    """One text with the bugs of all these texts in it, by number, and the numbers of those that it really has."""
    lines = text.splitlines()
    found = find_functions(lines)
    bodies: dict[Function, dict[int, list[str]]] = {}
    for number, other in mutated.items():
        others = other.splitlines()
        first, last = changed_lines(lines, others)
        for function in found:
            if function.body <= first and last <= function.end:
                body = others[function.body : function.end + len(others) - len(lines)]
                bodies.setdefault(function, {})[number] = body
    done: set[int] = set()
    for function in reversed(found):
        if function in bodies and not any(re.match(r" *cdef\b", line) for line in lines[function.body : function.end]):
            lines[function.body : function.end] = choice(function, lines, bodies[function])
            done |= bodies[function].keys()
    at = next((i for i, line in enumerate(lines) if re.match(r"def |cdef class |cdef inline |@", line)), None)
    if at is None:  # there is nothing in it but C
        return text, done
    lines[at:at] = PROLOGUE.splitlines()
    return "\n".join(lines) + "\n", done


def find_functions(lines: list[str]) -> list[Function]:
    """All functions, methods included; the declarations at the beginning are not part of the body."""
    found = []
    for i, line in enumerate(lines):
        match = HEADER.match(line)
        if not match:
            continue
        indent, body = len(match[1]), i
        depth = 0
        while True:
            depth += lines[body].count("(") - lines[body].count(")")
            body += 1
            if depth == 0:
                break
        if not re.search(r":\s*(#.*)?$", lines[body - 1]):
            continue  # a declaration
        end = body
        while end < len(lines) and (not lines[end].strip() or indent_of(lines[end]) > indent):
            end += 1
        while not lines[end - 1].strip():
            end -= 1
        found.append(Function(indent + 4, skip_declarations(lines, body, end), end))
    return found


def skip_declarations(lines: list[str], at: int, end: int) -> int:
    """Past the docstring, comments and declarations with which a body begins."""
    while at < end:
        line = lines[at].strip()
        if line.startswith('"""'):
            while lines[at].count('"""') < 2 and not (line != lines[at].strip() and '"""' in lines[at]):
                at += 1
        elif line.startswith("cdef "):
            depth = 0
            while True:
                depth += sum(map(lines[at].count, "([{")) - sum(map(lines[at].count, ")]}"))
                if depth <= 0:
                    break
                at += 1
        elif line and not line.startswith("#"):
            break
        at += 1
    return at


def changed_lines(lines: list[str], others: list[str]) -> tuple[int, int]:
    """The lines from first up to last are the ones that differ."""
    first = next(i for i, (line, other) in enumerate(zip(lines, others)) if line != other)
    same = next(i for i, (line, other) in enumerate(zip(reversed(lines), reversed(others))) if line != other)
    return first, max(len(lines) - same, first)


def choice(function: Function, lines: list[str], bodies: Mapping[int, list[str]]) -> list[str]:
    """The body that chooses between all of them."""
    margin, made, word = " " * function.indent, [], "if"
    for number, body in bodies.items():
        made += [f"{margin}{word} PLANTED_NUMBER == {number}:", *deeper(body)]
        word = "elif"
    return [*made, f"{margin}else:", *deeper(lines[function.body : function.end])]


def deeper(body: list[str]) -> list[str]:
    return [f"    {line}" if line.strip() else line for line in body]


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
