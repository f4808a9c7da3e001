"""Ways to spoil the files of a journal, and what the journal then says.

An outcome is `harmless`: all that was synced is read back, and more can be appended and is read back too; `detected`:
it is said that something is missing or bad, and what is read back is a beginning of what was written; or `undetected`.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fastsched.errors import JournalError
from fastsched.runtime.journal import Journal

__all__ = ["KINDS", "Victim", "flips", "judge", "make_victims", "outcome", "truncations", "zeroed_blocks"]

TAIL = 65536
Files = dict[str, bytes]


class Victim(NamedTuple):
    """The files of a journal that were left behind. The first `n_synced` of the bodies were acknowledged."""

    name: str
    files: Files
    bodies: list[bytes]
    n_synced: int


def make_victims(folder: Path) -> Iterator[Victim]:
    """Journals with pages of every kind: closed, crashed in the WAL, crashed with some of it in the database."""
    rng = random.Random(4)
    bodies = [rng.randbytes(rng.choice((0, 1, 50, 150, 150, 900, 9000))) for _ in range(160)]
    for name, n_closed, n_synced in (("closed", 160, 160), ("crashed", 0, 150), ("crashed again", 90, 160)):
        place = folder / name.replace(" ", "-")
        journal = Journal(place)
        if n_closed:
            append_in_groups(journal, bodies[:n_closed])
            journal.close()
        if n_closed < len(bodies):
            journal = Journal(place) if n_closed else journal
            append_in_groups(journal, bodies[n_closed:n_synced])
            journal.append_all(bodies[n_synced:])
        files = {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.name != "journal.lock"}
        assert len(files) == (2 if name == "closed" else 3)
        journal.close()
        yield Victim(name, files, bodies, n_synced)


def append_in_groups(journal: Journal, bodies: list[bytes]) -> None:
    for at in range(0, len(bodies), 3):
        journal.append_all(bodies[at : at + 3])
        journal.sync()


def outcome(folder: Path, files: Files, victim: Victim) -> str:
    """What a journal makes of these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        journal = Journal(folder)
    except JournalError:
        return "undetected"  # nothing that is spoiled may look like a disk that is full, or a later version
    kept, damage = list(journal.read()), journal.damage
    if kept != victim.bodies[: len(kept)]:
        return "undetected"
    if damage is not None:
        journal.close()
        lost = damage.n_lost == max(0, victim.n_synced - len(kept)) or "journal.head" in damage.message
        return "detected" if damage.n_good == len(kept) and lost else "undetected"
    if len(kept) < victim.n_synced:
        return "undetected"
    more = [b"more", bytes(5000)]
    journal.append_all(more)
    journal.close()
    journal = Journal(folder)
    again = list(journal.read())
    journal.close()
    return "harmless" if journal.damage is None and again == kept + more else "undetected"


def judge(folder: Path, spoiled: Iterable[tuple[str, Files]], victim: Victim) -> Counter[str]:
    """Every outcome, counted; what is undetected is printed with the way in which it was spoiled."""
    counts: Counter[str] = Counter()
    for how, files in spoiled:
        counts[found := outcome(folder / "spoiled", files, victim)] += 1
        if found == "undetected":
            print(f"UNDETECTED: {victim.name}, {how}")
    return counts


def truncations(victim: Victim, n: int | None) -> Iterator[tuple[str, Files]]:
    """Every truncation of the last 64 KiB of each file, or so many of them by chance."""
    rng = random.Random(1)
    for name, content in victim.files.items():
        sizes = range(max(0, len(content) - TAIL), len(content))
        for size in sizes if n is None else rng.sample(sizes, n):
            yield f"{name} cut to {size}", {**victim.files, name: content[:size]}
        yield f"{name} removed", {other: kept for other, kept in victim.files.items() if other != name}


def flips(victim: Victim, n: int | None) -> Iterator[tuple[str, Files]]:
    """Flipped bits: half of them where SQLite and the journal keep what tells them how to read the rest."""
    rng = random.Random(2)
    for _ in range(n or 2000):
        name = rng.choice(list(victim.files))
        content = bytearray(victim.files[name])
        size = len(content) if rng.random() < 0.5 else 128
        at, bit = rng.randrange(size), rng.randrange(8)
        if size == 128:
            at += 4096 * rng.randrange(len(content) // 4096)
        content[at] ^= 1 << bit
        yield f"{name} bit {bit} of byte {at} flipped", {**victim.files, name: bytes(content)}


def zeroed_blocks(victim: Victim, n: int | None) -> Iterator[tuple[str, Files]]:
    """Blocks of zeros, 512 or 4096 bytes."""
    rng = random.Random(3)
    for _ in range(n or 500):
        name = rng.choice(list(victim.files))
        content = victim.files[name]
        size = rng.choice((512, 4096))
        at = rng.randrange(0, len(content), size)
        end = min(len(content), at + size)
        yield (
            f"{name} zeroed from {at} to {end}",
            {**victim.files, name: content[:at] + bytes(end - at) + content[end:]},
        )


def header_bits(victim: Victim, n: int | None) -> Iterator[tuple[str, Files]]:
    """Each bit of the database's header, which tells SQLite how to read and, no less, how to write."""
    for at in range(100):
        for bit in range(8):
            content = bytearray(victim.files["journal.db"])
            content[at] ^= 1 << bit
            if n is None or (at * 8 + bit) % 4 == 0 or at in (18, 35, 39, 55):
                yield f"bit {bit} of byte {at} of the header flipped", {**victim.files, "journal.db": bytes(content)}


KINDS: dict[str, Callable[[Victim, int | None], Iterator[tuple[str, Files]]]] = {
    "truncations": truncations,
    "flipped bits": flips,
    "header bits": header_bits,
    "zeroed blocks": zeroed_blocks,
}
