"""Who is overdue: pure book-keeping of signs of life. Time is an argument."""

from __future__ import annotations

__all__ = ["Liveness"]


class Liveness:
    """A worker is overdue when it has given no sign of life for longer than its lease."""

    def __init__(self, lease_ns: int) -> None:
        self.lease_ns = lease_ns
        self._heard: dict[str, int] = {}

    def hear(self, worker_id: str, now: int) -> None:
        """Note a sign of life, or that the worker is expected from now on."""
        self._heard[worker_id] = now

    def forget(self, worker_id: str) -> None:
        """Expect nothing from this worker any more."""
        self._heard.pop(worker_id, None)

    def overdue(self, now: int) -> list[str]:
        """The workers whose lease is over, in the order in which they were first heard of."""
        return [worker_id for worker_id, heard in self._heard.items() if now - heard > self.lease_ns]

    def next_deadline(self) -> int | None:
        """When the next lease is over, or None where nobody is expected."""
        return min(self._heard.values()) + self.lease_ns + 1 if self._heard else None
