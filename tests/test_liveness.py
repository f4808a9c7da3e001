"""Who is overdue, by arguments alone."""

from __future__ import annotations

from fastsched.runtime.liveness import Liveness


def test_a_worker_is_overdue_after_its_lease():
    leases = Liveness(10)
    assert leases.next_deadline() is None and leases.overdue(99) == []
    leases.hear("a", 0)
    leases.hear("b", 5)
    assert leases.next_deadline() == 11
    assert leases.overdue(10) == [] and leases.overdue(11) == ["a"] and leases.overdue(16) == ["a", "b"]
    leases.hear("a", 11)
    assert leases.overdue(16) == ["b"] and leases.next_deadline() == 16
    leases.forget("b")
    leases.forget("b")
    assert leases.overdue(21) == [] and leases.overdue(22) == ["a"]


def test_a_worker_that_comes_up_has_its_lease_from_then_on():
    leases = Liveness(10)
    leases.hear("a", 0)
    leases.expect("b", 30)
    assert leases.next_deadline() == 11 and leases.overdue(40) == ["a"] and leases.overdue(41) == ["a", "b"]
    leases.expect("a", 50)
    assert leases.next_deadline() == 41 and leases.overdue(60) == ["b"]
    leases.hear("b", 35)
    assert leases.overdue(45) == [] and leases.overdue(61) == ["b", "a"], (
        "who was silent for longest, then who comes up"
    )
    leases.forget("b")
    leases.forget("a")
    assert leases.next_deadline() is None


def test_who_was_heard_again_goes_behind_the_others():
    leases = Liveness(10)
    for worker_id, now in (("a", 0), ("b", 1), ("c", 2), ("a", 3), ("b", 4)):
        leases.hear(worker_id, now)
    assert leases.next_deadline() == 13 and leases.overdue(13) == ["c"] and leases.overdue(99) == ["c", "a", "b"]
