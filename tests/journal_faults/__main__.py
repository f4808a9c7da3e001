"""`cd tests && python -m journal_faults`: every damage, counted. Takes some minutes; fails where any is undetected."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .damage import KINDS, judge, make_victims

n_undetected = 0
memory = Path("/dev/shm")  # nothing here is about what is on the disk
with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
    for victim in make_victims(Path(folder)):
        sizes = ", ".join(f"{name} {len(content)}" for name, content in victim.files.items())
        print(f"{victim.name}: {victim.n_synced} of {len(victim.bodies)} records synced; {sizes} bytes", flush=True)
        for kind, spoil in KINDS.items():
            began = time.perf_counter()
            counts = judge(Path(folder), spoil(victim, None), victim)
            n_undetected += counts["undetected"]
            found = ", ".join(f"{outcome} {counts[outcome]}" for outcome in ("detected", "harmless", "undetected"))
            print(f"  {kind}: tried {counts.total()}, {found} ({time.perf_counter() - began:.0f} s)", flush=True)
print(f"undetected: {n_undetected}")
sys.exit(n_undetected > 0)
