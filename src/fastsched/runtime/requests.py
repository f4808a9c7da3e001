"""What clients ask of a loop, from any thread, and the answers. It does nothing of it: that is the loop's, in its turn.

An answer is given when what it follows from is journaled. Whoever only reads does not wait for room on a full disk.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from ..errors import ClosedError

__all__ = ["Request", "Requests", "Submission"]


class Submission(NamedTuple):
    """Tasks that a client wants to add, and the same ones as it holds them: their status is kept."""

    tasks: Sequence[Any]
    given: Sequence[Any]


class Request(NamedTuple):
    """What a client wants: a call with the time, or a submission. `reads`: it changes nothing that is journaled."""

    what: Callable[[int], Any] | Submission
    future: Future[Any]
    reads: bool


class Requests:
    """Everything that was asked for and has not been answered.

    `asked`: what nobody has taken yet. `ended`: the loop has, and nobody changes its state.
    """

    def __init__(self) -> None:
        self.asked: deque[Request] = deque()
        self._answers: list[tuple[Request, Any]] = []  # of this turn
        self._waiting: list[Future[None]] = []  # for all tasks to have ended
        self.ended = False
        self._failure: BaseException | None = None  # by which the loop has ended

    def add(self, what: Callable[[int], Any] | Submission, reads: bool) -> Future[Any]:
        """Ask for something; answers at once. From any thread."""
        future: Future[Any] = Future()
        self.asked.append(Request(what, future, reads))
        if self.ended:
            self._refuse_asked()
        return future

    def take(self) -> list[Request]:
        """What was asked for since the last call, in order."""
        return [self.asked.popleft() for _ in range(len(self.asked))]

    def answer(self, request: Request, answer: Any) -> None:
        """Note an answer, to be given when this turn is journaled."""
        self._answers.append((request, answer))

    def do(self, request: Request, what: Callable[[int], Any], now: int) -> None:
        """Do what was asked for, and note the answer; what goes wrong is for the client alone."""
        try:
            self.answer(request, what(now))
        except Exception as error:
            request.future.set_exception(error)

    def give_answers(self, *, only_reads: bool = False) -> None:
        """Give the answers that were noted."""
        if not self._answers:
            return
        answers, self._answers = self._answers, []
        for request, answer in answers:
            if only_reads and not request.reads:
                self._answers.append((request, answer))
            else:
                request.future.set_result(answer)

    def wait_for_end(self, future: Future[None]) -> None:
        """Have a future done when every task has ended, and that has been told; one that is cancelled is forgotten."""
        self._waiting = [other for other in self._waiting if not other.cancelled()]
        self._waiting.append(future)

    def say_all_ended(self) -> None:
        """Every task has ended, and that has been told."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def refuse(self, failure: BaseException | None) -> None:
        """Nobody waits for a loop that has ended, by a failure where there was one."""
        self.ended, self._failure = True, failure
        for request, _ in self._answers:
            request.future.set_exception(self._refusal())
        for future in self._waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(self._refusal())
        self._answers, self._waiting = [], []
        self._refuse_asked()

    def _refuse_asked(self) -> None:
        with contextlib.suppress(IndexError):  # it may be emptied by two threads
            while True:
                self.asked.popleft().future.set_exception(self._refusal())

    def _refusal(self) -> ClosedError:
        if self._failure is None:
            return ClosedError("the scheduler is closed")
        error = ClosedError(f"the scheduler has ended by an error: {self._failure}")
        error.__cause__ = self._failure
        return error
