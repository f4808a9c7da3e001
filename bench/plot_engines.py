"""One job file, planned and run on every engine: the same statuses, and a picture of who did what when.

    python bench/plot_engines.py [JOB] [--out docs/engines.svg] [--only local dask ray]

The workers are those of the job file on every engine. What fails in a run has not failed in the plan, which knows of no
failures; so the plan is compared by its makespan only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from fastsched import Run, run, schedule
from fastsched.formats import load

HERE = Path(__file__).resolve().parent
Bar = tuple[str, str, float, float, bool]  # task, worker, start, end, whether it completed


def bars_of(result: Run) -> list[Bar]:
    """Every attempt, from the start of the first one on."""
    began = min(attempt.start for attempt in result.attempts)
    return [(a.task_id, a.worker_id, a.start - began, a.end - began, a.reason is None) for a in result.attempts]


def lanes(bars: list[Bar]) -> dict[Bar, int]:
    """Beside what each bar is drawn: the first lane of its worker that is free then."""
    busy: dict[tuple[str, int], float] = {}
    chosen = {}
    for bar in sorted(bars, key=lambda bar: bar[2]):
        lane = next(i for i in range(len(bars)) if busy.get((bar[1], i), 0.0) <= bar[2] + 1e-9)
        busy[bar[1], lane] = bar[3]
        chosen[bar] = lane
    return chosen


def draw(axes: plt.Axes, title: str, bars: list[Bar], workers: list[str], end: float) -> None:
    """One picture."""
    chosen = lanes(bars)
    height = 1 + max(chosen.values())
    for (task, worker, start, stop, completed), lane in chosen.items():
        y = workers.index(worker) * (height + 0.6) + lane
        colour = f"C{int(task[1]) % 10}" if completed else "white"
        axes.barh(
            y,
            stop - start,
            left=start,
            height=0.9,
            color=colour,
            edgecolor="black" if completed else "red",
            linewidth=0.6,
        )
        axes.text((start + stop) / 2, y, task[1:], ha="center", va="center", fontsize=6)
    axes.set_yticks([i * (height + 0.6) + (height - 1) / 2 for i in range(len(workers))], workers)
    axes.set_xlim(0, end)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(title, fontsize=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?", default=str(HERE.parent / "examples" / "stages.toml"))
    parser.add_argument("--out", default=str(HERE.parent / "docs" / "engines.svg"))
    parser.add_argument("--only", nargs="+", choices=("local", "dask", "ray"), default=["local", "dask", "ray"])
    options = parser.parse_args()
    job, out = load(options.job), os.path.abspath(options.out)
    assert job.workers is not None
    workers = [worker["worker_id"] if isinstance(worker, dict) else worker.worker_id for worker in job.workers]
    plan = schedule(job.tasks, job.workers)
    planned = [(p.task_id, p.worker_id, p.start, p.end, True) for p in plan.placements]
    pictures = [(f"plan: {plan.makespan:.2f} s", planned)]
    statuses = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for engine in options.only:
            result = run(job.tasks, job.workers, engine=engine, journal=Path(folder) / engine)
            statuses[engine] = dict(result)
            bars = bars_of(result)
            pictures.append((f"{engine}: {max(bar[3] for bar in bars):.2f} s", bars))
        os.chdir("/")
    assert len({tuple(sorted(found.items())) for found in statuses.values()}) == 1, statuses
    counts = {status: list(statuses[options.only[0]].values()).count(status) for status in ("COMPLETED", "FAILED")}
    print(f"the same statuses on {', '.join(statuses)}: {counts['COMPLETED']} completed, {counts['FAILED']} failed")
    print("; ".join(title for title, _ in pictures))
    end = 1.02 * max(bar[3] for _, bars in pictures for bar in bars)
    figure, all_axes = plt.subplots(1, len(pictures), figsize=(3.6 * len(pictures), 2.8), sharex=True)
    for axes, (title, bars) in zip(all_axes, pictures):
        draw(axes, title, bars, workers, end)
    figure.tight_layout()
    figure.savefig(out)
    print(f"drawn: {options.out}")


if __name__ == "__main__":
    main()
