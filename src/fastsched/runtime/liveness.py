"""Who is overdue: pure book-keeping of signs of life. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Liveness"]


class Liveness:
    """A worker is overdue when it has given no sign of life for longer than its lease.

    Every end of an attempt is a sign of life, so it costs the same however many workers there are.
    """

    def __init__(self, lease_ns: int) -> None:
        self.lease_ns = lease_ns
        self._heard: OrderedDict[str, int] = OrderedDict()  # from who was not heard for longest
        self._expected: dict[str, int] = {}  # until when those have to be heard that come up

    def hear(self, worker_id: str, now: int) -> None:
        """Note a sign of life."""
        self._expected.pop(worker_id, None)
        self._heard[worker_id] = now
        self._heard.move_to_end(worker_id)

    def expect(self, worker_id: str, until: int) -> None:
        """A worker comes up, and need not be heard before that time; from then on it has its lease."""
        self._heard.pop(worker_id, None)
        self._expected[worker_id] = until + self.lease_ns

    def forget(self, worker_id: str) -> None:
        """Expect nothing from this worker any more."""
        self._heard.pop(worker_id, None)
        self._expected.pop(worker_id, None)

    def overdue(self, now: int) -> list[str]:
        """The workers whose lease is over: those that were not heard for longest first, then those that come up."""
        late = []
        for worker_id, heard in self._heard.items():
            if now - heard <= self.lease_ns:
                break
            late.append(worker_id)
        return late + [worker_id for worker_id, until in self._expected.items() if now > until]

    def next_deadline(self) -> int | None:
        """When the next lease is over, or None where nobody is expected."""
        ends = list(self._expected.values())
        if self._heard:
            ends.append(next(iter(self._heard.values())) + self.lease_ns)
        return min(ends) + 1 if ends else None
