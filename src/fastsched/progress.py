"""What a person sees while a run goes on: counts and lines made of events, and where they are shown.

It is told events and never asks for any; nothing here decides or waits.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator

from .errors import UnsatisfiableWarning
from .events import AttemptCompleted, AttemptFailed, AttemptStarted, Event, Replanned, TaskFailed, WorkerLost
from .gantt import show_seconds
from .model import Reason
from .names import fit_width, show_name, width_of
from .runtime.eta import seconds_left
from .runtime.session import Session

__all__ = ["CLEAR_LINE", "SHOWN_MISFITS", "PlanProgress", "Progress", "count", "short_warnings", "show_progress"]

PLAIN_PROGRESS_S = 2.0
ESTIMATE_S = 2.0
TERMINAL_PROGRESS_S = 0.1
CLEAR_LINE = "\r\x1b[K"
SHOWN_MISFITS = 3  # tasks that no worker can hold; the rest are counted


def count(amount: int, noun: str) -> str:
    """`1 task`, `1,976 tasks`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


class Progress:
    """Counts events, and hands each on with a line where one is worth it, until the run is being stopped."""

    def __init__(self, session: Session, show: Callable[[Progress, str], object]) -> None:
        self.session = session
        self.show = show
        self.ended = self.running = self.failed = self.misfits = self.total = 0
        self.stopping = False
        self._end_at: float | None = None  # when the run will be over, as far as can be told
        self._begun = False
        self._next_estimate = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        if not self._begun:
            self._begin()
        self._estimate()
        if not isinstance(event, TaskFailed):
            self.tell_misfits()
        line = self._line_of(event)
        if line or not self.stopping:
            self.show(self, line)

    def _begin(self) -> None:
        """A run that is taken up again begins with what has ended, and what ran is told of as interrupted."""
        self._begun = True
        assert self.session.loop is not None
        self.total = len(self.session.loop.state.ids)
        for event in self.session.history:
            self.running += isinstance(event, AttemptStarted)
            self.running -= isinstance(event, (AttemptCompleted, AttemptFailed))
            if isinstance(event, (AttemptCompleted, TaskFailed)):
                self.ended += 1
                self.failed += isinstance(event, TaskFailed)

    def _estimate(self) -> None:
        """Look ahead, now and then: it must not take more than a fiftieth of the time."""
        began = time.monotonic()
        if began < self._next_estimate or self.session.loop is None:
            return
        left_s = seconds_left(self.session.loop.ledger, self.session.loop.now())
        now = time.monotonic()
        self._end_at = None if left_s is None else now + left_s
        self._next_estimate = now + max(ESTIMATE_S, 50 * (now - began))

    @property
    def eta(self) -> str:
        """`, about 3m 20s left`, or nothing where that cannot be told, or it is overdue."""
        left = 0 if self._end_at is None or self.ended == self.total else round(self._end_at - time.monotonic())
        return f", about {f'{left} s' if left < 60 else show_seconds(left)} left" if left > 0 else ""

    @property
    def note(self) -> str:
        """What it is at, in a few words. May be asked for from any thread."""
        loop = self.session.loop
        pilot = None if loop is None or loop.state.followed is None else loop.pilot
        following = "" if pilot is None else f", {pilot.note}"
        return f"{self.running} running, {self.failed} failed{self.eta}{following}"

    def tell_misfits(self) -> None:
        """Say how many more tasks there are that no worker can hold."""
        if self.misfits > SHOWN_MISFITS:
            self.show(self, f"and {count(self.misfits - SHOWN_MISFITS, 'more task')} that no worker can hold")
        self.misfits = 0

    def _line_of(self, event: Event) -> str:
        if isinstance(event, AttemptStarted):
            self.running += 1
        elif isinstance(event, AttemptCompleted):
            self.running -= 1
            self.ended += 1
        elif isinstance(event, AttemptFailed):
            return self._line_of_failure(event)
        elif isinstance(event, TaskFailed):
            self.ended += 1
            self.failed += 1
            if event.reason is Reason.UNSATISFIABLE:
                self.misfits += 1
                return event.message if self.misfits <= SHOWN_MISFITS else ""
        elif isinstance(event, Replanned):
            was, ends = show_seconds(event.was_ns / 1e9), show_seconds(event.ends_ns / 1e9)
            behind = show_seconds(event.behind_ns / 1e9)
            gain = (
                f"and by the new one after {ends}" if event.ends_ns < event.was_ns else "and no other plan is shorter"
            )
            return f"{behind} behind the plan: all would be over {was} after the beginning, {gain}"
        elif isinstance(event, WorkerLost):
            return f"worker {show_name(event.worker_id)} is lost: {event.message}"
        return ""

    def _line_of_failure(self, event: AttemptFailed) -> str:
        if event.reason is Reason.CANCELLED and self.session.loop and self.session.loop.interrupted:
            if self.stopping:
                return ""
            self.stopping = True
            grace_s = self.session.loop.rhythm.grace_s
            return f"stopping {count(self.running, 'command')} (up to {grace_s:g} s; Ctrl-C again kills)"
        self.running -= 1
        onward = "retrying" if event.will_retry else "no retry left"
        if event.reason is Reason.CANCELLED:
            onward = "it was cancelled"
        where = f"on {show_name(event.worker_id)}, attempt {event.attempt}"
        why = event.message.partition("\n")[0]  # behind it are the command's last lines
        return f"{show_name(event.task_id)}: {why} {where}; {onward}"


