"""Runs one of the benches' graphs with `run()`: `ours.py GRAPH N PROGRAM on|off`. For `bench_overhead` alone."""

from __future__ import annotations

import sys

from fastsched import Task, Worker, run

LAYERS = 100  # of the layered graph


def tasks_of(graph: str, n: int, program: str) -> list[Task]:
    """n commands: none depends on another, or each on two of the layer before."""
    width = n // LAYERS
    return [Task(f"t{i}", program, depends_on(i, width) if graph == "layers" else (), duration=0.001) for i in range(n)]


def depends_on(i: int, width: int) -> tuple[str, ...]:
    """Two of the layer before, the one above and its neighbour."""
    layer, place = divmod(i, width)
    if not layer:
        return ()
    above = (layer - 1) * width
    return (f"t{above + place}", f"t{above + (place + 1) % width}")


def main() -> None:
    graph, n, program, keep = sys.argv[1:]
    kept = {"journal": "ours-journal"} if keep == "on" else {"capture": False}
    result = run(tasks_of(graph, int(n), program), [Worker("w", 2, 100_000)], **kept)
    assert result.all_completed and len(result.attempts) == int(n)


if __name__ == "__main__":
    main()
