"""How quick the attempts of a worker are, and how much of what follows may be promised to it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Pace"]

AHEAD_NS = 15_000_000  # a worker is promised what it gets through in so long: what is urgent waits no longer for it
PROMISED = 60  # and not more tasks than that
SLOW_AGAIN = 64  # attempts that have to be quick once something promised was returned, until more is promised
OF_LATE = 4  # ends that count


@dataclass
class Pace:
    """The pace of one worker.

    Ends are counted, and not what each attempt took: they are told several at a time, so that only their number is as
    good as the clock, and several attempts may run at a time. Only the first is taken for what it took.
    """

    n_quick: int = 0  # attempts in a row that were quick; below 0: so many more are waited for
    each_ns: float = 0.0  # between two ends, of late
    n_ended: int = 0  # since `since_ns`
    since_ns: int | None = None

    def note_end(self, took_ns: int, is_quick: bool) -> None:
        """An attempt has ended."""
        self.n_ended += 1
        self.n_quick = self.n_quick + 1 if is_quick else min(self.n_quick, 0)
        if self.since_ns is None:
            self.each_ns = min(took_ns, AHEAD_NS)

    def note_return(self) -> None:
        """Something was returned, because what ran before it was slow."""
        self.n_quick = -SLOW_AGAIN

    def ahead(self, now: int) -> int:
        """How many tasks may be promised, at a time `now` at which all ends are noted that there were."""
        if self.n_ended:
            if self.since_ns is not None:
                each = min((now - self.since_ns) / self.n_ended, AHEAD_NS)  # it may have been idle
                self.each_ns += (each - self.each_ns) * min(1.0, self.n_ended / OF_LATE)
            self.n_ended, self.since_ns = 0, now
        return int(min(AHEAD_NS / max(self.each_ns, 1.0), PROMISED)) if self.n_quick > 0 else 0  # 1 at least
