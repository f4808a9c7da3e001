"""Thousands of seeded histories over `State`: no violation, and every kind of mishap among them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from simulation.ghost import Violation
from simulation.history import History, play
from simulation.live import LiveHistory, play_live

from fastsched.events import AttemptEnded, AttemptStarted

HERE = Path(__file__).resolve().parent
SCHEDULES = int(os.environ.get("FASTSCHED_SCHEDULES", "2400"))
LIVE = int(os.environ.get("FASTSCHED_LIVE", "12"))  # seeds of the whole runtime; each is some 20 schedules
CHUNKS = 4
MISHAPS = (
    "stale", "doubled", "delayed", "from nowhere", "submissions", "cancelled", "lost", "joined", "came back", "drained",
    "left", "resized", "replays", "failed: EXIT", "failed: SIGNAL", "failed: TIMEOUT", "failed: OUT_OF_MEMORY",
    "failed: SPAWN", "WorkerQuarantined", "WorkerOnProbation", "WorkerTrusted", "TaskUnsatisfiable", "RoomReserved",
    "TaskOvertaken", "promised", "returned", "PlanFollowed", "Replanned", "loosened",
    "held back",
)  # fmt: skip


def test_seeds_that_ever_failed():
    for line in (HERE / "simulation" / "seeds.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            play(int(line.split()[0]), check_often=True)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_histories_without_a_violation(chunk):
    counts = Counter()
    for seed in range(chunk, SCHEDULES, CHUNKS):
        counts += play(seed, check_often=seed % 60 == chunk).counts
    missing = [mishap for mishap in MISHAPS if not counts[mishap]]
    assert not missing, counts


def test_a_seed_is_the_same_history_in_another_process():
    told = play(7, check_often=True)
    command = [sys.executable, "-m", "simulation", "--seed", "7"]
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"hash (\w+)", done.stdout)[1] == told.hash


def test_every_prefix_of_the_facts_is_a_state():
    """The fold, from any prefix: the facts that follow make of it what was lived."""
    lived = play(20, check_often=True)
    end = lived.facts[-1][0]
    wanted = None
    for cut in range(len(lived.facts), -1, -7):
        state = lived.fresh()
        for now, fact in lived.facts[:cut]:
            state.absorb(fact, now)
        for now, fact in lived.facts[cut:]:
            state.absorb(fact, now)
        state.advance(end)
        wanted = wanted or state.digest()
        assert state.digest() == wanted


def test_the_ghost_sees():
    """What the simulation is worth: reports that are forged on the way to the state are violations."""

    class Forged(History):
        def arrive(self, report):
            """A report of a failure becomes one of success before it gets there, and the ghost hears of the first."""
            forged = AttemptEnded(
                report.task_id, report.worker_id, report.attempt, None, incarnation=report.incarnation
            )
            self.facts.append((self.now, forged))
            self.ghost.told(report, self.state.absorb(forged, self.now), self.now)

    class Silent(History):
        def decide(self):
            """One of the choices is kept from the ghost."""
            events = self.state.decide(self.now)
            starts = [event for event in events if isinstance(event, AttemptStarted)]
            self.flying += starts
            self.ghost.decided(events if not starts else events[:-1], self.now)

    for kind in (Forged, Silent):
        found = 0
        for seed in range(40):
            try:
                kind(seed).run()
            except (Violation, KeyError, TypeError):
                found += 1
        assert found >= 10, kind


def test_the_whole_runtime_keeps_its_promises_whatever_happens():
    """With a death of the scheduler at every write of the shorter histories."""
    first = int(os.environ.get("FASTSCHED_LIVE_SEED", "0"))
    histories = [history for seed in range(first, first + LIVE) for history in play_live(seed)]
    counts = sum((history.counts for history in histories), Counter())
    assert len(histories) > 3 * LIVE
    for what in ("crashes", "power cuts", "attempts", "completed", "cancel", "drain", "remove", "add", "pause"):
        assert counts[what] > 0, what
    for what in ("promised", "promises kept", "promises returned", "plans", "planned anew"):
        assert counts[what] > 0, what


def test_a_live_seed_is_the_same_history_in_another_process():
    code = "from simulation.live import LiveHistory; print(LiveHistory(11).play().hash)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, check=True).stdout
    assert told.strip() == LiveHistory(11).play().hash
