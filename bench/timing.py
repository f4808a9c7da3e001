"""Comparing in turns: what is compared is measured round by round in one run, and ratios are taken pair by pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """(seconds, what the work answers)."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios pair by pair."""
    return median([a / b for a, b in zip(ours, others)])
