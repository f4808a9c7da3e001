"""The system underneath: what it can do for those who run commands, under the same names everywhere."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from ._linux import (
        HAS_FAST_LANE,
        SIGCONT,
        SIGKILL,
        SIGSTOP,
        SIGTERM,
        FastLane,
        Variables,
        adopt_orphans,
        look_at,
        mark_of,
        punch,
        read_signals,
        reap,
        send_signal,
        signal_exactly,
        spawn,
        watch_signals,
    )
else:
    from ._elsewhere import (
        HAS_FAST_LANE,
        SIGCONT,
        SIGKILL,
        SIGSTOP,
        SIGTERM,
        FastLane,
        Variables,
        adopt_orphans,
        look_at,
        mark_of,
        punch,
        read_signals,
        reap,
        send_signal,
        signal_exactly,
        spawn,
        watch_signals,
    )

__all__ = [
    "HAS_FAST_LANE",
    "SIGCONT",
    "SIGKILL",
    "SIGSTOP",
    "SIGTERM",
    "FastLane",
    "Variables",
    "adopt_orphans",
    "look_at",
    "mark_of",
    "punch",
    "read_signals",
    "reap",
    "send_signal",
    "signal_exactly",
    "spawn",
    "watch_signals",
]
