"""Who sees to it that a plan is followed: looks ahead now and then, and has the rest planned anew where it is behind.

A look is taken beside the loop, on a copy of its state, so nothing waits for it. What comes of it is a fact, which the
loop absorbs and journals in its turn; what has started meanwhile is not asked about it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from ..events import Fact
from ..guide import Guide
from ..optimize import Optimize
from .ledger import Ledger
from .log import logger
from .replan import Look, Present, look, look_for_shorter

__all__ = ["Aside", "AtOnce", "Beside", "Pilot"]

NS = 1_000_000_000
LOOK_NS = NS  # between two looks, and at least fifty times as long as one takes
SPARING = 50
NEVER = 1 << 62
LEAST_BEHIND_NS = NS  # less than that is no reason to plan anew, whatever the share


class Aside(Protocol):
    """What takes looks without keeping anybody waiting."""

    def begin(self, what: Callable[[], Look], wake: Callable[[], object]) -> None:
        """Begin a look; where it is over later, somebody is woken."""

    def take(self) -> Look | None:
        """What came of the last one; None: it is not over, or was taken, or failed."""

    is_busy: bool  # whether a look is under way


class Beside:
    """In a thread of its own, which is without the interpreter's lock for the most part."""

    def __init__(self) -> None:
        self.is_busy = False
        self._found: Look | None = None

    def begin(self, what: Callable[[], Look], wake: Callable[[], object]) -> None:
        """See `Aside`."""

        def work() -> None:
            try:
                self._found = what()
            except Exception:
                logger.exception("the rest of the run could not be planned; it goes on as it is")
            self.is_busy = False
            wake()

        self.is_busy = True
        try:
            threading.Thread(target=work, name="fastsched-pilot", daemon=True).start()
        except RuntimeError:
            logger.exception("no thread could be begun to look ahead in; the run goes on as it is")
            self.is_busy = False
            wake()

    def take(self) -> Look | None:
        """See `Aside`."""
        found, self._found = self._found, None
        return found


class AtOnce:
    """At once, for a clock that does not move meanwhile; what comes of it is taken in the next turn."""

    def __init__(self) -> None:
        self.is_busy = False
        self._found: Look | None = None

    def begin(self, what: Callable[[], Look], wake: Callable[[], object]) -> None:
        """See `Aside`."""
        self._found = what()
        wake()

    def take(self) -> Look | None:
        """See `Aside`."""
        found, self._found = self._found, None
        return found


