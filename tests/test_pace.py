"""How much a worker is promised, by how quick it is."""

from __future__ import annotations

import pytest

from fastsched.runtime.pace import Pace

MS = 1_000_000


def turn(pace: Pace, at: int, n: int, took_ns: float = MS) -> None:
    """So many attempts have ended that were quick."""
    for _ in range(n):
        pace.note_end(int(took_ns), is_quick=True)
    pace.note_turn(at)


def play(pace: Pace, every_ns: float, n: int, at: int = 0, together: int = 1) -> int:
    """n ends, one every so long, so many told at a time; the time after the last."""
    for _ in range(n // together):
        at += int(every_ns * together)
        turn(pace, at, together, every_ns)
    return at


def test_nothing_is_promised_before_something_was_quick():
    pace = Pace()
    assert pace.ahead() == 0
    pace.note_end(40 * MS, is_quick=False)
    pace.note_turn(40 * MS)
    assert pace.ahead() == 0
    turn(pace, 41 * MS, 1)
    assert pace.ahead() == 15, "that the first was slow says nothing of the others"


def test_the_first_attempts_are_taken_for_what_they_took():
    pace = Pace()
    turn(pace, 3600 * 1000 * MS, 1, 0.5 * MS)
    assert pace.ahead() == 30
    pace = Pace()
    turn(pace, 3600 * 1000 * MS, 2, 1 * MS)
    assert pace.ahead() == 30, "they ran beside each other"


@pytest.mark.parametrize("together", [1, 4, 20])
@pytest.mark.parametrize(("every_ns", "ahead"), [(0.1 * MS, 60), (0.5 * MS, 30), (3 * MS, 5), (9 * MS, 1)])
def test_a_worker_is_promised_what_it_gets_through_in_fifteen_milliseconds(every_ns, ahead, together):
    pace = Pace()
    play(pace, every_ns, 400, together=together)
    assert ahead - 1 <= pace.ahead() <= ahead
    pace = Pace()
    play(pace, every_ns, 400, at=play(pace, 5 * MS, 40), together=together)
    assert ahead - 1 <= pace.ahead() <= ahead, "it was otherwise before"


@pytest.mark.parametrize("first", range(1, 8))
def test_it_does_not_matter_by_how_many_turns_ends_are_told_that_come_together(first):
    pace, at = Pace(), 0
    for _ in range(50):  # eight at a time, each of 9 ms
        turn(pace, at + 9 * MS, first, 9 * MS)
        turn(pace, at + int(9.1 * MS), 8 - first, 9 * MS)
        assert 8 <= pace.ahead() <= 20
        at += int(9.1 * MS)


def test_a_worker_that_was_idle_is_promised_as_much_again_at_once():
    pace = Pace()
    at = play(pace, 0.5 * MS, 400)
    turn(pace, at + 3600 * 1000 * MS, 1)
    assert pace.ahead() == 30


def test_a_slow_attempt_ends_promises_until_the_next_and_a_return_for_long():
    pace = Pace()
    at = play(pace, 0.5 * MS, 400)
    pace.note_end(20 * MS, is_quick=False)
    pace.note_turn(at + MS)
    assert pace.ahead() == 0
    turn(pace, at + 2 * MS, 1)
    assert pace.ahead() > 20
    pace.note_return()
    at = play(pace, 0.5 * MS, 64, at + 2 * MS)
    assert pace.ahead() == 0
    play(pace, 0.5 * MS, 1, at)
    assert pace.ahead() > 20
