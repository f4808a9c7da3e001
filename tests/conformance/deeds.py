"""What commands do, apart from how that is said: for a shell, or for an engine in whose time nothing really runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from fastsched import Reason
from fastsched.engines.simulated import Command, SimulatedEngine


@dataclass(frozen=True)
class Deed:
    """Write, take so much memory, let time pass, and end; the first attempts may fail before that."""

    seconds: float = 0.0
    code: int = 0
    deaf: bool = False  # it does not end when it is asked to
    memory_mb: int = 0
    stdout: str = ""  # lines
    stderr: str = ""
    failing: int = 0  # so many attempts fail, with exit code 9


HOG = "held = bytearray({} << 20); held[::4096] = bytes(len(held[::4096])); import time; time.sleep({})"


def as_shell(deed: Deed) -> str:
    """A deed as a line for a shell."""
    parts = ["trap '' TERM"] if deed.deaf else []
    parts += [f"printf '%s' '{text}' {to}" for text, to in ((deed.stdout, ""), (deed.stderr, ">&2")) if text]
    if deed.failing:
        parts.append(f"[ $FASTSCHED_ATTEMPT -gt {deed.failing} ] || exit 9")
    if deed.memory_mb:
        parts.append(f"{sys.executable} -c '{HOG.format(deed.memory_mb, deed.seconds)}' || exit 1")
    elif deed.seconds:
        # Many short sleeps: what is deaf stays so, and what is not ends at once.
        parts.append(f"i=0; while [ $i -lt {int(deed.seconds * 20)} ]; do sleep 0.05; i=$((i + 1)); done")
    return "; ".join([*parts, f"exit {deed.code}"])


def make_simulated():
    """An engine in virtual time, whose commands are deeds as Python writes them."""

    def behave(order, random):
        deed = eval(order.command, {"Deed": Deed})  # it was written by `repr`
        code = 9 if order.attempt <= deed.failing else deed.code
        reason = Reason.EXIT if code else None
        return Command(
            deed.seconds, reason, deed.deaf, code, deed.memory_mb or 1.0, stdout=deed.stdout, stderr=deed.stderr
        )

    return SimulatedEngine(behave=behave)
