"""Commands that escape, fork without end and write without end, under a scheduler with few descriptors."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from .evidence import commands

BAD = Path(__file__).with_name("bad.py")


def bad_commands(folder: Path, output_mb: int) -> dict[str, Any]:
    """What a scheduler says that ran them all, and which of their processes live."""
    folder.mkdir(parents=True)
    mark = f"8{uuid.uuid4().int % 10**9:09d}"
    done = subprocess.run(
        [sys.executable, str(BAD), str(folder), str(output_mb), mark], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    told["output, MiB"] = output_mb
    told["survivors"] = sum(any(mark.encode() in word for word in words) for _, words in commands())
    return told
