"""Workers at a distance: real outposts on this machine, behind links that a test can cut, delay, break and mend."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import uuid
from pathlib import Path

import pytest
from conformance.field import Field, survivors, wait_for

from fastsched import Worker
from fastsched.engines import outpost, porter, remote
from fastsched.engines.outpost import Outpost
from fastsched.engines.parcels import pack, unpack
from fastsched.engines.remote import RemoteEngine
from fastsched.events import (
    AttemptEnded,
    Start,
    TaskReturned,
    WorkerHeard,
    WorkerLost,
    WorkerOffered,
    WorkerSuspected,
    WorkerWithdrawn,
)

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not os.path.isdir("/proc/self"), reason="skipped: it takes POSIX, and /proc to look for marks"
)
DEAF = "trap '' TERM; "  # what a command begins with that does not end when it is asked to
FULL = 1 << 30  # bytes of backlog: nothing more is sent


# ---------------------------------------------------------------- a network of one machine


class Way:
    """Frames in one direction of a link, in their order. `kept`: those that are on their way; None: they fly."""

    def __init__(self, deliver, place):
        self.deliver, self.place = deliver, place
        self.kept = None
        self.arrived = []
        self.is_cut = False
        self.lock = threading.Lock()

    def put(self, frame):
        """Send a frame, or lose it."""
        with self.lock:
            if self.kept is not None:
                self.kept.append(frame)
            elif not self.is_cut:
                self.arrive(frame)

    def hold(self):
        """From now on frames are on their way."""
        with self.lock:
            self.kept = []

    def let_go(self, n=None):
        """So many of those that are on their way arrive; None: all of them, and they fly again."""
        with self.lock:
            for frame in self.kept[:n]:
                self.arrive(frame)
            self.kept = None if n is None else self.kept[n:]

    def messages(self):
        """What is on its way."""
        with self.lock:
            return [message for frame in self.kept or () for message in unpack(frame)[1]]

    def delivered(self):
        """What has arrived."""
        return [message for frame in list(self.arrived) for message in unpack(frame)[1]]

    def arrive(self, frame):
        self.arrived.append(frame)
        self.deliver(frame)


class Wire:
    """See `engines.remote.Link`: an outpost of its own at the other end."""

    def __init__(self, engine, site, place):
        self.engine, self.site, self.place = engine, site, place
        self.up = Way(lambda frame: engine.arrived(site, self, [place.introduce(frame)]), place)
        self.outpost = Outpost(self.say, lambda: place.backlog)
        self.down = Way(self.outpost.hear, place)
        self.outpost.place = place
        self.outpost.start()

    def say(self, frame):
        """What the outpost has to say; its thread stands still here where its place does."""
        if not frame:  # it has ended, and its process closes the connection
            if not self.up.is_cut:
                self.engine.cut(self.site, self)
            return
        if not self.place.goes_on.is_set():
            self.place.stands.set()
            self.place.goes_on.wait(60)
        self.up.put(frame)

    def send(self, frame):
        self.down.put(frame)

    def close(self):
        """Whoever can be heard hears of it."""
        self.up.is_cut = True
        if not self.down.is_cut:
            self.outpost.hang_up()


class Place:
    """A process of which a test says on which host it is, and what becomes of the way to it."""

    def __init__(self, name, host="here", worker=None):
        self.key, self.host, self.process = f"at-{name}", host, uuid.uuid4().hex
        self.worker = worker or Worker(name, 4, 4096)
        self.wires = []
        self.backlog = 0
        self.is_cut = False
        self.goes_on, self.stands = threading.Event(), threading.Event()
        self.goes_on.set()

    @property
    def wire(self):
        return self.wires[-1]

    def connect(self, engine, site):
        if self.is_cut:
            return Unreachable(engine, site)
        self.wires.append(Wire(engine, site, self))
        return self.wire

    def introduce(self, frame):
        """A frame in which the outpost is where the test wants it to be."""
        n_heard, messages = unpack(frame)
        who = {"host": self.host, "process": self.process}
        return pack([(m[0], {**m[1], **who}) if m[0] == "opened" else m for m in messages], n_heard)

    def cut(self):
        """Nothing is heard any more, either way, and nobody is told."""
        self.is_cut = self.wire.up.is_cut = self.wire.down.is_cut = True

    def stand_still(self):
        """The outpost does nothing more until `goes_on` is set, as one whose process is busy, or stopped."""
        self.goes_on.clear()
        assert self.stands.wait(10)

    def break_off(self, *, is_noticed_there=True):
        """The link breaks, which the scheduler notices; the outpost too or not. It can be made again."""
        self.wire.up.is_cut = True
        if not is_noticed_there:
            self.wire.down.is_cut = True
        self.wire.engine.cut(self.wire.site, self.wire)


class Unreachable:
    """A link that cannot be made."""

    def __init__(self, engine, site):
        engine.cut(site, self)

    def send(self, frame):
        pass

    def close(self):
        pass


class WiredEngine(RemoteEngine):
    """Over wires to places."""

    kind = "wired worker"

    def __init__(self, *places, **options):
        super().__init__(**options)
        self.places = {place.key: place for place in places}

    def _connect(self):
        for place in self.places.values():
            self.found(place.key, place.worker)

    def _link(self, site):
        return self.places[site.key].connect(self, site)

    def _disconnect(self):
        pass

    def add(self, place):
        """Another place is there from now on."""
        self.places[place.key] = place
        self.found(place.key, place.worker)


class Processes(dict):
    """In place of what is one for each process: as many as there are places."""

    def __setitem__(self, key, value):
        super().__setitem__((threading.current_thread().place.process, key), value)

    def __delitem__(self, key):
        super().__delitem__((threading.current_thread().place.process, key))

    def get(self, key):
        return super().get((threading.current_thread().place.process, key))


@pytest.fixture(autouse=True)
def many_processes(monkeypatch):
    monkeypatch.setattr(outpost, "_serving", Processes())


@pytest.fixture
def mark():
    """A text that is in no other command line, and that `sleep` takes for a time beyond any test."""
    text = f"{4000 + os.getpid() % 1000}.{uuid.uuid4().int % 10**12:012}"
    yield text
    wait_for(lambda: not survivors(text), 10)


@pytest.fixture
def make_field(mark, tmp_path, monkeypatch):
    """Makes fields over places, in a folder of its own; in the end nothing is left of them."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(*places, heartbeat_s=0.05, lease_s=20.0, engine=None, **options):
        engine = engine or WiredEngine(*places, **options)
        made.append((engine, []))
        field = Field(engine, heartbeat_s=heartbeat_s, lease_s=lease_s)
        made[-1][1].append(field)
        return field

    yield make
    for engine, fields in made:
        wires = [wire for place in engine.places.values() for wire in place.wires]
        for wire in wires:
            wire.place.goes_on.set()
            if wire.up.is_cut or wire.down.is_cut:
                engine.cut(wire.site, wire)
                wire.outpost.hang_up()
        engine.hurry()
        for each in fields or [engine]:
            each.close(0.0)
        for wire in wires:
            wire.outpost.hang_up()
            wire.outpost.join(20)
            assert not wire.outpost.is_alive()


