"""The protocol between the runtime loop and whatever carries its orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..events import Report, Start
from ..model import Worker

__all__ = ["Engine"]


class Engine(Protocol):
    """Carries orders to workers and brings back reports.

    A worker is *up* from its first `WorkerHeard` on, until a `WorkerLost`. Once a worker has been
    reported lost, none of its commands runs any more; what it reported before comes before the loss.
    """

    def open(self, workers: Sequence[Worker]) -> None:
        """Bring every worker up. Does not wait until they are."""

    def send(self, orders: Sequence[Start]) -> None:
        """Pass orders on. Does not wait until they are carried out."""

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """Wait until there is something to report, `wake` was called, or the time is over."""

    def lose(self, worker_id: str, message: str) -> None:
        """Give a worker up that is silent: stop it and all its commands. A `WorkerLost` is reported next."""

    def restart(self, worker_id: str) -> None:
        """Bring a lost worker up again, with nothing on it."""

    def wake(self) -> None:
        """Make `wait_reports` return soon. May be called from a signal handler or another thread."""

    def close(self, grace_s: float) -> None:
        """Stop every command and every worker: ask first, and kill what is left after the grace."""

    def hurry(self) -> None:
        """Cut the grace of a `close` that is going on short. May be called from a signal handler."""
