"""The protocol between the runtime loop and whatever carries its orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..events import Order, Report
from ..model import Worker

__all__ = ["Engine", "Levels"]


@dataclass(frozen=True)
class Levels:
    """How strongly an engine can hold what it runs; said on every run, never pretended.

    `containment`: how it finds every process of a command. `memory`: how a limit of memory is enforced.
    `notes`: what a person should know about it, a sentence each.
    """

    containment: str
    memory: str
    notes: tuple[str, ...] = ()


class Engine(Protocol):
    """Carries orders to workers and brings back reports.

    A worker that is brought up is *up* from the first `WorkerHeard(first=True)` on, until its `WorkerLost`. Every order
    and every report names the incarnation of its worker. Once a worker has been reported lost, none of its commands
    runs any more; what it reported before comes before the loss.

    holds: whether workers keep a `Start` that names what it comes `after`, and carry it out themselves when that has
    ended. One that does not return it. A worker may return it any time before (`TaskReturned`), what was to follow it
    first, and does so where the attempt before it takes long; before the end of that attempt is reported.

    offers: whether workers of its own come and go. Once `workers` was called, those that come later are reported
    (`WorkerOffered`), and those that go because somebody wants it (`WorkerWithdrawn`). A worker that may be lost can be
    reported before that is certain (`WorkerSuspected`).
    """

    holds: bool
    offers: bool

    def workers(self) -> Sequence[Worker]:
        """The workers of a run for which nobody names any.

        Raises:
            OSError: where they cannot be asked for.
        """

    def open(self, run_id: str, heartbeat_s: float, lease_s: float) -> None:
        """Get ready for a run, and end whatever an earlier scheduler of the same run has left running.

        From here on every worker gives a sign of life every `heartbeat_s`. A worker that has not heard of this
        scheduler for `lease_s` ends its commands.
        """

    def levels(self) -> Levels:
        """What is in force, once it is open."""

    def bring_up(self, worker: Worker, incarnation: int) -> None:
        """Bring a worker up with nothing on it, for the first time or again. Does not wait until it is up.

        Raises:
            OSError: where that cannot be done.
        """

    def send(self, orders: Sequence[Order]) -> None:
        """Pass orders on, without waiting for them; those for a worker that is not there are dropped."""

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """Wait until there is something to report, `wake` was called, or the time is over."""

    def lose(self, worker_id: str, message: str) -> None:
        """Give a worker up: end it and all its commands, at once. A `WorkerLost` is reported when they have ended."""

    def wake(self) -> None:
        """Make `wait_reports` return soon. May be called from a signal handler or another thread, and after `close`."""

    def close(self, grace_s: float) -> Sequence[Report]:
        """Stop every command and every worker: ask first, and kill what is left after the grace.

        Answers what had ended by itself, and was not reported, and may answer how the others ended (CANCELLED).
        """

    def hurry(self) -> None:
        """Cut the grace of a `close` that is going on short. May be called from a signal handler."""