@contextlib.contextmanager
def show_progress(session: Session, *, quiet: bool, verbose: bool) -> Iterator[Progress]:
    """A bar where there is a terminal and `rich`; else a line now and then; and failures as they come.

    `quiet`: nothing is shown. `verbose`: what happens is in the log already, and only that the run stops is shown.
    """
    if quiet or verbose:
        yield Progress(session, lambda progress, line: print_line(line) if progress.stopping and not quiet else None)
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
        from rich.text import Text
    except ImportError:
        plain = True
    else:
        plain = not sys.stderr.isatty()
    if plain:
        lines = PlainLines()
        with telling_the_rest(Progress(session, lines)) as progress, lines.now_and_then(progress):
            yield progress
        return

    class Note(ProgressColumn):
        """It counts down while nothing happens."""

        def render(self, task: object) -> Text:
            return Text(progress.note)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Note(),
        TimeElapsedColumn(),
    )
    progress = Progress(session, lambda progress, line: show(progress, line))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(show_name(session.name), total=None)

        def show(progress: Progress, line: str) -> None:
            if progress.stopping:
                bar.stop()  # as it stands: what is being stopped has not been done
            else:
                name = show_name(session.name)
                bar.update(row, description=name, total=progress.total, completed=progress.ended)
            if line:
                bar.console.print(line, markup=False, highlight=False)

        with telling_the_rest(progress):
            yield progress


@contextlib.contextmanager
def telling_the_rest(progress: Progress) -> Iterator[Progress]:
    """At the end say what has only been counted so far."""
    yield progress
    progress.tell_misfits()


class PlainLines:
    """Progress as plain lines on stderr: failures as they come, the counts now and then."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, progress: Progress, line: str) -> None:
        """Print the line if there is one, and the counts if it is time."""
        if line:
            print_line(line)
        if not progress.stopping and time.monotonic() - self.last >= PLAIN_PROGRESS_S:
            self.last = time.monotonic()
            ended = f"{progress.ended:,} of {progress.total:,} ended"
            print_line(f"{ended}, {progress.note}")

    @contextlib.contextmanager
    def now_and_then(self, progress: Progress) -> Iterator[None]:
        """Tell what it is at while nothing happens, too."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(PLAIN_PROGRESS_S):
                if progress.total:
                    self(progress, "")

        thread = threading.Thread(target=tell, name="fastsched-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class PlanProgress:
    """What `plan` is at, on stderr: a line that is written over, where that is a terminal; else one now and then."""

    def __init__(self) -> None:
        self.on_terminal = sys.stderr.isatty()
        self.last = time.monotonic()

    def __enter__(self) -> PlanProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.on_terminal:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def __call__(self, ended: int, total: int) -> None:
        """Say how many tasks have their place, if it is time."""
        self.tell(lambda: f"planning: {ended:,} of {count(total, 'task')}, {100 * ended // max(1, total)} %")

    def tell(self, make_text: Callable[[], str]) -> None:
        """Say it, if it is time."""
        if time.monotonic() - self.last >= (TERMINAL_PROGRESS_S if self.on_terminal else PLAIN_PROGRESS_S):
            self.say(make_text())

    def say(self, text: str) -> None:
        """Say it: at once on a terminal, elsewhere only where the last line is old."""
        if self.on_terminal:
            room = shutil.get_terminal_size((100, 24)).columns - 1  # a line that is broken cannot be written over
            text = text if width_of(text) <= room else fit_width(text, room)
            print(f"{CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.last >= PLAIN_PROGRESS_S:
            print_line(text)
        else:
            return
        self.last = time.monotonic()


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """Warnings of ours as one line on stderr, without a line of our source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnsatisfiableWarning)
        begin = CLEAR_LINE if sys.stderr.isatty() else ""
        warnings.showwarning = lambda message, *_, **__: print(f"{begin}fastsched: warning: {message}", file=sys.stderr)
        yield


def print_line(line: str) -> None:
    """A line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)
