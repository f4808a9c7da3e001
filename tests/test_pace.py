"""How much a worker is promised, by how quick it is."""

from __future__ import annotations

import pytest

from fastsched.runtime.pace import Pace

MS = 1_000_000


def play(pace: Pace, every_ns: float, n: int, at: int = 0, together: int = 1) -> int:
    """n ends, so many at a time, and one every so long; the time after the last."""
    for _ in range(n // together):
        at += int(every_ns * together)
        for _ in range(together):
            pace.note_end(int(every_ns), is_quick=True)
        pace.ahead(at)
    return at


def test_nothing_is_promised_before_something_was_quick():
    pace = Pace()
    assert pace.ahead(0) == 0
    pace.note_end(20 * MS, is_quick=False)
    assert pace.ahead(20 * MS) == 0
    pace.note_end(MS, is_quick=True)
    assert pace.ahead(21 * MS) == 1


def test_the_first_attempt_is_taken_for_what_it_took():
    pace = Pace()
    pace.note_end(int(0.5 * MS), is_quick=True)
    assert pace.ahead(3600 * 1000 * MS) == 30


@pytest.mark.parametrize("together", [1, 4, 20])
@pytest.mark.parametrize(("every_ns", "ahead"), [(0.1 * MS, 60), (0.5 * MS, 30), (3 * MS, 5), (9 * MS, 1)])
def test_a_worker_is_promised_what_it_gets_through_in_fifteen_milliseconds(every_ns, ahead, together):
    pace = Pace()
    at = play(pace, every_ns, 400, together=together)
    assert ahead - 1 <= pace.ahead(at) <= ahead


def test_two_ends_at_once_do_not_make_a_worker_quick():
    pace = Pace()
    at = play(pace, 9 * MS, 100, together=2)
    pace.note_end(9 * MS, is_quick=True)
    assert 1 <= pace.ahead(at + 1) <= 2


def test_a_worker_that_was_idle_is_promised_as_much_again_at_once():
    pace = Pace()
    at = play(pace, 0.5 * MS, 400)
    play(pace, 0.5 * MS, 10, at + 3600 * 1000 * MS)
    assert pace.ahead(at) >= 10


def test_a_slow_attempt_ends_promises_until_the_next_and_a_return_for_long():
    pace = Pace()
    at = play(pace, 0.5 * MS, 400)
    pace.note_end(20 * MS, is_quick=False)
    assert pace.ahead(at + MS) == 0
    pace.note_end(MS, is_quick=True)
    assert pace.ahead(at + MS) > 20
    pace.note_return()
    at = play(pace, 0.5 * MS, 64, at + MS)
    assert pace.ahead(at) == 0
    at = play(pace, 0.5 * MS, 1, at)
    assert pace.ahead(at) > 20
