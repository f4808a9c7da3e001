"""Plays many histories: `python -m simulation --seeds 0:200000 --processes 2`, from the folder `tests`.

With `--live` they are those of the whole runtime; a short one is played again with a death at each of its writes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from multiprocessing import Pool

from .ghost import Violation
from .history import play
from .live import LiveHistory, play_live

CHUNK = 500


def play_chunk(seeds: range) -> tuple[Counter, int, list[str], str]:
    """Counts, facts, violations, and a hash over all logs."""
    counts, facts, wrong, hashed = Counter(), 0, [], hashlib.blake2b(digest_size=16)
    for seed in seeds:
        try:
            history = play(seed, check_often=seed % 50 == 0)
        except Violation as violation:
            wrong.append(str(violation))
            continue
        counts += history.counts
        facts += len(history.facts)
        hashed.update(history.hash.encode())
    return counts, facts, wrong, hashed.hexdigest()


def play_live_chunk(seeds: range) -> tuple[Counter, int, list[str], str]:
    """The same of the whole runtime; in place of facts, calls of the journal."""
    counts, calls, wrong, hashed = Counter(), 0, [], hashlib.blake2b(digest_size=16)
    for seed in seeds:
        try:
            histories = play_live(seed)
        except Violation as violation:
            wrong.append(str(violation))
            continue
        for history in histories:
            counts += history.counts
            counts["schedules"] += 1
            calls += history.journal.n_calls
            hashed.update(history.hash.encode())
    return counts, calls, wrong, hashed.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seeds", default="0:2000", metavar="A:B")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="play one history, with all checks after every step")
    parser.add_argument("--live", action="store_true", help="of the whole runtime, over the simulated engine")
    options = parser.parse_args()
    if options.seed is not None and options.live:
        history = LiveHistory(options.seed).play()
        print(f"live seed {options.seed}: {history.journal.n_calls} journal calls, hash {history.hash}")
        return 0
    if options.seed is not None:
        history = play(options.seed, check_often=True)
        print(f"seed {options.seed}: {len(history.facts)} facts, hash {history.hash}")
        return 0
    first, last = map(int, options.seeds.split(":"))
    began, counts, facts, wrong, hashed = time.monotonic(), Counter(), 0, [], hashlib.blake2b(digest_size=16)
    with Pool(options.processes) as pool:
        size = CHUNK // 10 if options.live else CHUNK
        chunks = [range(a, min(a + size, last)) for a in range(first, last, size)]
        for told, n_facts, violations, digest in pool.imap(play_live_chunk if options.live else play_chunk, chunks):
            counts, facts, wrong = counts + told, facts + n_facts, wrong + violations
            hashed.update(digest.encode())
    seconds = time.monotonic() - began
    print(
        f"{counts.pop('schedules', last - first)} schedules, {facts} {'journal calls' if options.live else 'facts'}, "
        f"in {seconds:.0f} s; {len(wrong)} violations; "
        f"hash {hashed.hexdigest()}"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print("\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