@pytest.fixture
def short_slack(monkeypatch):
    """Real agents are killed within this, unless they have been left alone."""
    monkeypatch.setattr(remote, "SLACK_S", 0.8)


def ticking(word, letter="x", mark=""):
    """A command that writes a letter again and again, for ever, and cannot be asked to end."""
    return f"{DEAF}while :; do printf {letter} >> {os.path.abspath(word)}; sleep 0.01; done; : {mark}"


def has(path):
    return lambda: Path(path).exists()


def kinds_of(field, *kinds):
    return [type(report) for report in field.reports if isinstance(report, kinds)]


def losses(field):
    return [report for report in field.reports if isinstance(report, WorkerLost)]


def suspicions(field):
    return [report for report in field.reports if isinstance(report, WorkerSuspected)]


# ---------------------------------------------------------------- leases


@pytest.mark.parametrize("kind", ["silent", "broken"])
def test_a_host_that_cannot_be_heard_ends_what_it_runs_and_only_then_is_its_worker_lost(
    make_field, mark, short_slack, kind
):
    far, near = Place("w1", "far"), Place("w2", "near")
    field = make_field(far, near, lease_s=0.8)
    field.bring_up("w1")
    field.bring_up("w2")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    began = time.monotonic()
    far.cut()
    if kind == "broken":
        far.break_off(is_noticed_there=False)
    else:
        field.engine.lose("w1", "it was silent")
    field.find(WorkerSuspected, lambda report: report.worker_id == "w1")
    field.wait(0.4)
    assert survivors(mark) and not losses(field), "its lease is not over"
    field.loss_of("w1")
    assert not survivors(mark), "it ran when the loss was told"
    assert 0.8 <= time.monotonic() - began < 3
    field.start("b", ticking("word", "b"), "w2")
    field.wait_until(lambda: "bbb" in Path("word").read_text())
    assert set(Path("word").read_text().partition("b")[2]) == {"b"}, "both have run at a time"
    field.wait(0.3)
    assert not losses(field) and not suspicions(field), "said once, and the other one goes on"


def test_a_host_on_which_the_outpost_stands_still_ends_what_it_runs_before_its_worker_is_lost(make_field, mark):
    """Its agents do it by themselves: they ask first, and kill, so this takes the slack as it is."""
    place = Place("w1")
    field = make_field(place, heartbeat_s=0.1, lease_s=0.5)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    began = time.monotonic()
    place.stand_still()
    field.engine.lose("w1", "it was silent")
    field.wait_until(lambda: not survivors(mark))
    assert time.monotonic() - began > 2.4 and not losses(field)
    field.loss_of("w1")
    assert 5.4 < time.monotonic() - began < 9


