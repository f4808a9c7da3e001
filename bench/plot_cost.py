"""What deciding costs a task, over the number of tasks and over the number of workers, drawn as docs/cost.svg.

Measured is `Core.simulate()` on graphs made of arrays, the median of a few rounds, each answer looked at; in grey the
floor (limit/floor.pyx), to tell what is the machine's memory from what is ours. The numbers are written beside the
build, so `--draw` draws them once more without measuring. It takes some minutes and wants a quiet machine.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path

import workloads
from checks import check_plan
from floor import lay_ready
from timing import median, timed

from fastsched._timeline import simulate
from fastsched.graph import WorkerTable

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "cost.svg"
NUMBERS = ROOT / "build" / "cost.json"
TASKS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
TASKS_ON = (100, 1_000)  # workers
WORKERS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
WORKERS_FOR = 100_000  # tasks
SHAPES = {"layers": "20 layers", "wide": "no dependencies"}
INK, GREY, COLORS = "#222222", "#9a9a9a", ("#0072b2", "#d55e00")  # told apart by eyes of every kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="draw the numbers of the last run again")
    options = parser.parse_args()
    if not options.draw:
        NUMBERS.parent.mkdir(exist_ok=True)
        NUMBERS.write_text(json.dumps(measure(), indent=1))
    draw(json.loads(NUMBERS.read_text()))
    print(f"drawn: {PICTURE.relative_to(ROOT)}")


def measure() -> dict[str, list[tuple[int, float]]]:
    """Lines by name, of (tasks or workers, us a task)."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for n in TASKS:
        for shape in SHAPES:
            for n_workers in TASKS_ON:
                cost, at_floor = cost_of(shape, n, n_workers)
                lines.setdefault(f"tasks {shape} {n_workers}", []).append((n, cost))
            lines.setdefault(f"tasks {shape} floor", []).append((n, at_floor))
    for n_workers in WORKERS:
        for shape in SHAPES:
            cost, at_floor = cost_of(shape, WORKERS_FOR, n_workers)
            lines.setdefault(f"workers {shape}", []).append((n_workers, cost))
            lines.setdefault(f"workers {shape} floor", []).append((n_workers, at_floor))
    return lines


def cost_of(shape: str, n: int, n_workers: int) -> tuple[float, float]:
    """us a task, of the core and of the floor: medians, in turns."""
    given = workloads.arrays(shape, n, width=n // 20)
    graph = workloads.graph_of(given)
    table = WorkerTable(workloads.workers(n_workers), graph.resources)
    costs, floors = [], []
    for _ in range(max(3, min(15, 300_000 // n))):
        core, play = workloads.core_of(graph, table), lay_ready(graph, is_sorted=False)
        gc.collect()
        floors.append(timed(play)[0])
        costs.append(timed(lambda core=core: simulate(core))[0])
    columns = core.columns()
    check_plan(given, table.capacity, columns["worker"], columns["start"], columns["end"])
    cost, at_floor = median(costs) * 1e6 / n, median(floors) * 1e6 / n
    print(f"{shape:8} {n:9,} tasks on {n_workers:6,} workers: {cost:7.3f} us a task, floor {at_floor:.3f}", flush=True)
    return cost, at_floor


def draw(lines: dict[str, list[tuple[int, float]]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    matplotlib.rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "fastsched", "text.color": INK,
        "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    })  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.5), sharey=True, layout="constrained")
    samples = []
    for shape, style in zip(SHAPES, ("-", (0, (4, 2)))):
        for n_workers, color in zip(TASKS_ON, COLORS):
            line(left, lines[f"tasks {shape} {n_workers}"], color, style)
        line(left, lines[f"tasks {shape} floor"], GREY, style)
        line(right, lines[f"workers {shape}"], INK, style)
        line(right, lines[f"workers {shape} floor"], GREY, style)
        samples.append(Line2D([], [], color=INK, linestyle=style, linewidth=1.4, label=SHAPES[shape]))
    for color, told in zip((*COLORS, GREY), (*(f"{n_workers:,} workers" for n_workers in TASKS_ON), "ordering alone")):
        samples.append(Line2D([], [], color=color, marker="o", markersize=3, linewidth=1.4, label=told))
    left.set_title("over the number of tasks", loc="left", fontsize=9.5)
    left.set_xlabel("tasks")
    left.set_ylabel("µs a task")
    right.set_title(f"over the number of workers ({WORKERS_FOR:,} tasks)", loc="left", fontsize=9.5)
    right.set_xlabel("workers")
    for axes, names in ((left, ("1,000", "10,000", "100,000", "1,000,000")), (right, ("10", "100", "1,000", "10,000"))):
        axes.set_xscale("log")
        axes.set_yscale("log")
        first = {left: 3, right: 1}[axes]
        axes.set_xticks([10**e for e in range(first, first + 4)], names)
        axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.minorticks_off()
        axes.grid(True, color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=0)
    costs = [cost for points in lines.values() for _, cost in points]
    left.set_ylim(min(0.05, min(costs) / 1.5), max(10.0, max(costs) * 1.5))
    figure.legend(handles=samples, loc="outside lower center", ncols=5, frameon=False, fontsize=8, handlelength=2.6)
    figure.savefig(PICTURE, metadata={"Date": None})


def line(axes, points, color, style) -> None:
    axes.plot(*zip(*points), color=color, linestyle=style, marker="o", markersize=3, linewidth=1.4)


if __name__ == "__main__":
    main()
