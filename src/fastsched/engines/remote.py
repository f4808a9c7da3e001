"""What every engine for more than one machine does: sites that come and go, the workers on them, and when one is lost.

A *site* is a process that somebody else provides, a Dask worker or an actor of Ray's, with an outpost in it that runs
commands. How it is reached is a `Link`, and that is all that a kind of engine adds (`dask.py`, `ray.py`).

A worker is reported lost when none of its commands runs any more, and over a distance there are four ways to know. Its
site says so. Its site was opened anew, which it is when all of an earlier session has ended. Another site on the same
host says that nothing is left of it. Or its lease is over: a site is granted its lease anew each time it asks, and ends
what it runs when it was granted none, so a heartbeat and `SLACK_S` after the end of the last grant nothing runs there.

Everything is done by the thread that waits for reports, but what `Link`s put into the inbox.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from .._version import __version__
from ..events import (
    AttemptEnded,
    Order,
    Report,
    Start,
    TaskReturned,
    WorkerHeard,
    WorkerLost,
    WorkerOffered,
    WorkerSuspected,
    WorkerWithdrawn,
)
from ..model import Worker
from ..names import show_name
from .agent import ORPHAN_GRACE_S
from .base import Levels
from .local import CLOSE_SLACK_S, OUTPUT_CAP_MB
from .parcels import Message, pack, pack_order, unpack, unpack_report
from .processes import MOST_AGENTS

__all__ = ["Link", "RemoteEngine", "Site", "is_amount"]

logger = logging.getLogger("fastsched")
NEVER = float("inf")
SLACK_S = ORPHAN_GRACE_S + 3.0  # after the end of a lease, and a heartbeat, until nothing runs any more
OPEN_S = 20.0  # that sites are given to open; who takes longer joins later
LINK_AGAIN_S = 0.5  # between two tries to link to a site that is there


class Link(Protocol):
    """The way to a site, from any thread."""

    def send(self, frame: bytes) -> None:
        """Send a frame after those before; never waits, and never fails: what breaks is told by `RemoteEngine.cut`."""

    def close(self) -> None:
        """Send nothing more."""


@dataclass(eq=False)
class Site:
    """A process with an outpost in it. `worker`: what it offers; `key`: its address, for whoever links to it."""

    key: str
    worker: Worker
    link: Link | None = None
    link_again: float = NEVER  # when that is tried
    is_open: bool = False
    is_closed: bool = False  # it was told to go, and has gone
    was_wanted: bool = False  # that it goes
    why_not: str = ""  # it is of no use
    host: str = ""  # what tells its host from others, and
    process: str = ""  # its process, once they are known
    levels: Levels | None = None
    granted: float = 0.0  # when it was granted its lease last
    n_heard: int = 0  # frames
    kept: set[str] = field(default_factory=set)  # folders of outputs that it was told of


@dataclass(eq=False)
class Guest:
    """A worker that was to be brought up: where it is, if anywhere yet, and by which number its agent is marked."""

    worker: Worker
    incarnation: int
    site: Site | None = None
    number: int = 0
    n_open: int = 0  # attempts that it was told to start, and has not told the end of
    loss: str = ""  # why it is lost; it is reported when nothing of it runs
    host: str = ""  # of its site, and
    process: str = ""  # its process, when it came there; they may be others by now
    sure: float = NEVER  # once the way to it is lost: when nothing of it runs any more, if nobody knows it before

    @property
    def is_away(self) -> bool:
        """Whether there is no way to it any more, though there may be one to its site."""
        return self.sure < NEVER


class RemoteEngine(ABC):
    """See `engines.base.Engine`. What a kind of engine adds: `_connect`, `_link` and `_disconnect`.

    Args:
        cwd: the folder of the commands, on the hosts of the workers; None: the one of that name as here.
        env: the variables of the commands; None: those of the processes that their agents are in.
        containment, output_cap_mb: as in `LocalEngine`.
    """

    holds = True
    offers = True
    kind = ""  # of worker, for a person

    def __init__(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        containment: str = "auto",
        output_cap_mb: int = OUTPUT_CAP_MB,
    ) -> None:
        self._settings: dict[str, Any] = {
            "version": __version__,
            "cwd": os.path.abspath(cwd or os.getcwd()),
            "env": None if env is None else dict(env),
            "containment": containment,
            "output_cap_mb": output_cap_mb,
        }
        self.sites: dict[str, Site] = {}  # by their keys
        self.guests: dict[str, Guest] = {}  # by worker
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pending: list[Report] = []
        self._offered: set[str] | None = None  # workers that were offered; None: nobody wants them
        self._is_connected = self._is_open = self._is_closing = self._is_hurried = self._is_woken = False
        self._heartbeat_s, self._lease_s = 1.0, 10.0
        self._numbers: dict[str, int] = {}  # of agents: the last one of each host
        self._folders: dict[str, bool] = {}  # of outputs: whether they are here
        self._next_look = NEVER

    # ------------------------------------------------------------ what a kind of engine adds

    @abstractmethod
    def _connect(self) -> None:
        """Reach what is there. From now on `found` and `gone` are called. Raises OSError, MissingExtraError."""

    @abstractmethod
    def _link(self, site: Site) -> Link:
        """A way to a site. From now on `arrived` and `cut` are called."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Leave everything as it was."""

    def _why_unreachable(self) -> str:
        """Why nothing can be reached any more, so that the run ends with this error; "": it can. Asked often."""
        return ""

    # ------------------------------------------------------------ for links, from any thread

    def found(self, key: str, worker: Worker) -> None:
        """A site is there."""
        self._inbox.put(partial(self._find, key, worker))

    def gone(self, key: str, was_wanted: bool) -> None:
        """A site is gone, because somebody wanted it or not."""
        self._inbox.put(partial(self._forget, key, was_wanted))

    def arrived(self, site: Site, link: Link, frames: Sequence[bytes]) -> None:
        """Frames have come."""
        self._inbox.put(partial(self._hear, site, link, frames))

    def cut(self, site: Site, link: Link) -> None:
        """A link is broken."""
        self._inbox.put(partial(self._cut, site, link))

    # ------------------------------------------------------------ the protocol

    def workers(self) -> list[Worker]:
        """See `Engine.workers`: one for each site, with what that offers."""
        self._reach()
        there = [site.worker for site in self.sites.values()]
        self._offered = {worker.worker_id for worker in there}
        return there

    def open(self, run_id: str, heartbeat_s: float, lease_s: float) -> None:
        """See `Engine.open`."""
        # Signs of life wait for the next renewal, so that a site tells those of all its workers together.
        heartbeat_s = min(heartbeat_s, lease_s / 4)
        self._heartbeat_s, self._lease_s = heartbeat_s, lease_s
        self._settings |= {"run_id": run_id, "heartbeat_s": heartbeat_s, "lease_s": lease_s}
        self._reach()
        self._is_open = True
        for site in list(self.sites.values()):
            self._open_site(site, is_first=True)
        until = time.monotonic() + OPEN_S
        while any(not site.is_open and not site.why_not for site in self.sites.values()) and time.monotonic() < until:
            self._take_next(min(until, self._next_look) - time.monotonic())
            self._look_after_all(time.monotonic())
            if self._is_hurried:
                break
        for site in list(self.sites.values()):
            if not site.is_open and site.link is not None:  # told anew: by then others run something there
                self._cut(site, site.link)
        refused = [site for site in self.sites.values() if site.why_not]
        if refused and len(refused) == len(self.sites):
            site = refused[0]
            raise OSError(f"no {self.kind} can be used: {show_name(site.worker.worker_id)}: {site.why_not}")

    def levels(self) -> Levels:
        """See `Engine.levels`: those of all sites."""
        said = [site.levels for site in self.sites.values() if site.levels is not None]
        if not said:
            return Levels("not known yet", "not known yet")
        notes = dict.fromkeys(note for levels in said for note in levels.notes)
        return Levels(
            " or ".join(dict.fromkeys(levels.containment for levels in said)),
            " or ".join(dict.fromkeys(levels.memory for levels in said)),
            tuple(notes),
        )

    def census(self) -> list[tuple[Worker, Levels | None, str]]:
        """What each site offers, how strongly it can hold commands, and why it is of no use, if it is of none."""
        rows = [(site.worker, site.levels, site.why_not) for site in self.sites.values()]
        return sorted(rows, key=lambda row: row[0].worker_id)

    def bring_up(self, worker: Worker, incarnation: int) -> None:
        """Have a site bring a worker up: its own one, or, where it is nobody's own, the one that has the fewest."""
        guest = self.guests[worker.worker_id] = Guest(worker, incarnation)
        self._place(guest)

    def send(self, orders: Sequence[Order]) -> None:
        """Pass each order to the site of its worker."""
        frames: dict[Site, list[Message]] = {}
        for order in orders:
            guest = self.guests.get(order.worker_id)
            if guest is None or guest.site is None or guest.loss or guest.incarnation != order.incarnation:
                continue
            messages = frames.setdefault(guest.site, [])
            if isinstance(order, Start):
                guest.n_open += 1
                self._keep_outputs(guest.site, order, messages)
            messages.append(pack_order(order))
        for site, messages in frames.items():
            if site.link is not None:
                site.link.send(pack(messages, site.n_heard))

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """See `Engine.wait_reports`."""
        why_not = self._why_unreachable()
        if why_not:
            raise OSError(why_not)
        now = time.monotonic()
        until = now + timeout_s
        while not self._pending and not self._is_woken:
            if now >= self._next_look:
                self._look_after_all(now)
            if not self._pending:
                self._take_next(min(until, self._next_look) - now)
            now = time.monotonic()
            if now >= until:
                break
        self._is_woken = False
        reports, self._pending = self._pending, []
        return reports

    def lose(self, worker_id: str, message: str) -> None:
        """Have a worker ended; the loss is reported when it is known that it is."""
        guest = self.guests.get(worker_id)
        if guest is None or guest.loss:
            return
        self._suspect(guest, message)
        if guest.site is None:
            self._report_loss(guest)
        else:
            self._say(guest.site, ("lose", worker_id, guest.incarnation, message))

    def wake(self) -> None:
        """See `Engine.wake`."""
        self._inbox.put(None)

    def hurry(self) -> None:
        """See `Engine.hurry`."""
        self._is_hurried = True
        self.wake()

    def close(self, grace_s: float) -> list[Report]:
        """See `Engine.close`."""
        self._is_closing = True
        try:
            self._end_all(grace_s)
        finally:
            for site in self.sites.values():
                if site.link is not None:
                    site.link.close()
            if self._is_connected:
                self._is_connected = False
                self._disconnect()
        reports, self._pending = self._pending, []
        return reports

    # ------------------------------------------------------------ sites

    def _reach(self) -> None:
        if not self._is_connected:
            try:
                self._connect()
            except BaseException:
                self._disconnect()
                raise
            self._is_connected = True
            self._take_next(0.0)

    def _take_next(self, timeout_s: float) -> None:
        """Take what is in the inbox, waiting for it at most so long."""
        try:
            item = self._inbox.get(timeout=max(0.0, timeout_s))
            while True:
                if item is None:
                    self._is_woken = True
                else:
                    item()
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _find(self, key: str, worker: Worker) -> None:
        if key in self.sites:
            return
        site = self.sites[key] = Site(key, worker)
        if self._is_open and not self._is_closing:
            self._open_site(site, is_first=False)

    def _open_site(self, site: Site, *, is_first: bool) -> None:
        """Begin a session. is_first: nothing of this run is meant to be on that host."""
        site.link_again, site.n_heard = NEVER, 0
        site.kept.clear()
        try:
            site.link = self._link(site)
        except Exception as error:  # whatever a cluster may say
            logger.warning("%s %s cannot be reached: %s", self.kind, show_name(site.worker.worker_id), error)
            site.link_again = time.monotonic() + LINK_AGAIN_S
            self._next_look = 0.0
            return
        site.link.send(pack([("open", {**self._settings, "site": site.key, "is_first": is_first})]))

    def _forget(self, key: str, was_wanted: bool) -> None:
        site = self.sites.pop(key, None)
        if site is not None:
            site.was_wanted = was_wanted
            self._part(site, f"its {self.kind} {'has left' if was_wanted else 'is gone'}")

    def _cut(self, site: Site, link: Link) -> None:
        if site.link is link:
            self._part(site, f"the connection to its {self.kind} was lost")
            if not self._is_closing:
                site.link_again = time.monotonic() + LINK_AGAIN_S
                self._next_look = 0.0

    def _part(self, site: Site, message: str) -> None:
        """There is no way to a site any more: its workers are lost, as soon as that is sure."""
        if site.link is not None:
            site.link.close()
        site.link, site.is_open = None, False
        lost = [guest for guest in self.guests.values() if guest.site is site]
        for guest in lost:
            self._suspect(guest, message)
            if not guest.is_away:
                guest.sure = self._sure(site)
        self._bury(lost)

    def _sure(self, site: Site) -> float:
        """When nothing runs on a site any more, if it is granted nothing from now on."""
        return site.granted + self._lease_s + self._heartbeat_s + SLACK_S

    def _hear(self, site: Site, link: Link, frames: Sequence[bytes]) -> None:
        if site.link is link:
            for frame in frames:
                site.n_heard += 1
                for message in unpack(frame)[1]:
                    self._take(site, message)

    def _take(self, site: Site, message: Message) -> None:
        """One message of a site."""
        report = unpack_report(message)
        what = message[0]
        if report is not None:
            self._take_report(report)
        elif what == "renew":
            site.granted = time.monotonic()
            self._say(site, ("grant", message[1]))
        elif what == "written":
            self._write(*message[1:])
        elif what == "opened":
            self._welcome(site, message[1])
        elif what == "buried":
            lost = [guest for guest in self.guests.values() if guest.loss and guest.number == message[1]]
            for guest in lost:
                if guest.is_away and guest.host == site.host:
                    self._report_loss(guest)
        elif what == "refused":
            site.why_not = message[1]
            logger.error("%s %s cannot be used: %s", self.kind, show_name(site.worker.worker_id), message[1])
            self._part(site, message[1])
        elif what == "closed":
            site.is_closed = True

    def _welcome(self, site: Site, about: dict[str, Any]) -> None:
        """A site is open, and nothing is left of any session that its process had before."""
        for guest in [guest for guest in self.guests.values() if guest.is_away and guest.site is site]:
            if guest.process == about["process"]:
                self._report_loss(guest)
        site.is_open = True
        site.host, site.process = about["host"], about["process"]
        site.levels = Levels(about["containment"], about["memory"], tuple(about["notes"]))
        self._bury([guest for guest in self.guests.values() if guest.is_away])
        for guest in list(self.guests.values()):
            if guest.site is None:
                self._place(guest)
        self._offer(site)

    def _offer(self, site: Site) -> None:
        """Say that a site's own worker is there, if anybody wants to know, and it is not known."""
        if self._offered is not None and site.worker.worker_id not in self.guests:
            self._offered.add(site.worker.worker_id)
            self._pending.append(WorkerOffered(site.worker))

    def _say(self, site: Site, message: Message) -> None:
        if site.link is not None:
            site.link.send(pack([message]))

    # ------------------------------------------------------------ workers

    def _place(self, guest: Guest) -> None:
        """Bring a worker up where it belongs, if that is there."""
        worker_id = guest.worker.worker_id
        named = [site for site in self.sites.values() if site.worker.worker_id == worker_id]
        if named and named[0].why_not:
            guest.loss = named[0].why_not
            self._report_loss(guest)
            return
        sites = [site for site in self.sites.values() if site.is_open]
        own = [site for site in sites if site in named]
        if named and not own:
            return  # it is being opened
        if not own and self._offered is not None and worker_id in self._offered:
            return  # it may come
        n_guests = Counter(other.site for other in self.guests.values())
        site = min(own or sites, key=lambda site: n_guests[site], default=None)
        if site is None:
            return
        guest.site, guest.host, guest.process = site, site.host, site.process
        guest.number = self._next_number(site.host)
        worker = guest.worker
        amounts = worker.cpu_cores_available, worker.memory_available_mb
        self._say(site, ("bring_up", worker_id, *amounts, guest.incarnation, guest.number))

    def _next_number(self, host: str) -> int:
        """A number that no agent on a host has that may have left something."""
        taken = {guest.number for guest in self.guests.values() if guest.host == host}
        number = self._numbers.get(host, 0)
        for _ in range(MOST_AGENTS):
            number = number % MOST_AGENTS + 1
            if number not in taken:
                self._numbers[host] = number
                return number
        raise OSError(f"there are {MOST_AGENTS:,} agents on one host, and no marks for more")

    def _take_report(self, report: Report) -> None:
        """A report of a worker, unless it is of one that is not there any more."""
        guest = self.guests.get(report.worker_id)
        if guest is None or isinstance(report, WorkerOffered) or guest.incarnation != report.incarnation:
            return
        if isinstance(report, WorkerLost):
            guest.loss = report.message
            self._report_loss(guest)
        elif isinstance(report, WorkerHeard):
            if not guest.loss:
                self._pending.append(report)
        else:
            guest.n_open -= isinstance(report, (AttemptEnded, TaskReturned))
            self._pending.append(report)

    def _suspect(self, guest: Guest, message: str) -> None:
        """A worker is to be lost: it is given nothing more."""
        if not guest.loss:
            guest.loss = message
            self._pending.append(WorkerSuspected(guest.worker.worker_id, incarnation=guest.incarnation))
        self._next_look = 0.0

    def _report_loss(self, guest: Guest) -> None:
        """Nothing of a worker runs any more."""
        worker_id = guest.worker.worker_id
        del self.guests[worker_id]
        message = guest.loss or f"its {self.kind} was begun anew"
        if guest.site is not None and guest.site.was_wanted:
            self._pending.append(WorkerWithdrawn(worker_id, message, guest.incarnation))
            for site in self.sites.values():
                if site.is_open and site.worker.worker_id == worker_id:
                    self._offer(site)  # it has come again meanwhile
        else:
            self._pending.append(WorkerLost(worker_id, message, incarnation=guest.incarnation))

    def _bury(self, lost: Sequence[Guest]) -> None:
        """Have sites on the same hosts see to it that nothing runs of workers to which there is no way any more."""
        for guest in lost:
            if guest.is_away:
                near = next((site for site in self.sites.values() if site.is_open and site.host == guest.host), None)
                if near is not None:
                    self._say(near, ("bury", [guest.number]))

    def _look_after_all(self, now: float) -> None:
        """Report the workers that are lost for sure by now, and try again to reach sites."""
        self._next_look = NEVER
        for guest in list(self.guests.values()):
            if guest.loss and guest.site is not None:
                sure = guest.sure if guest.is_away else self._sure(guest.site)
                if now >= sure or (guest.is_away and not guest.n_open):
                    self._report_loss(guest)
                else:
                    self._next_look = min(self._next_look, sure)
        for site in self.sites.values():
            if now >= site.link_again:
                self._open_site(site, is_first=False)
            self._next_look = min(self._next_look, site.link_again)

    def _end_all(self, grace_s: float) -> None:
        """Have all sites end what they run, and wait until they have; for those that are not heard, until they must.

        A site that was told to go lets its commands have their grace, whatever becomes of its lease meanwhile.
        """
        told = [site for site in self.sites.values() if site.link is not None]
        for site in told:
            self._say(site, ("close", grace_s))
        answered_by = time.monotonic() + grace_s + CLOSE_SLACK_S
        busy: dict[Site | None, float] = {}
        for guest in self.guests.values():
            if guest.n_open and guest.site is not None:
                sure = guest.sure if guest.is_away else self._sure(guest.site) + grace_s + CLOSE_SLACK_S
                busy[guest.site] = max(busy.get(guest.site, 0.0), sure)
        is_urgent = False
        while True:
            left = [site for site in told if not site.is_closed]
            linked = [site for site in left if site.link is not None]
            until = max(
                answered_by if linked else 0.0,
                *(0.0 if is_urgent or (site in told and site not in left) else sure for site, sure in busy.items()),
                0.0,
            )
            now = time.monotonic()
            if now >= until:
                break
            self._take_next(min(until - now, 0.5))
            if self._is_hurried and not is_urgent:
                is_urgent, answered_by = True, time.monotonic() + CLOSE_SLACK_S
                for site in linked:
                    self._say(site, ("close", 0.0))

    # ------------------------------------------------------------ outputs

    def _keep_outputs(self, site: Site, order: Start, messages: list[Message]) -> None:
        """Tell a site of a folder of outputs that is here, and may not be there."""
        for path in (order.stdout, order.stderr):
            folder = os.path.dirname(path) if path is not None else None
            if folder and folder not in site.kept:
                site.kept.add(folder)
                if self._folders.setdefault(folder, os.path.isdir(folder)):
                    messages.append(("keep", folder))

    def _write(self, path: str, at: int, data: bytes, is_new: bool) -> None:
        """A piece of an output has come."""
        if not self._folders.get(os.path.dirname(path)):
            return
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if is_new else 0), 0o666)
            try:
                os.pwrite(fd, data, at)
            finally:
                os.close(fd)
        except OSError as error:
            logger.error("an output cannot be kept: %s: %s", show_name(path), error)


def is_amount(amount: float) -> bool:
    """Whether a resource that a cluster counts can be counted here: in whole pieces, and not in more than 2**31."""
    return 0 < amount < 1 << 31 and amount == int(amount)