def test_a_host_on_which_the_outpost_stands_still_does_so_with_long_heartbeats_too(make_field, mark):
    """It has given its agents a sign of life almost a heartbeat after it had asked, and they look every heartbeat.

    A heartbeat is a quarter of the lease at most.
    """
    place = Place("w1")
    field = make_field(place, heartbeat_s=4.0, lease_s=4.1)
    granted = time.monotonic()
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    field.wait_until(lambda: time.monotonic() > granted + 0.8)
    assert sum(m[0] == "renew" for m in place.wire.up.delivered()) == 1
    place.goes_on.clear()
    field.start("b", "true")  # an agent hears that as a sign of life
    assert place.stands.wait(0.3), "it is to say that this has ended"
    field.engine.lose("w1", "it was silent")
    field.loss_of("w1")
    assert not survivors(mark), "it ran when the loss was told"


def test_a_host_that_is_not_heard_and_then_stands_still_ends_what_it_runs_before_its_worker_is_lost(
    make_field, mark, monkeypatch
):
    """The outpost gives its agents signs of life as long as its own lease holds, and they have a lease from then on."""
    monkeypatch.setattr(remote, "SLACK_S", remote.ORPHAN_GRACE_S + 0.5)
    place = Place("w1")
    field = make_field(place, lease_s=1.5)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    place.cut()
    field.engine.lose("w1", "it was silent")
    until = time.monotonic() + 1.3
    field.wait_until(lambda: time.monotonic() > until)
    place.stand_still()
    field.loss_of("w1")
    assert not survivors(mark), "it ran when the loss was told"


def test_an_order_that_comes_after_the_lease_starts_nothing(make_field, mark, short_slack):
    place = Place("w1")
    field = make_field(place, lease_s=0.5)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    place.wire.down.hold()
    place.wire.up.hold()
    field.start("late", f"touch {os.path.abspath('late')}")
    field.engine.lose("w1", "it was silent")
    field.loss_of("w1")
    assert not survivors(mark)
    field.engine.bring_up(Worker("w1", 4, 4096), 2)
    place.wire.down.let_go()
    place.wire.up.let_go()
    field.find(WorkerHeard, lambda report: report.first and report.incarnation == 2)
    field.incarnations["w1"] = 2
    assert field.run("exit 3").exit_code == 3
    assert not os.path.exists("late") and not losses(field) and not field.ends()


def test_orders_that_lay_there_while_the_outpost_stood_still_start_nothing(make_field, short_slack):
    """The agent has gone by then, or goes when the lease is judged, which is before orders are read."""
    place = Place("w1")
    field = make_field(place, lease_s=0.5)
    field.bring_up("w1")
    place.stand_still()
    field.start("late", f"touch {os.path.abspath('late')}")
    field.engine.lose("w1", "it was silent")
    field.loss_of("w1")
    field.engine.bring_up(Worker("w1", 4, 4096), 2)
    place.goes_on.set()
    field.find(WorkerHeard, lambda report: report.first and report.incarnation == 2)
    field.incarnations["w1"] = 2
    assert field.run("exit 3").exit_code == 3 and not os.path.exists("late")


def test_a_grant_that_comes_late_does_not_extend_a_lease(make_field, mark):
    place = Place("w1")
    field = make_field(place, lease_s=1.0)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    place.wire.down.hold()
    field.wait_until(lambda: [m for m in place.wire.down.messages() if m[0] == "grant"])
    place.wire.up.is_cut = True
    began = time.monotonic()
    field.wait_until(lambda: time.monotonic() > began + 0.7)
    assert survivors(mark)
    place.wire.down.let_go()
    field.wait_until(lambda: not survivors(mark))
    assert 0.7 < time.monotonic() - began < 1.5


def test_as_long_as_leases_are_granted_everything_goes_on(make_field, mark):
    """However slow the way is, if it is quicker than the lease."""
    place = Place("w1")
    field = make_field(place, lease_s=0.6)
    field.bring_up("w1")
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    until = time.monotonic() + 1.6
    while time.monotonic() < until:
        place.wire.down.hold()
        field.wait_until(lambda: len([m for m in place.wire.down.messages() if m[0] == "grant"]) > 2)
        place.wire.down.let_go()
    assert survivors(mark) and not losses(field) and not field.ends()


def test_an_outpost_whose_lease_is_over_rests(make_field, mark):
    place = Place("w1")
    field = make_field(place, lease_s=0.3)
    field.bring_up("w1")
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    place.cut()
    field.wait_until(lambda: not survivors(mark))
    clock = time.pthread_getcpuclockid(place.wire.outpost.ident)
    before = time.clock_gettime(clock)
    time.sleep(0.6)
    assert time.clock_gettime(clock) - before < 0.3, "seconds of work in 0.6 s, with nothing to do"


# ---------------------------------------------------------------- links that break


