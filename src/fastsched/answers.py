"""What is printed of answers to "what if": a size, a variation, a comparison, a risk; for a person, or as data.

It decides and computes nothing but widths.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .compare import Comparison, Outline
from .curve import draw_columns, draw_histogram, show_finely
from .gantt import SIGNS, show_seconds
from .names import RESOURCE_WORDS, fit_width, show_capacity, show_name, width_of
from .progress import count
from .report import LABEL, can_print, wrap
from .risk import Risk
from .saved import plan_as_json
from .shapes import show_shape
from .sizing import Sizing, Trial
from .vary import Point, Variation

__all__ = [
    "comparison_as_json",
    "print_comparison",
    "print_risk",
    "print_sizing",
    "print_variation",
    "risk_as_json",
    "sizing_as_json",
    "variation_as_rows",
]

SHOWN_TRIALS = 5
SHOWN_CRITICAL = 5
LEAST_NAME, LONGEST_NAME = 12, 40


# ---------------------------------------------------------------- size


def print_sizing(title: str, sizing: Sizing, n_shapes: int, again: list[str], width: int, known: str = "") -> None:
    """The cheapest set, how near to the cheapest it is, and what else would do.

    again: the command that plans on it, but for the workers. known: where durations come from.
    """
    plan, numbers = sizing.schedule, sizing.schedule.plan
    offered = numbers._capacity.sum(axis=0, dtype="int64").tolist()
    room = ", ".join(show_capacity(name, amount) for name, amount in zip(numbers._graph.resources, offered))
    print(
        f"{show_name(title)}: {count(len(plan), 'task')} within {show_seconds(sizing.deadline)}, "
        f"from {count(n_shapes, 'shape')}\n"
    )
    value, what = (sizing.price, "") if sizing.minimised == "price" else (sizing.price_per_hour, " an hour")
    bound = f"{show_price(sizing.lower_bound)}{what}"
    if sizing.gap <= 1e-9:
        nearness = "no set of these shapes is cheaper"
    else:
        nearness = f"a cheaper set could save {1 - sizing.lower_bound / value:.1%} at most"
    tried = f"{count(len(sizing.tried), 'set')} of workers tried"
    if sizing.exact:
        tried += "; every other one would be dearer, so with this rank and fit this is the cheapest"
    elif sizing.interrupted:
        tried += ", when it was interrupted: this is the best so far"
    else:
        tried += "; --passes tries more"
    held = sum(numbers.utilisation[:, 0] * numbers._capacity[:, 0]) / max(1, offered[0])
    print_rows(
        [
            ("workers", f"{show_counts(sizing.counts)} ({room})"),
            ("price", f"{show_price(sizing.price)} in all, {show_price(sizing.price_per_hour)} an hour"),
            ("makespan", f"{show_seconds(sizing.makespan)}, cores {held:.1%} used"),
            ("lower bound", f"{bound}: {nearness}"),
            ("search", tried),
            *([("history", known)] if known else []),
        ],
        width,
    )
    others = other_trials(sizing)
    if others:
        print("\n  others that end in time")
        rows = [
            (
                show_price(t.price or 0.0),
                show_price(t.price_per_hour),
                show_seconds(t.makespan or 0.0),
                show_counts(t.counts),
            )
            for t in others
        ]
        print_table(("price", "an hour", "makespan", "workers"), rows, width, left=(3,))
    if sizing.workers:
        print(f"\n{show_name(shlex.join(again))} -w {show_shapes(sizing)}")


def other_trials(sizing: Sizing) -> list[Trial]:
    """The next best sets that meet the deadline."""
    meets = [t for t in sizing.tried if t.makespan is not None and t.counts != sizing.counts]
    by_price = sizing.minimised == "price"
    meets.sort(key=lambda t: (t.price if by_price else t.price_per_hour, t.makespan))
    return meets[:SHOWN_TRIALS]


def show_counts(counts: dict[str, int]) -> str:
    """`3 x 4x16G, 1 x 8x32G`."""
    return ", ".join(f"{n:,} x {show_name(name)}" for name, n in counts.items()) or "none"


def show_shapes(sizing: Sizing) -> str:
    """The same for -w."""
    shapes: dict[str, int] = {}
    for worker in sizing.workers:
        shapes[show_shape(worker)] = shapes.get(show_shape(worker), 0) + 1
    return " ".join(shape if n == 1 else f"{n}:{shape}" for shape, n in shapes.items())


def show_price(price: float) -> str:
    """A price with four figures, or to the cent where that is more."""
    return f"{price:,.2f}" if price >= 100 else f"{price:.4g}"


def sizing_as_json(sizing: Sizing) -> dict[str, Any]:
    """All of it, for a program."""
    return {
        "counts": sizing.counts,
        "workers": sizing.workers,
        "price_per_hour": sizing.price_per_hour,
        "price": sizing.price,
        "deadline": sizing.deadline,
        "makespan": sizing.makespan,
        "minimised": sizing.minimised,
        "lower_bound": sizing.lower_bound,
        "gap": sizing.gap,
        "exact": sizing.exact,
        "interrupted": sizing.interrupted,
        "tried": [vars(trial) for trial in sizing.tried],
        "plan": plan_as_json(sizing.schedule),
    }


# ---------------------------------------------------------------- vary


def print_variation(title: str, variation: Variation, n_tasks: int, width: int, known: str = "") -> None:
    """A table, a curve, and where more is of little use; `known`: where durations come from."""
    what, points = variation.what, variation.points
    first, last = (show_value(what, point.value) for point in (points[0], points[-1]))
    print(f"{show_name(title)}: {count(n_tasks, 'task')}, {show_name(what)} from {first} to {last}\n")
    if known:
        print_rows([("history", known)], width)
        print()
    # Columns as they are wanted: what it is called, and a point in it.
    columns: list[tuple[str, Callable[[Point], str]]] = [(what, lambda point: show_value(what, point.value))]
    if what != "workers" and len({point.n_workers for point in points}) > 1:
        columns.append(("workers", lambda point: f"{point.n_workers:,}"))
    columns += [
        ("makespan", lambda point: show_time(point.makespan)),
        ("lower bound", lambda point: show_time(point.lower_bound)),
        ("above", lambda point: "-" if point.gap is None else f"{point.gap:.1%}"),
    ]
    for name in dict.fromkeys(name for point in points for name in point.utilisation):
        columns.append((RESOURCE_WORDS.get(name, name), partial(show_share, name)))
    if any(point.price is not None for point in points):
        columns.append(("price", lambda point: "-" if point.price is None else show_price(point.price)))
    columns.append(("", lambda point: remark(point, variation)))
    table = [[show(point) for _, show in columns] for point in points]
    print_table([name for name, _ in columns], table, width, left=(len(columns) - 1,))
    marked = [(variation.knee, "knee"), (variation.enough, "enough")]
    chart = draw_columns(
        [point.value for point in points],
        (first, last),
        [point.makespan for point in points],
        width,
        marks=[(point.value, word) for point, word in marked if point is not None],
        ascii_only=not can_print("".join(SIGNS)),
    )
    if chart:
        print("\n" + "\n".join(chart))
    meant = {"knee": "farthest below the line from the first to the last", "enough": "within 5 % of the shortest here"}
    print()
    for point, word in marked:
        if point is not None:
            print("\n".join(wrap(f"{word} at {show_value(what, point.value)}: {meant[word]}", width)))


def remark(point: Point, variation: Variation) -> str:
    """What is remarkable about a point."""
    if point.n_failed:
        return f"{count(point.n_failed, 'task')} cannot run"
    return ", ".join(word for word, p in (("knee", variation.knee), ("enough", variation.enough)) if p is point)


def show_time(seconds: float | None) -> str:
    """A time that is known, or a stroke."""
    return "-" if seconds is None else show_seconds(seconds)


def show_share(name: str, told: Point | Outline) -> str:
    """How much of a resource is held."""
    return f"{told.utilisation[name]:.1%}" if name in told.utilisation else "-"


def show_value(what: str, value: float) -> str:
    """A value of what was varied."""
    return show_capacity("memory_mb", int(value)) if what == "memory" else f"{value:g}"


def variation_as_rows(variation: Variation) -> list[dict[str, Any]]:
    """A flat row for each point."""
    rows = []
    for point in variation.points:
        row = {**vars(point), "knee": point is variation.knee, "enough": point is variation.enough}
        shares = row.pop("utilisation")
        rows.append({"what": variation.what, **row, **{f"utilisation_{name}": share for name, share in shares.items()}})
    return rows


# ---------------------------------------------------------------- compare


def print_comparison(comparison: Comparison, n_moves: int, width: int, known: Sequence[str] = ()) -> None:
    """A row for each plan, the best marked; what moved the most against it; `known`: where durations come from."""
    outlines = comparison.outlines
    best = comparison[comparison.best]
    columns: list[tuple[str, Callable[[Outline], str]]] = [
        ("makespan", lambda outline: show_seconds(outline.makespan)),
        ("longer", lambda outline: show_longer(outline, best)),
        ("lower bound", lambda outline: show_time(outline.lower_bound or None)),
        ("above", lambda outline: "-" if outline.gap is None else f"{outline.gap:.1%}"),
    ]
    for name in dict.fromkeys(name for outline in outlines for name in outline.utilisation):
        columns.append((RESOURCE_WORDS.get(name, name), partial(show_share, name)))
    if any(outline.price is not None for outline in outlines):
        columns.append(("price", lambda outline: "-" if outline.price is None else show_price(outline.price)))
    if any(outline.n_failed for outline in outlines):
        columns.append(("failed", lambda outline: f"{outline.n_failed:,}"))
    table = [[show(outline) for _, show in columns] for outline in outlines]
    head = [name for name, _ in columns]
    taken = sum(2 + max(map(width_of, column)) for column in zip(head, *table)) + 5
    room = max(LEAST_NAME, width - taken)
    names = [("*" if outline is best else "", label(outline, room)) for outline in outlines]
    print_table(["", "", *head], [[*name, *row] for name, row in zip(names, table)], width, left=(0, 1))
    for text in known:
        print()
        print_rows([("history", text)], width)
    for outline in outlines if n_moves else ():
        if outline is not best and comparison.n_moved(outline.name):
            print_moves(comparison, outline, best, n_moves, width)


def print_moves(comparison: Comparison, outline: Outline, best: Outline, n_moves: int, width: int) -> None:
    """The tasks that moved the most between two plans."""
    moved, elsewhere = comparison.n_moved(outline.name), comparison.n_elsewhere(outline.name)
    told = f"{count(moved, 'task')} at another time, {elsewhere:,} on another worker"
    pair = f"{label(outline, LONGEST_NAME)} against {label(best, LONGEST_NAME)}"
    print("\n" + "\n".join(wrap(f"{pair}: {told}", width)))
    rows = [
        (
            fit_width(show_name(move.task_id), min(LONGEST_NAME, width_of(show_name(move.task_id))), "..."),
            show_time(move.start),
            show_time(move.other_start),
            f"{'-' if move.later < 0 else '+'}{show_seconds(abs(move.later))}",
            show_name(move.worker_id or "-"),
            show_name(move.other_worker_id or "-"),
        )
        for move in comparison.moves(outline.name, count=n_moves)
    ]
    print_table(("", "starts", "there", "later", "on", "there"), rows, width, left=(0, 4, 5))


def show_longer(outline: Outline, best: Outline) -> str:
    """How much longer it is than the best."""
    if outline is best:
        return ""
    return f"{outline.makespan / best.makespan - 1:+.1%}" if best.makespan else "-"


def label(outline: Outline, room: int) -> str:
    """Its name; where it is long, its beginning and its end."""
    name = show_name(outline.name)
    if width_of(name) <= room:
        return name
    tail = name[-(room - 3) // 2 :]
    return fit_width(name, max(4, room - width_of(tail)), "...") + tail


def comparison_as_json(comparison: Comparison, n_moves: int) -> dict[str, Any]:
    """All of it, for a program."""
    plans = []
    for outline in comparison.outlines:
        row = {name: value for name, value in vars(outline).items() if name not in ("starts", "workers")}
        against = {
            "elsewhere": comparison.n_elsewhere(outline.name),
            "moved": comparison.n_moved(outline.name),
            "moves": [vars(move) | {"later": move.later} for move in comparison.moves(outline.name, count=n_moves)],
        }
        plans.append(row | against)
    return {"best": comparison.best, "plans": plans}


# ---------------------------------------------------------------- risk


def print_risk(risk: Risk, deadline: float | None, width: int) -> None:
    """Quantiles, chances, a histogram, and the tasks that it hangs on."""
    samples = f"{len(risk.makespans_ns):,} samples, seed {risk.seed}"
    print(f"\nif durations vary by {100 * risk.spread:.4g} % ({samples})\n")
    told = [f"{name} {show_finely(seconds)}" for name, seconds in risk.quantiles.items()]
    rows = [
        ("makespan", ", ".join(told)),
        ("mean", f"{show_finely(risk.mean)}; {show_finely(risk.expected)} if all goes as expected"),
    ]
    rows.append(("as expected", f"{risk.chance(risk.expected):.1%} end within {show_finely(risk.expected)}"))
    if deadline is not None:
        rows.append(("deadline", f"{risk.chance(deadline):.1%} end within {show_finely(deadline)}"))
    critical = [f"{show_name(task_id)} {share:.0%}" for task_id, share in risk.most_critical(SHOWN_CRITICAL)]
    rows.append(("critical", "most often waited for: " + (", ".join(critical) or "none")))
    print_rows(rows, width)
    print("\n" + "\n".join(draw_histogram(risk.makespans, width, ascii_only=not can_print("".join(SIGNS) + "▏▎▍▌▋▊▉"))))


def risk_as_json(risk: Risk, deadline: float | None) -> dict[str, Any]:
    """All of it, for a program; the tasks that were ever critical, the most often first."""
    return {
        "spread": risk.spread,
        "seed": risk.seed,
        "expected": risk.expected,
        "mean": risk.mean,
        "quantiles": risk.quantiles,
        "deadline": deadline,
        "chance": None if deadline is None else risk.chance(deadline),
        "criticality": dict(risk.most_critical(len(risk.criticality))),
        "makespans": risk.makespans.tolist(),
    }


# ---------------------------------------------------------------- lines


def print_rows(rows: Sequence[tuple[str, str]], width: int) -> None:
    """Labelled lines, as `plan` has them."""
    for name, text in rows:
        lines = wrap(text, max(20, width - LABEL - 2))
        for head, line in zip([name] + [""] * len(lines), lines):
            print(f"  {head:<{LABEL}}{line}")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int, left: Sequence[int] = ()) -> None:
    """Columns that are as wide as they have to be, cut at the width; those in `left` begin at the left."""
    widths = [max(map(width_of, column)) for column in zip(head, *rows)]
    for row in (head, *rows):
        cells = [
            fit_width(cell, w) if i in left else " " * (w - width_of(cell)) + cell
            for i, (cell, w) in enumerate(zip(row, widths))
        ]
        line = "  " + "  ".join(cell for cell, w in zip(cells, widths) if w)
        print(line.rstrip() if width_of(line.rstrip()) <= width else fit_width(line, width, "~"))
