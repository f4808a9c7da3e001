"""Where ticks stand on an axis of time, and what is written at them. Pure functions over numbers and text."""

from __future__ import annotations

import math

__all__ = ["tick_label", "tick_step", "ticks"]

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def tick_step(seconds: float, most: int) -> float:
    """The smallest round step of which at most so many go into the time: 0.2 s, 15 s, 5 min, 3 h, 2 d."""
    least = seconds / max(1, most)
    if least <= 0:
        return 1.0
    if least > STEPS[-1]:
        return STEPS[-1] * _round_up(least / STEPS[-1])
    return next(step for step in STEPS if step >= least) if least >= 1 else _round_up(least)


def ticks(low: float, high: float, step: float) -> list[float]:
    """The multiples of the step from `low` to `high`."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def tick_label(seconds: float, step: float) -> str:
    """A time to the precision of the step: 0.25s, 1m 30s, 2h 5m, 3d."""
    if step < 1:
        digits = -math.floor(math.log10(step) + 1e-9)
        return f"{float(f'{seconds:.{digits}f}'):g}s"
    left, parts = round(seconds), []
    for size, unit in UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0"


def _round_up(x: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(x))
    return next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= x * (1 - 1e-9))