@pytest.mark.parametrize("is_noticed_there", [True, False])
def test_a_link_that_breaks_and_is_made_again_costs_one_loss_and_nothing_runs_twice(make_field, mark, is_noticed_there):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.start("a", f"echo a >> {os.path.abspath('word')}; exec sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    place.break_off(is_noticed_there=is_noticed_there)
    field.find(WorkerSuspected)
    field.start("lost", f"touch {os.path.abspath('lost')}")
    loss = field.loss_of("w1", 10)
    assert not survivors(mark), "it ran when the loss was told"
    assert "connection" in loss.message and loss.incarnation == 1 and len(place.wires) > 1
    field.bring_up("w1")
    assert field.run("exit 3").exit_code == 3
    field.wait(0.3)
    assert not losses(field) and not suspicions(field) and not field.ends(), "it was said once"
    assert Path("word").read_text() == "a\n" and not os.path.exists("lost")


def test_a_worker_comes_up_when_there_is_a_way_again(make_field):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    place.cut()
    place.break_off()
    loss = field.loss_of("w1", 2)  # it ran nothing, so that was sure at once
    assert loss.incarnation == 1
    field.engine.bring_up(Worker("w1", 4, 4096), 2)
    field.wait(0.7)
    assert not [r for r in field.reports if isinstance(r, WorkerHeard) and r.incarnation == 2]
    place.is_cut = False
    field.find(WorkerHeard, lambda report: report.first and report.incarnation == 2, 5)


def test_what_had_ended_when_a_link_broke_counts(make_field):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.start("a", f"touch {os.path.abspath('ended')}; exit 3")
    wait_for(lambda: has("ended")())
    wait_for(lambda: "AttemptEnded" in [message[0] for message in place.wire.up.delivered()])  # nobody has read it
    place.break_off()
    field.loss_of("w1", 10)
    assert [end.exit_code for end in field.ends()] == [3]


def test_a_worker_process_buries_what_another_on_its_host_has_left_long_before_the_lease_is_over(make_field, mark):
    left, near = Place("w1", "here"), Place("w2", "here")
    field = make_field(left, near)
    field.bring_up("w1")
    field.bring_up("w2")
    field.start("a", f"{DEAF}(setsid env -i sleep {mark} &) ; sleep {mark}; :")
    field.start("b", "sleep 1.5; exit 2", "w2")
    field.wait_until(lambda: len(survivors(mark)) >= 3)
    left.cut()
    left.break_off()
    field.loss_of("w1", 6)
    assert not survivors(mark), "it ran when the loss was told"
    assert field.end_of("b").exit_code == 2, "its own it leaves alone"


def test_one_on_another_host_buries_nothing(make_field, mark, short_slack):
    left, far = Place("w1", "here"), Place("w2", "there")
    field = make_field(left, far, lease_s=1.2)
    field.bring_up("w1")
    field.bring_up("w2")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    left.cut()
    left.break_off()
    began = time.monotonic()
    field.wait_until(lambda: time.monotonic() > began + 0.7)
    assert survivors(mark), "its processes are none of theirs, whatever numbers they have"
    field.loss_of("w1")
    assert time.monotonic() - began > 1.1 and not survivors(mark)


def test_a_worker_process_that_comes_later_buries_what_another_on_its_host_has_left(make_field, mark):
    left = Place("w1", "here")
    field = make_field(left)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    left.cut()
    left.break_off()
    field.find(WorkerSuspected)
    assert survivors(mark)
    field.engine.add(Place("w2", "here"))
    field.loss_of("w1", 6)
    assert not survivors(mark), "it ran when the loss was told"


@pytest.mark.parametrize("host", ["here", "there"])
def test_a_process_that_was_begun_anew_at_its_address_costs_its_worker_one_loss(make_field, mark, short_slack, host):
    """On its host it buries what the one before it has left; on another one the lease of that has to be over."""
    place = Place("w1", "here")
    field = make_field(place, lease_s=1.5)
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    place.process, place.host = uuid.uuid4().hex, host
    began = time.monotonic()
    place.break_off(is_noticed_there=False)
    field.loss_of("w1", 6)
    assert not survivors(mark), "it ran when the loss was told"
    assert host == "here" or time.monotonic() - began > 1.2
    field.bring_up("w1")
    assert field.run("exit 3").exit_code == 3


# ---------------------------------------------------------------- workers and sites


def brought_up_at(place):
    return [m[1] for m in place.wire.down.delivered() if m[0] == "bring_up"]


def test_of_two_workers_on_one_site_one_is_lost_and_the_other_goes_on(make_field, mark):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.bring_up("w2")
    field.start("a", f"sleep {mark}", "w1")
    field.start("b", "sleep 0.7; exit 2", "w2")
    field.wait_until(lambda: survivors(mark))
    field.engine.lose("w1", "unwanted")
    loss = field.loss_of("w1")
    assert loss.message == "unwanted" and not survivors(mark)
    assert field.end_of("b").exit_code == 2 and not losses(field)
    field.bring_up("w1")
    assert field.run("exit 3", worker_id="w1").exit_code == 3


def test_workers_are_spread_over_sites_that_are_nobodys_own(make_field):
    here, there = Place("x"), Place("y")
    field = make_field(here, there)
    for name in ("w1", "w2", "w3", "w4"):
        field.bring_up(name)
    assert [len(brought_up_at(place)) for place in (here, there)] == [2, 2]


def test_the_agents_of_a_run_on_one_host_have_different_numbers(make_field):
    """By them one is told from the other when it is buried; a number is not used again at once."""
    first, second, far = Place("w1", "here"), Place("w2", "here"), Place("w3", "there")
    field = make_field(first, second, far)
    names = ["w1", "w2", "w3", "w4", "w5", "w6", "w1"]
    for i, name in enumerate(names):
        if i == 6:
            field.engine.lose(name, "again")
            field.loss_of(name)
        field.bring_up(name)
        field.run(f"env | grep ^FASTSCHED_MARK_ > {os.path.abspath(f'mark{i}')}", worker_id=name)
    numbers = [Path(f"mark{i}").read_text().partition("=")[2].partition(".")[0] for i in range(7)]
    places = [place for name in names for place in (first, second, far) if name in brought_up_at(place)]
    here = [number for number, place in zip(numbers, places) if place is not far]
    assert len(here) == len(set(here)) >= 5, (numbers, places)


def test_a_number_is_given_to_no_two_agents_at_a_time(make_field, monkeypatch):
    monkeypatch.setattr(remote, "MOST_AGENTS", 3)
    place = Place("x")
    field = make_field(place)
    for name in ("w1", "w2", "w3"):
        field.bring_up(name)
    with pytest.raises(OSError, match="3 agents on one host"):
        field.engine.bring_up(Worker("w4", 1, 1024), 1)
    field.engine.lose("w2", "unwanted")
    field.loss_of("w2")
    field.bring_up("w2")
    for name in ("w1", "w2", "w3"):
        field.run(f"env | grep ^FASTSCHED_MARK_ > {os.path.abspath(name)}", worker_id=name)
    assert len({Path(name).read_text().partition("=")[2].partition(".")[0] for name in ("w1", "w2", "w3")}) == 3


def test_two_workers_in_one_process_both_work(make_field, monkeypatch):
    """Such as those of `LocalCluster(n_workers=2, processes=False)`."""
    monkeypatch.setattr(outpost, "_serving", {})
    monkeypatch.setattr(remote, "OPEN_S", 2.0)
    first, second = Place("w1"), Place("w2")
    second.process = first.process
    field = make_field(engine=offered_by(first, second))
    for name in ("w1", "w2"):
        field.engine.bring_up(Worker(name, 1, 1024), 1)
        field.incarnations[name] = 1
    try:
        for name in ("w1", "w2"):
            field.find(WorkerHeard, lambda report, name=name: report.first and report.worker_id == name, 2)
        assert field.run("exit 2", worker_id="w1").exit_code == 2
        assert field.run("exit 3", worker_id="w2").exit_code == 3
    finally:
        for place in (first, second):
            if not place.wire.outpost.is_alive():
                place.cut()


def test_a_site_that_opens_late_leaves_alone_what_runs_on_its_host(make_field, mark, monkeypatch):
    monkeypatch.setattr(remote, "OPEN_S", 0.3)
    first, late = Place("w1", "here"), Place("w2", "here")
    connect = late.connect

    def connect_slowly(engine, site):
        wire = connect(engine, site)
        if len(late.wires) == 1:
            wire.down.hold()
        return wire

    late.connect = connect_slowly
    field = make_field(first, late)
    field.bring_up("w1")
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    late.wires[0].down.let_go()
    field.wait_until(lambda: "opened" in [m[0] for m in late.wire.up.delivered()])
    field.wait(0.2)
    assert survivors(mark) and not losses(field)
    field.bring_up("w2")
    assert field.run("exit 3", worker_id="w2").exit_code == 3


# ---------------------------------------------------------------- workers that are offered


def offered_by(*places, **options):
    engine = WiredEngine(*places, **options)
    assert [worker.worker_id for worker in engine.workers()] == [place.worker.worker_id for place in places]
    return engine


def test_a_site_that_comes_is_offered_and_one_that_is_taken_away_is_withdrawn(make_field, mark):
    place, new = Place("w1"), Place("w2", worker=Worker("w2", 2, 512))
    field = make_field(engine=offered_by(place))
    field.bring_up("w1")
    field.engine.add(new)
    offer = field.find(WorkerOffered, lambda report: report.worker_id == "w2")
    assert offer.worker == Worker("w2", 2, 512)
    field.bring_up("w2", 2, 512)
    field.start("a", f"sleep {mark}", "w2")
    field.wait_until(lambda: survivors(mark))
    new.cut()
    field.engine.gone(new.key, True)
    gone = field.find(WorkerWithdrawn, seconds=6)  # the other one has buried what was left
    assert (gone.worker_id, gone.incarnation) == ("w2", 1) and not survivors(mark) and not losses(field)
    assert field.run("exit 3").exit_code == 3


def test_a_site_that_is_gone_and_that_nobody_wanted_to_go_costs_a_loss(make_field):
    place, other = Place("w1"), Place("w2")
    field = make_field(engine=offered_by(place, other))
    field.bring_up("w1")
    place.is_cut = True
    field.engine.gone(place.key, False)
    assert "is gone" in field.loss_of("w1", 3).message


def test_a_worker_that_is_taken_away_and_comes_again_under_its_name_is_offered_again(make_field, mark):
    """As those of `client.restart()`: the new process is there before it is sure that the old one has ended."""
    place, again = Place("w1", "here"), Place("w1", "here")
    again.key = "at-another-port"
    field = make_field(engine=offered_by(place))
    field.bring_up("w1")
    field.start("a", ticking("word", "a", mark))
    field.wait_until(has("word"))
    field.reports.clear()
    place.cut()
    field.engine.gone(place.key, True)
    field.engine.add(again)
    field.wait_until(lambda: kinds_of(field, WorkerWithdrawn), 6)
    assert not survivors(mark)
    field.wait_until(lambda: kinds_of(field, WorkerOffered), 3)
    assert kinds_of(field, WorkerWithdrawn, WorkerOffered) == [WorkerWithdrawn, WorkerOffered]
    field.bring_up("w1")
    assert field.run("exit 3").exit_code == 3


# ---------------------------------------------------------------- what follows something else


def order(field, task_id, command, after=None):
    return Start(task_id, "w1", 1, field.incarnations["w1"], command, 1.0, 128, after=after)


def write(word):
    return f"echo x >> {os.path.abspath(word)}"


def test_an_order_that_crosses_the_return_of_what_it_follows_comes_back(make_field):
    """However slow the way is."""
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    place.wire.up.hold()
    field.engine.send([order(field, "a", "sleep 0.6; exit 4"), order(field, "b", write("word"), "a")])
    wait_for(lambda: [m for m in place.wire.up.messages() if m[:2] == ("TaskReturned", "b")])
    for i in range(3):  # each in a frame of its own
        field.engine.send([order(field, f"c{i}", write("word"), f"c{i - 1}" if i else "b")])
    wait_for(lambda: [m for m in place.wire.up.messages() if m[:2] == ("TaskReturned", "c2")])
    place.wire.up.let_go()
    assert field.end_of("a").exit_code == 4
    back = [report.task_id for report in field.reports if isinstance(report, TaskReturned)]
    assert sorted(back) == ["b", "c0", "c1", "c2"] and not os.path.exists("word")


def test_what_came_back_can_be_ordered_again_and_followed(make_field):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.engine.send([order(field, "a", "sleep 0.3"), order(field, "b", write("word"), "a")])
    field.find(TaskReturned, lambda report: report.task_id == "b")
    field.end_of("a")
    field.engine.send([order(field, "b", write("word")), order(field, "c", write("word"), "b")])
    assert field.end_of("b").reason is None and field.end_of("c").reason is None
    assert Path("word").read_text() == "x\nx\n"


def test_an_order_that_crosses_a_return_behind_outputs_comes_back_too(make_field, hidden):
    """A return waits until the outputs before it are carried, and signs of life go on meanwhile."""
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    place.backlog = FULL
    field.start("written", f"echo hello; touch {os.path.abspath('ended')}", stdout=f"{hidden}/written")
    field.wait_until(has("ended"))
    field.wait(0.3)
    assert not field.ends(), "its output is not here"
    held = f"touch {os.path.abspath('a')}; sleep 1.2"
    field.engine.send([order(field, "a", held), order(field, "b", write("word"), "a")])
    field.wait_until(has("a"))
    field.wait(0.3)  # by now it was given back
    n_heard = len(field.reports)
    field.wait_until(lambda: len(field.reports) > n_heard + 3)
    field.engine.send([order(field, "other", "true")])
    field.wait(0.2)
    assert not [report for report in field.reports if isinstance(report, TaskReturned)], "nobody has heard of it"
    field.engine.send([order(field, "c", write("word"), "b")])
    field.wait(0.3)
    place.backlog = 0
    field.end_of("a")
    field.find(TaskReturned, lambda report: report.task_id == "b", 2)
    field.find(TaskReturned, lambda report: report.task_id == "c", 2)
    assert not os.path.exists("word")


# ---------------------------------------------------------------- outputs


class Elsewhere:
    """`os`, as it is on a host that does not have a folder."""

    def __init__(self, folder):
        self.folder, self.path = folder, self

    def isdir(self, path):
        return path != self.folder and os.path.isdir(path)

    def __getattr__(self, name):
        return getattr(os if hasattr(os, name) else os.path, name)


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """A folder that the hosts do not have, on whose own disks `on-host` is the one for temporary files."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "on-host").mkdir()
    monkeypatch.setattr(porter, "os", Elsewhere(str(tmp_path / "logs")))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "on-host"))
    return tmp_path / "logs"


@pytest.fixture
def carried(make_field, hidden, monkeypatch):
    """A field of a place without the folder, from which outputs are sent ten times a second; the cap is 1 MB."""
    monkeypatch.setattr(porter, "STREAM_S", 0.1)
    place = Place("w1")
    field = make_field(place, output_cap_mb=1)
    field.place = place
    field.bring_up("w1")
    return field


def test_an_output_is_there_while_its_command_runs(carried, hidden, mark):
    out, err = hidden / "a.out", hidden / "a.err"
    command = f"echo one; echo oops >&2; while ! test -e go; do sleep 0.02; done; echo two; sleep {mark}"
    carried.start("a", command, stdout=str(out), stderr=str(err), cwd=os.getcwd())
    carried.wait_until(lambda: out.exists() and out.read_text() == "one\n" and err.exists())
    assert err.read_text() == "oops\n" and not carried.ends()
    Path("go").touch()
    carried.wait_until(lambda: out.read_text() == "one\ntwo\n")
    assert survivors(mark) and not carried.ends()


def test_an_output_is_whole_when_the_end_of_its_attempt_is_told(carried, hidden):
    out = hidden / "a.out"
    end = carried.run(f"head -c 900000 /dev/urandom | tee {os.path.abspath('copy')}; exit 3", stdout=str(out))
    assert end.exit_code == 3 and out.read_bytes() == Path("copy").read_bytes() and out.stat().st_size == 900000


def test_an_end_is_not_told_before_its_output_is_here(carried, hidden):
    out = hidden / "a.out"
    carried.place.backlog = FULL
    carried.start("a", f"echo hello; touch {os.path.abspath('ended')}", stdout=str(out))
    carried.wait_until(has("ended"))
    carried.wait(0.3)
    carried.start("b", f"touch {os.path.abspath('ended-too')}; exit 2")
    carried.wait_until(has("ended-too"))
    for _ in range(5):
        carried.wait(0.1)
    assert not carried.ends() and not out.exists(), "there is no room on the way"
    carried.place.backlog = 0
    carried.end_of("a")
    assert out.read_text() == "hello\n" and carried.end_of("b").exit_code == 2


def test_signs_of_life_do_not_wait_for_outputs(carried, hidden, mark):
    carried.place.backlog = FULL
    carried.start("a", f"echo hello; touch {os.path.abspath('ended')}", stdout=str(hidden / "a.out"))
    carried.wait_until(has("ended"))
    carried.reports.clear()
    carried.wait_until(lambda: len([r for r in carried.reports if isinstance(r, WorkerHeard)]) > 5, 3)
    carried.place.backlog = 0
    carried.end_of("a")


def test_of_an_output_above_the_cap_head_and_tail_are_kept_with_a_line_between(carried, hidden):
    """Its beginning was sent while it was short, and is sent anew, for the line comes to stand in it."""
    out = hidden / "a.out"
    wait = "while ! test -e {}; do sleep 0.02; done; ".format
    command = f"seq 1 110000; {wait('go')} seq 110001 500000; touch long; {wait('go-on')}"
    whole = b"".join(b"%d\n" % i for i in range(1, 500001))
    carried.start("a", command, stdout=str(out), cwd=os.getcwd())
    carried.wait_until(lambda: out.exists() and out.stat().st_size == 658_895)
    Path("go").touch()
    carried.wait_until(has("long"))
    for _ in range(4):
        carried.wait(0.1)
    assert whole.startswith(out.read_bytes()) and out.stat().st_size <= 1 << 20, "what has no end yet has no middle"
    Path("go-on").touch()
    carried.end_of("a")
    data = out.read_bytes()
    head, line, tail = data.partition(b"\n[fastsched: ")
    dropped, _, tail = tail.partition(b" bytes were dropped here]\n")
    assert line and whole.startswith(head) and whole.endswith(tail) and len(head) + len(tail) == 1 << 20
    assert len(head) + len(tail) + int(dropped) == len(whole)


@pytest.mark.parametrize("last", ["short", "longer than that line was"])
def test_of_an_output_that_its_command_has_begun_anew_nothing_else_is_kept(carried, hidden, last):
    """As `echo x > /dev/stdout` does."""
    out = hidden / "a.out"
    command = f"echo a long line; while ! test -e go; do sleep 0.02; done; echo {last} > /dev/stdout"
    carried.start("a", command, stdout=str(out), cwd=os.getcwd())
    carried.wait_until(lambda: out.exists() and out.read_text() == "a long line\n")
    Path("go").touch()
    carried.end_of("a")
    assert out.read_text() == f"{last}\n"


def test_what_attempts_of_a_lost_worker_have_written_is_there_when_its_loss_is_told(carried, hidden, mark):
    carried.start("a", f"echo last words; sleep {mark}", stdout=str(hidden / "a.out"))
    carried.wait_until(lambda: survivors(mark))
    carried.place.backlog = FULL
    carried.engine.lose("w1", "unwanted")
    carried.wait(0.4)
    assert not losses(carried)
    carried.place.backlog = 0
    carried.loss_of("w1")
    assert (hidden / "a.out").read_text() == "last words\n"


def test_every_one_of_many_outputs_arrives_under_its_name(carried, hidden):
    carried.engine.send(
        [
            Start(f"t{i}", "w1", 1, 1, f"echo out {i}; test {i} = 3 || echo err {i} >&2", 1.0, 128, *files)
            for i in range(30)
            for files in [(f"{hidden}/t{i}.out", f"{hidden}/t{i}.err")]
        ]
    )
    for i in range(30):
        carried.end_of(f"t{i}")
        assert (hidden / f"t{i}.out").read_text() == f"out {i}\n"
    assert not (hidden / "t3.err").exists() and len(list(hidden.iterdir())) == 59


def test_nothing_is_left_on_the_host(carried, hidden, tmp_path):
    carried.run("echo hello", stdout=str(hidden / "a.out"))
    assert list((tmp_path / "on-host").iterdir())
    carried.close()
    carried.place.wire.outpost.join(10)
    assert not list((tmp_path / "on-host").iterdir()) and (hidden / "a.out").read_text() == "hello\n"


def test_what_ends_while_everything_is_closed_is_carried_too(carried, hidden):
    carried.start("a", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", stdout=f"{hidden}/a.out")
    carried.wait_until(lambda: (hidden / "a.out").exists())
    carried.close(5)
    assert (hidden / "a.out").read_text() == "up\nbye\n"


# ---------------------------------------------------------------- outposts that are of no use


def test_another_version_is_refused_and_it_is_said_what_to_do(make_field, monkeypatch):
    monkeypatch.setattr(outpost, "__version__", "0.0.1")
    with pytest.raises(OSError, match=r"w1: fastsched 0\.0\.1 is installed there.* install the same version in both"):
        make_field(Place("w1"))


def test_a_host_without_the_working_folder_is_refused_and_it_is_said_what_to_do(make_field, tmp_path):
    with pytest.raises(OSError, match=r"there is no folder '.*/nowhere' on its host; name one .*cwd, -C"):
        make_field(Place("w1"), cwd=str(tmp_path / "nowhere"))


def test_where_one_host_is_refused_the_others_are_used(make_field, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    good, bad = Place("w1"), Place("w2")
    monkeypatch.setattr(bad, "connect", lambda engine, site: refuse(Place.connect(bad, engine, site)))

    def refuse(wire):
        deliver = wire.up.deliver
        wire.up.deliver = lambda frame: deliver(pack([("refused", "it is Tuesday")]))
        return wire

    field = make_field(good, bad)
    assert "wired worker w2 cannot be used: it is Tuesday" in caplog.text
    field.bring_up("w1")
    assert field.run("exit 3").exit_code == 3


# ---------------------------------------------------------------- the end


def test_close_answers_what_had_ended_by_itself(make_field):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.start("a", f"touch {os.path.abspath('ended')}; exit 3")
    wait_for(lambda: "AttemptEnded" in [message[0] for message in place.wire.up.delivered()])
    field.is_open = False
    ends = [report for report in field.engine.close(1.0) if isinstance(report, AttemptEnded)]
    assert [(end.task_id, end.exit_code) for end in ends] == [("a", 3)]


@pytest.mark.parametrize("kind", ["silent", "broken"])
def test_close_ends_everything_also_where_a_host_cannot_be_heard(make_field, mark, monkeypatch, kind):
    """For so long as that may go on by its lease."""
    for name in ("SLACK_S", "CLOSE_SLACK_S"):
        monkeypatch.setattr(remote, name, 0.3)
    heard, unheard = Place("w1", "here"), Place("w2", "there")
    field = make_field(heard, unheard, lease_s=1.5)
    for name in ("w1", "w2"):
        field.bring_up(name)
        field.start(f"on {name}", f"{DEAF}sleep {mark}; :", name)
    field.wait_until(lambda: len(survivors(mark)) >= 4)
    unheard.cut()
    if kind == "broken":
        unheard.break_off()
        field.find(WorkerSuspected)
    began = time.monotonic()
    field.close(0.1)
    assert not survivors(mark), "it ran when all was closed"
    assert time.monotonic() - began < 4


def test_close_waits_for_nobody_who_runs_nothing(make_field):
    heard, unheard = Place("w1", "here"), Place("w2", "there")
    field = make_field(heard, unheard)
    field.bring_up("w1")
    field.bring_up("w2")
    unheard.cut()
    unheard.break_off()
    field.loss_of("w2", 3)
    began = time.monotonic()
    field.close(10)
    assert time.monotonic() - began < 2


def test_close_ends_everything_where_the_link_breaks_meanwhile(make_field, mark, short_slack):
    """A host that runs what has a long grace, and cannot be heard any more, ends that when its lease is over."""
    place = Place("w1")
    field = make_field(place, lease_s=0.6)
    field.bring_up("w1")
    field.start("a", f"{DEAF}sleep {mark}; :")
    field.wait_until(lambda: len(survivors(mark)) >= 2)

    def break_off():
        place.cut()
        place.break_off(is_noticed_there=False)

    timer = threading.Timer(0.3, break_off)
    timer.start()
    field.close(6)
    timer.join()
    assert not survivors(mark), "it ran when all was closed"


def test_hurry_cuts_a_long_grace_short(make_field, mark):
    first, second = Place("w1", "here"), Place("w2", "there")
    field = make_field(first, second)
    for name in ("w1", "w2"):
        field.bring_up(name)
        field.start(f"on {name}", f"{DEAF}sleep {mark}; :", name)
    field.wait_until(lambda: len(survivors(mark)) >= 4)
    timer = threading.Timer(0.4, field.engine.hurry)
    timer.start()
    began = time.monotonic()
    field.close(300)
    timer.join()
    assert 0.3 < time.monotonic() - began < 4 and not survivors(mark)


def test_an_outpost_that_nobody_wants_any_more_ends_by_itself(make_field, mark):
    place = Place("w1")
    field = make_field(place)
    field.bring_up("w1")
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    place.wire.outpost.hang_up()
    place.wire.outpost.join(10)
    assert not place.wire.outpost.is_alive() and not survivors(mark)
    place.cut()
