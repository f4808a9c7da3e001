"""How quick the attempts of a worker are, and how much of what follows may be promised to it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TOLD_LATE_NS", "Pace"]

AHEAD_NS = 15_000_000  # a worker is promised what it gets through in so long, for what is urgent has to wait for it
PROMISED = 60  # and not more tasks than that, whatever the pace
SLOW_AGAIN = 64  # attempts that have to be quick once something promised was returned, until more is promised
TOLD_LATE_NS = 7_000_000  # how late an end may be told: `TELL_S` of the fast lane, and a tick of its clock


@dataclass
class Pace:
    """The pace of one worker: how many ends there were of late, and in how long.

    Each turn counts the less the more time has passed since, so that it does not matter by how many turns the ends of
    attempts that run beside each other are told. Only in the first turn it counts what the attempts took.
    """

    n_quick: int = 0  # attempts in a row that were quick; below 0: so many more are waited for
    n_ended: int = 0  # this turn
    took_ns: int = 0  # the longest of the first turn
    n_late: float = 0.0  # ends of late
    late_ns: float = 0.0  # in so long
    since_ns: int | None = None  # the last turn with an end

    def note_end(self, took_ns: int, is_quick: bool) -> None:
        """An attempt has ended."""
        self.n_ended += 1
        self.n_quick = self.n_quick + 1 if is_quick else min(self.n_quick, 0)
        if self.since_ns is None:
            self.took_ns = max(self.took_ns, took_ns)

    def note_return(self) -> None:
        """Something that was promised is not going to be started."""
        self.n_quick = -SLOW_AGAIN

    def note_turn(self, now: int) -> None:
        """All ends of a turn are noted."""
        if not self.n_ended:
            return
        took = self.took_ns if self.since_ns is None else now - self.since_ns
        if took < AHEAD_NS * self.n_ended:  # else it was idle, or slow, which says nothing of what comes
            kept = AHEAD_NS / (AHEAD_NS + took)
            self.n_late = self.n_late * kept + self.n_ended
            self.late_ns = self.late_ns * kept + took
        self.n_ended, self.since_ns = 0, now

    def ahead(self) -> int:
        """How many tasks may be promised: one at least if what ended last was quick."""
        if self.n_quick <= 0:
            return 0
        return max(1, int(min(AHEAD_NS * self.n_late / max(self.late_ns, 1.0), PROMISED)))