class Pilot:
    """Looks ahead for a run that follows a plan.

    Args:
        guide: the plan that was given, of which tasks may be submitted yet; None: what is followed is in the state.
        fit: of the run. share: of the time that was planned for the whole; where the run is going to end later by more,
            the rest is planned anew; None: it never is.
        aside: what takes the looks.
        budget: of a search that looks for new plans, too, and for one of what is submitted; None: none does.
    """

    def __init__(
        self, guide: Guide | None, fit: str, share: float | None, aside: Aside, budget: Optimize | None = None
    ) -> None:
        self.guide, self.fit, self.share = guide, fit, share
        self.behind: float | None = None  # as a share of what was planned for the whole; None: nobody has looked
        self._aside, self._budget = aside, budget
        self._planned = frozenset(guide.task_ids if guide else ())
        self._origin: int | None = None  # when the plan that was given began to be followed
        self._is_news = True  # tasks have come that it has
        self._next_adoption = 0
        self._next_look, self._began, self._is_looking = LOOK_NS, 0, False
        self._is_loose = False  # it is not followed to the letter any more
        self._has_come, self._next_plan = False, 0  # tasks that no plan has are there; when one may be looked for

    def hear(self, task_ids: Iterable[str]) -> None:
        """Tasks were submitted."""
        if self._budget is not None and not self._planned.issuperset(task_ids):
            self._has_come = True
        self._is_news = self._is_news or not self._planned.isdisjoint(task_ids)

    def turn(self, ledger: Ledger, clock: Callable[[], int], wake: Callable[[], object]) -> list[Fact]:
        """Adopt what was given, take in what came of a look, begin another; answers what is to be absorbed."""
        now, facts = clock(), list[Fact]()
        if self._is_news and now >= self._next_adoption:
            self._is_news = False
            facts += self._adopt(ledger, now)
            self._next_adoption = now + SPARING * (clock() - now)  # tasks may come one by one
        if self._is_looking and not self._aside.is_busy:
            self._is_looking = False
            self._next_look = self._next_plan = now + max(LOOK_NS, SPARING * (now - self._began))
            found = self._aside.take()
            if found is None:
                self._next_look = self._next_plan = NEVER  # it would fail again
            elif not facts:
                facts += self._take(found, ledger, now)
            return facts
        if facts or self._is_looking:
            return facts
        if self._has_come and now >= self._next_plan:
            self._look_for_shorter(ledger, now, wake)
        elif now >= self._next_look:
            self._look(ledger, now, wake)
        return facts

    def next_turn(self, ledger: Ledger) -> int | None:
        """When it wants a turn; None: it is woken for it, or there is nothing to see."""
        if self._is_news:
            return self._next_adoption
        if self._is_looking:
            return None
        planned = self._next_plan if self._has_come else NEVER
        looked = NEVER if ledger.state.followed is None else self._next_look
        return None if min(planned, looked) == NEVER else min(planned, looked)

    @property
    def note(self) -> str:
        """`following the plan: 3 % behind`, as of the last look. From any thread."""
        behind = self.behind
        return "following the plan" + ("" if behind is None else f": {round(100 * behind)} % behind")

    def _adopt(self, ledger: Ledger, now: int) -> list[Fact]:
        """The plan that was given, for the tasks that are there and have not been started."""
        if self.guide is None:
            return []
        self._origin = now if self._origin is None else self._origin
        waiting = ledger.state.waiting(self.guide.task_ids)
        route = self.guide.route_through(waiting, ledger.state.worker_indices())
        self._is_loose = False
        return [route.later(self._origin).as_fact(now, self._origin)] if len(route) else []

    def _look(self, ledger: Ledger, now: int, wake: Callable[[], object]) -> None:
        followed = ledger.state.followed
        self._next_look = now + LOOK_NS
        if followed is None or ledger.state.done:
            return
        most = None
        if self.share is not None:
            most = max(LEAST_BEHIND_NS, int(self.share * (followed.ends_ns - followed.begins_ns)))
        present = Present.of(ledger, now, self.fit)
        starts = followed.starts_of(present.tasks)
        if len(present.workers) and (starts >= 0).any():  # else nothing of the plan is left
            self._is_looking, self._began = True, now
            is_held = self.guide is None and bool(present.not_before.any())  # since before it was taken up
            strays = not self._is_loose and (is_held or ledger.state.strays(now))
            self._aside.begin(lambda: look(present, starts, followed.ends_ns, most, self._budget, strays), wake)

    def _look_for_shorter(self, ledger: Ledger, now: int, wake: Callable[[], object]) -> None:
        """Have what is there planned, where that is worth it; it goes by rank until then."""
        present, budget = Present.of(ledger, now, self.fit), self._budget
        self._has_come = not len(present.workers)  # they may come yet
        self._next_plan = now + LOOK_NS
        if budget is not None and len(present.workers) and present.n_waiting:
            self._is_looking, self._began = True, now
            self._aside.begin(lambda: look_for_shorter(present, budget), wake)

    def _take(self, found: Look, ledger: Ledger, now: int) -> list[Fact]:
        """What is to be absorbed after a look."""
        followed = ledger.state.followed
        if followed is None:
            return [] if found.route is None else [found.route.as_fact(now, now)]
        if found.is_of_news:
            return [] if found.route is None else [found.route.as_fact(now, followed.begins_ns)]
        behind_ns = max(0, found.ends_ns - followed.ends_ns)
        self.behind = followed.share(behind_ns)
        if found.route is None:
            return []
        self._is_loose = True
        if found.is_loosened:
            return [found.route.as_fact(now, followed.begins_ns, is_loosened=True)]
        self.behind = 0.0
        return [found.route.as_fact(now, followed.begins_ns, behind_ns, found.over_ns)]
