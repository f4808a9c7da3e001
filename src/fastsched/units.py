"""Durations and sizes as a person writes them: `90s`, `1h30m`, `512M`; and times as a person says them. Text alone."""

from __future__ import annotations

import re

__all__ = ["MB_OF_UNIT", "read_megabytes", "read_seconds", "show_seconds"]

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+", re.ASCII)
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
MB_OF_UNIT = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)([KMGT])B?", re.ASCII | re.IGNORECASE)
NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def read_seconds(text: str, most: float) -> float:
    """Seconds, of a duration such as `90s`, `1h30m` or `500ms`; `0` needs no unit.

    Raises:
        ValueError: with a sentence for a person.
    """
    bare = text.strip()
    if NUMBER.fullmatch(bare) and float(bare) > 0:
        raise ValueError(f"{text!r} names no unit: say {bare}s, {bare}m or {bare}h")
    if bare != "0" and not DURATION.fullmatch(bare):
        raise ValueError(f"{text!r} is no duration such as 90s, 1h30m or 500ms")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in PART.findall(bare))
    if seconds > most:
        raise ValueError(f"{text!r} is too long; at most {most:,.0f} s can be waited for")
    return seconds


def read_megabytes(text: str) -> float:
    """MB of 2**20 bytes, of a size such as `512M` or `4G`; `0` needs no unit.

    Raises:
        ValueError: with a sentence for a person.
    """
    bare = text.strip()
    if NUMBER.fullmatch(bare) and float(bare) > 0:
        raise ValueError(f"{text!r} names no unit: say {bare}M or {bare}G")
    match = SIZE.fullmatch(bare)
    if bare != "0" and match is None:
        raise ValueError(f"{text!r} is no size such as 512M or 4G")
    return float(match[1]) * MB_OF_UNIT[match[2].upper()] if match else 0.0


def show_seconds(seconds: float) -> str:
    """A time as a person says it: 12.3 ms, 4.20 s, 3m 05s, 2h 03m, 5d 04h."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for big, small, names in ((86400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms")):
        if whole >= big:
            return f"{whole // big}{names[0]} {whole % big // small:02d}{names[1]}"
    return f"{whole} s"
