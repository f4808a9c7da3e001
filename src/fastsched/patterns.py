"""Commands with their arguments abstracted: two that have one shape do the same work on other things.

The shape of `python fit.py --fold 3 --out /data/f3.bin` is `python fit.py --fold {n} --out {path}.bin`: programs, the
script that an interpreter runs, options and plain words stay; numbers, dates, hashes and paths become what kind of
thing they are. A path keeps its endings, for what is done to a `.csv` and to a `.bam` differs. Text in, text out; it
is a guess that is always the same, and no shell: quotes and variables are letters like others.

The shape of a shape is that shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["CARRIERS", "shape_of"]

# Programs behind which another program follows, or the script that they run.
CARRIERS = frozenset(
    (
        *("bash", "sh", "zsh", "dash", "ksh", "env", "exec", "nice", "ionice", "nohup", "time", "timeout", "stdbuf"),
        *("taskset", "numactl", "xargs", "sudo", "srun", "mpirun", "mpiexec", "python", "python2", "python3", "pypy"),
        *("pypy3", "Rscript", "perl", "ruby", "node", "julia", "java", "lua", "php", "octave"),
    )
)
OPERATORS = frozenset(("&&", "||", "|", ";", "&", "(", "{", "then", "do", "else", "!"))
THINGS = re.compile(
    r"(?P<date>\b\d{4}-\d\d-\d\d(?:[T_]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?Z?)?|\b\d{4}/\d\d/\d\d|\b\d\d:\d\d(?::\d\d)?\b)"
    r"|(?P<hash>(?<![0-9A-Za-z])(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{7,128})(?![0-9A-Za-z]))"
    r"|(?P<n>\d+(?:\.\d+)*(?:[eE][-+]?\d+)?)"
)
VARIES = re.compile(r"[0-9./]")
ENDINGS = re.compile(r"(?:\.[A-Za-z][A-Za-z0-9]{0,7}){1,2}$")
PROGRAM = re.compile(r"[^\W\d][\w.+@-]*")
SETTING = re.compile(r"[A-Za-z_]\w*=")
OPTION_VALUE = re.compile(r"(-(?:(?!\{path\})[^=/])*=?)(.*)", re.DOTALL)  # -I/usr, and its shape
QUOTES = "\"'`"
CLOSING = ")"
LONGEST = 200  # words of a command that are looked at: the rest of a longer script decides nothing
REMEMBERED = 1 << 16  # words


@lru_cache(REMEMBERED)
def shape_of(command: str | Sequence[str]) -> str:
    """The shape of a command, a string for the shell or a tuple of words."""
    text = command if isinstance(command, str) else " ".join(command)
    shape: list[str] = []
    is_program = True  # whether the next word that is no option names what is run
    for word in text.split(None, LONGEST)[:LONGEST]:
        if word in OPERATORS:
            shape.append(word)
            is_program = True
            continue
        word, ends = word.rstrip(";"), ";" if word.endswith(";") else ""
        program = word.strip(QUOTES + CLOSING).rpartition("/")[2] if is_program else ""
        if program and PROGRAM.fullmatch(program):
            shape.append(program + ends)
            is_program = program in CARRIERS
        else:  # an option, a number, a variable that is set: what is run may come yet
            shape.append(_abstract(word) + ends)
            is_program = is_program and word != "-c"
        is_program = is_program or ends != ""
    return " ".join(shape)


@lru_cache(REMEMBERED)
def _abstract(word: str) -> str:
    """An argument with what varies in it named by its kind."""
    if not VARIES.search(word):
        return word
    if word.startswith("-"):
        match = OPTION_VALUE.fullmatch(word)
        assert match is not None
        return _kinds(match[1]) + (_value(match[2]) if match[2] else "")
    match = SETTING.match(word)
    return match[0] + _value(word[match.end() :]) if match else _value(word)


def _value(text: str) -> str:
    """A path as its kind and its endings; else what varies in it."""
    bare = text.strip(QUOTES + CLOSING)
    endings = ENDINGS.search(bare)
    if "/" in bare or (endings and not bare.startswith("-")):
        return "{path}" + (endings[0] if endings else "")
    return _kinds(text)


def _kinds(text: str) -> str:
    return THINGS.sub(lambda found: f"{{{found.lastgroup}}}", text)
