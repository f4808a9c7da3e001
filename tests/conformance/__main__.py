"""`python -m conformance MAKER RUN_ID LEASE_S`: a scheduler that starts the commands on its stdin, to be killed.

It says `ready` when they are started, and after that nothing.
"""

from __future__ import annotations

import sys

from conformance.field import Field
from conformance.makers import MAKERS


def main() -> None:
    name, run_id, lease_s = sys.argv[1:]
    field = Field(MAKERS[name].make(), run_id=run_id, lease_s=float(lease_s))
    field.bring_up("w1")
    for i, command in enumerate(sys.stdin.read().splitlines()):
        field.start(f"t{i}", command)
    print("ready", flush=True)
    while True:
        field.wait(1.0)


if __name__ == "__main__":
    main()
