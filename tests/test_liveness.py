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
