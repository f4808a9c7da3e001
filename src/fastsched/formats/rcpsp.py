"""Project-scheduling benchmarks (RCPSP): PSPLIB's single-mode files (`.sm`) and Patterson's (`.rcp`).

Both say the same: jobs with a duration, successors and a demand of each of K renewable resources, of which there
is one amount for all. Here that is one worker, `project`, with the resources R1..RK, and tasks that ask for no
cores and no memory. Ids are the job numbers, 1..n; the dummy first and last jobs are kept, as in the solutions that
are published. A unit of time is a second.

PSPLIB's layout is that of R. Kolisch and A. Sprecher (1997), Patterson's that of J. Patterson (1984): numbers alone,
free over lines: n, K, the K amounts, and for each job duration, demands, number of successors, successors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..errors import FormatError
from ..model import AMOUNT_LIMIT, SECONDS_LIMIT, Task, Worker
from ..names import show_value
from . import Job

__all__ = ["READERS"]

WORKER_ID = "project"
RULE = re.compile(r"[*\-=]+")  # a line that only parts sections
COUNT = re.compile(r"^\s*-?\s*(jobs|renewable|nonrenewable|doubly constrained)\b[^:]*:\s*(\S+)", re.IGNORECASE)
SECTIONS = {"PRECEDENCE RELATIONS": "successors", "REQUESTS/DURATIONS": "demands", "RESOURCEAVAILABILITIES": "amounts"}
MOST = 10**7  # jobs, or resources, that a head can promise before anything has been read of them


class _Row(NamedTuple):
    """What stands in a line, in words, and its number from 1."""

    line: int
    words: list[str]


class _Project:
    """What has been read so far; index 0 is job 1."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.amounts: list[int] = []
        self.durations: list[int] = []
        self.demands: list[list[int]] = []
        self.successors: list[list[int]] = []

    def refuse(self, line: int, message: str) -> FormatError:
        return FormatError(self.path, f"line {line}: {message}")

    def number(self, line: int, word: str, what: str, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        if not (word.isascii() and word.isdigit()):
            raise self.refuse(line, f"{what} is {show_value(word)}; a whole number is wanted")
        if len(word) > 18 or int(word) >= limit:
            raise self.refuse(line, f"{what} is {show_value(word)}; it must be between 0 and {limit - 1}")
        return int(word)

    def successor(self, line: int, word: str, job: int, n: int) -> int:
        """The number of a job that follows another."""
        found = self.number(line, word, f"a successor of job {job}", MOST)
        if not 1 <= found <= n:
            raise self.refuse(line, f"job {job} has the successor {found}, which is not a job; there are 1 to {n}")
        return found

    def as_job(self, name: str) -> Job:
        above: list[list[str]] = [[] for _ in self.durations]
        for job, below in enumerate(self.successors, 1):
            for successor in dict.fromkeys(below):
                above[successor - 1].append(str(job))
        names = [f"R{r + 1}" for r in range(len(self.amounts))]
        tasks = [
            Task(
                str(job),
                f"job {job}",
                dependencies,
                0,
                0,
                duration=duration,
                resources={name: amount for name, amount in zip(names, demand) if amount} or None,
            )
            for job, (dependencies, duration, demand) in enumerate(zip(above, self.durations, self.demands), 1)
        ]
        return Job(name, tasks, [Worker(WORKER_ID, 0, 0, resources=dict(zip(names, self.amounts)))], recorded=True)


def read_psplib(path: str, name: str, text: str) -> Job:
    """A PSPLIB single-mode file.

    Raises:
        FormatError: naming the line and what is wrong with it.
    """
    project = _Project(path)
    counts, sections = _split_sections(project, text)
    n = counts["jobs"]
    _read_successors(project, sections["successors"], n)
    _read_demands(project, sections["demands"], n, counts["renewable"])
    last = _only_row(project, sections["amounts"], "amounts of the resources")
    project.amounts = _amounts(project, last, counts["renewable"])
    return project.as_job(name)


def read_patterson(path: str, name: str, text: str) -> Job:
    """A Patterson file.

    Raises:
        FormatError: naming the line and what is wrong with it.
    """
    project = _Project(path)
    words = ((line, word) for line, row in enumerate(text.splitlines(), 1) for word in row.split())
    last = 1 + text.rstrip().count("\n")

    def take(what: str, limit: int) -> int:
        line, word = next(words, (0, ""))
        if not line:
            raise project.refuse(last, f"the file ends where {what} is wanted")
        return project.number(line, word, what, limit)

    n, n_resources = take("the number of jobs", MOST), take("the number of resources", MOST)
    project.amounts = [take(f"the amount of R{r + 1}", AMOUNT_LIMIT) for r in range(n_resources)]
    for job in range(1, n + 1):
        project.durations.append(take(f"the duration of job {job}", SECONDS_LIMIT + 1))
        project.demands.append([take(f"what job {job} needs of R{r + 1}", AMOUNT_LIMIT) for r in range(n_resources)])
        count = take(f"the number of successors of job {job}", MOST)
        project.successors.append([_take_successor(project, words, last, job, n) for _ in range(count)])
    for line, word in words:
        raise project.refuse(line, f"{show_value(word)} stands behind the last of {n} jobs")
    return project.as_job(name)


READERS: dict[str, Callable[[str, str, str], Job]] = {".sm": read_psplib, ".rcp": read_patterson}


# ---------------------------------------------------------------- PSPLIB


def _split_sections(project: _Project, text: str) -> tuple[dict[str, int], dict[str, list[_Row]]]:
    """The numbers of the head, and the rows of each section without its headings."""
    counts: dict[str, int] = {}
    sections: dict[str, list[_Row]] = {}
    rows: list[_Row] | None = None
    n_lines = 1
    for n_lines, content in enumerate(text.splitlines(), 1):
        bare = content.strip()
        count = COUNT.match(content)
        if count and rows is None:
            counts[count[1].lower()] = project.number(n_lines, count[2], f"the number of {count[1].lower()}", MOST)
        elif bare.endswith(":") and bare[:-1].strip().upper() in SECTIONS:
            rows = sections.setdefault(SECTIONS[bare[:-1].strip().upper()], [])
        elif RULE.fullmatch(bare) and rows:
            rows = []  # what stands behind a section is none of it
        elif rows is not None and bare and not RULE.fullmatch(bare) and bare[0].isdigit():
            rows.append(_Row(n_lines, bare.split()))
        elif rows is not None and bare and not RULE.fullmatch(bare) and (rows or not bare[0].isalpha()):
            raise project.refuse(n_lines, f"{show_value(bare)}; a row of numbers is wanted")
    for what in ("jobs", "renewable"):
        if what not in counts:
            raise project.refuse(n_lines, f"the file ends, and no line says '{what}: N'; it is no PSPLIB file")
    for what in ("nonrenewable", "doubly constrained"):
        if counts.get(what):
            raise FormatError(
                project.path, f"it has {counts[what]} {what} resources; only renewable ones can be planned"
            )
    for heading, section in SECTIONS.items():
        if section not in sections:
            raise project.refuse(n_lines, f"the file ends, and there is no section '{heading}:'")
    return counts, sections


def _read_successors(project: _Project, rows: Sequence[_Row], n: int) -> None:
    """Rows of job, modes, number of successors, successors."""
    for job, (line, words) in _by_job(project, rows, n, "PRECEDENCE RELATIONS"):
        if len(words) < 3:
            raise project.refuse(line, f"job {job} wants its number, modes, number of successors and these")
        modes = project.number(line, words[1], f"the number of modes of job {job}", MOST)
        if modes != 1:
            raise project.refuse(line, f"job {job} has {modes} modes; only files with one mode can be planned")
        count = project.number(line, words[2], f"the number of successors of job {job}", MOST)
        if count != len(words) - 3:
            raise project.refuse(line, f"job {job} says {count} successors and names {len(words) - 3}")
        project.successors.append([project.successor(line, word, job, n) for word in words[3:]])


def _read_demands(project: _Project, rows: Sequence[_Row], n: int, n_resources: int) -> None:
    """Rows of job, mode, duration, demands."""
    for job, (line, words) in _by_job(project, rows, n, "REQUESTS/DURATIONS"):
        if len(words) != 3 + n_resources:
            raise project.refuse(
                line,
                f"job {job} has {len(words)} numbers; its number, mode, duration and {n_resources} demands are wanted",
            )
        project.durations.append(project.number(line, words[2], f"the duration of job {job}", SECONDS_LIMIT + 1))
        project.demands.append(
            [
                project.number(line, word, f"what job {job} needs of R{r + 1}", AMOUNT_LIMIT)
                for r, word in enumerate(words[3:])
            ]
        )


def _by_job(project: _Project, rows: Sequence[_Row], n: int, heading: str) -> Iterator[tuple[int, _Row]]:
    """The rows with their jobs, which come in order from 1 to n."""
    for job, row in enumerate(rows, 1):
        if project.number(row.line, row.words[0], "the number of a job", MOST) != job or job > n:
            wanted = f"job {job} is wanted here" if job <= n else f"there are {n} jobs, and all have been named"
            raise project.refuse(row.line, f"this is about job {row.words[0]}; {wanted}")
        yield job, row
    if len(rows) < n:
        where = f"line {rows[-1].line}: " if rows else ""
        raise FormatError(project.path, f"{where}the section {heading} ends after {len(rows)} of {n} jobs")


def _only_row(project: _Project, rows: Sequence[_Row], what: str) -> _Row:
    if len(rows) != 1:
        where = f"line {rows[1].line}: " if rows else ""
        raise FormatError(project.path, f"{where}one row with the {what} is wanted, and there are {len(rows)}")
    return rows[0]


def _amounts(project: _Project, row: _Row, n_resources: int) -> list[int]:
    if len(row.words) != n_resources:
        raise project.refuse(row.line, f"{n_resources} amounts are wanted, and there are {len(row.words)}")
    return [project.number(row.line, word, f"the amount of R{r + 1}", AMOUNT_LIMIT) for r, word in enumerate(row.words)]


# ---------------------------------------------------------------- Patterson


def _take_successor(project: _Project, words: Iterator[tuple[int, str]], last: int, job: int, n: int) -> int:
    line, word = next(words, (0, ""))
    if not line:
        raise project.refuse(last, f"the file ends where a successor of job {job} is wanted")
    return project.successor(line, word, job, n)
