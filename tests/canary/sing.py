"""Does the sanitizer report what was planted for it? `python tests/canary/sing.py KIND FOLDER`, canary.*.so in FOLDER.

Each canary is let loose in a process of its own, which has to die of its finding. Fails where one stays silent.
"""

from __future__ import annotations

import subprocess
import sys

ARRAYS = {  # numpy gives small blocks out again from a store of its own; they must be watched as well
    "a small array": "np.zeros(11, dtype=np.int32)",
    "a large array": "np.zeros(1_000_000, dtype=np.int32)",
    "a block that numpy had before": "[np.ones(12, dtype=np.int32) for _ in range(9)] and np.empty(12, dtype=np.int32)",
}
CANARIES = {
    "address": {
        "past malloc": ("canary.read_past_malloc(10)", "heap-buffer-overflow"),
        **{
            f"past {what}": (f"canary.read_past_array({made})", "heap-buffer-overflow") for what, made in ARRAYS.items()
        },
        "before an array": ("canary.write_before_array(np.zeros(9, dtype=np.int32), -1)", "heap-buffer-overflow"),
    },
    "undefined": {"32 bits overflow": ("canary.overflow(2**31 - 1)", "signed integer overflow")},
}


def main(kind: str, folder: str) -> int:
    silent = []
    for name, (mistake, report) in CANARIES[kind].items():
        code = f"import sys; sys.path.insert(0, {folder!r}); import numpy as np, canary; {mistake}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        found = done.returncode != 0 and report in done.stderr
        print(f"canary, {name}: {'found' if found else 'SILENT'}")
        if not found:
            silent.append(name)
            print(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
