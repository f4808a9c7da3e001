"""What is printed of answers to "what if": a size, a variation, a comparison, a risk; for a person, or as data.

It decides and computes nothing but widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .compare import Comparison, Outline
from .curve import draw_columns, draw_histogram
from .gantt import SIGNS, show_seconds
from .names import fit_width, show_name, width_of
from .progress import count
from .report import LABEL, RESOURCE_WORDS, can_print, plan_as_json, show_capacity, wrap
from .risk import Risk
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
LONGEST_NAME = 40
UNITS = {"workers": "workers", "cores": "cores", "memory": "MB"}


# ---------------------------------------------------------------- size


def print_sizing(title: str, sizing: Sizing, n_shapes: int, file: str, width: int) -> None:
    """The cheapest set, how near to the cheapest it is, and what else would do."""
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
        print(f"\nfastsched plan {show_name(file)} -w {show_shapes(sizing)}")


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


def print_variation(title: str, variation: Variation, n_tasks: int, width: int) -> None:
    """A table, a curve, and where more is of little use."""
    what = variation.what
    print(f"{show_name(title)}: {count(n_tasks, 'task')}, {what} from {variation.points[0].value:g} to "
          f"{variation.points[-1].value:g}\n")  # fmt: skip
    priced = any(point.price is not None for point in variation.points)
    names = list(dict.fromkeys(name for point in variation.points for name in point.utilisation))
    head = [what, *(["workers"] if what != "workers" and what not in UNITS else []), "makespan", "lower bound", "above"]
    head += [RESOURCE_WORDS.get(name, name) for name in names] + (["price"] if priced else []) + [""]
    rows = [row_of(point, variation, len(head), names, priced) for point in variation.points]
    print_table(head, rows, width, left=(len(head) - 1,))
    marks = [(p.value, word) for p, word in ((variation.knee, "knee"), (variation.enough, "enough")) if p is not None]
    chart = draw_columns(
        [point.value for point in variation.points],
        [point.makespan for point in variation.points],
        [point.lower_bound for point in variation.points],
        width,
        marks=marks,
        ascii_only=not can_print("█░│─"),
    )
    if chart:
        print("\n" + "\n".join(chart))
    print()
    if variation.knee is not None:
        print(
            "\n".join(
                wrap(f"knee at {variation.knee.value:g}: farthest below the line from the first to the last", width)
            )
        )
    if variation.enough is not None:
        print("\n".join(wrap(f"enough at {variation.enough.value:g}: within 5 % of the shortest here", width)))


def row_of(point: Point, variation: Variation, columns: int, names: Sequence[str], priced: bool) -> list[str]:
    """One point as a row of the table."""
    counted = [f"{point.n_workers:,}"] if columns > 5 + len(names) + priced else []
    if point.makespan is None or point.lower_bound is None:
        note = f"{count(point.n_failed, 'task')} cannot run"
        return [f"{point.value:g}", *counted, "-", "-", "-", *["-"] * len(names), *(["-"] if priced else []), note]
    above = point.makespan / point.lower_bound - 1 if point.lower_bound else 0.0
    note = " ".join(word for word, p in (("knee", variation.knee), ("enough", variation.enough)) if p is point)
    price = ["-" if point.price is None else show_price(point.price)] if priced else []
    shares = [f"{point.utilisation.get(name, 0.0):.1%}" for name in names]
    return [
        f"{point.value:g}", *counted, show_seconds(point.makespan), show_seconds(point.lower_bound), f"{above:.1%}",
        *shares, *price, note,
    ]  # fmt: skip


def variation_as_rows(variation: Variation) -> list[dict[str, Any]]:
    """A flat row for each point."""
    rows = []
    for point in variation.points:
        row = {**vars(point), "knee": point is variation.knee, "enough": point is variation.enough}
        shares = row.pop("utilisation")
        rows.append({"what": variation.what, **row, **{f"utilisation_{name}": share for name, share in shares.items()}})
    return rows


# ---------------------------------------------------------------- compare


def print_comparison(comparison: Comparison, n_moves: int, width: int) -> None:
    """A row for each plan, the best marked; and what moved the most against it."""
    outlines = comparison.outlines
    best = comparison[comparison.best]
    names = list(dict.fromkeys(name for outline in outlines for name in outline.utilisation))
    priced = any(outline.price is not None for outline in outlines)
    failing = any(outline.n_failed for outline in outlines)
    head = ["", "", "makespan", "longer", "lower bound", "above"]
    head += [RESOURCE_WORDS.get(name, name) for name in names] + (["price"] if priced else [])
    head += (["failed"] if failing else []) + (["elsewhere"] if len(outlines) > 1 else [])
    rows = []
    for outline in outlines:
        longer = "" if outline is best else f"{outline.makespan / best.makespan - 1:+.1%}" if best.makespan else "-"
        row = ["*" if outline is best else "", label(outline), show_seconds(outline.makespan), longer,
               show_seconds(outline.lower_bound), "-" if outline.gap is None else f"{outline.gap:.1%}"]  # fmt: skip
        row += [f"{outline.utilisation[name]:.1%}" if name in outline.utilisation else "-" for name in names]
        row += ["-" if outline.price is None else show_price(outline.price)] if priced else []
        row += [f"{outline.n_failed:,}"] if failing else []
        row += [f"{comparison.n_elsewhere(outline.name):,}" if outline is not best else ""] if len(outlines) > 1 else []
        rows.append(row)
    print_table(head, rows, width, left=(0, 1))
    for outline in outlines:
        moves = comparison.moves(outline.name, count=n_moves)
        if outline is best or not moves:
            continue
        total = comparison.n_moved(outline.name)
        print(f"\n{label(outline)} against {label(best)}: {count(total, 'task')} at another time")
        print_table(
            ("", "starts", "there", "later", "on", "there"),
            [
                (
                    show_name(move.task_id)[:LONGEST_NAME],
                    "-" if move.start is None else show_seconds(move.start),
                    "-" if move.other_start is None else show_seconds(move.other_start),
                    f"{'-' if move.later < 0 else '+'}{show_seconds(abs(move.later))}",
                    show_name(move.worker_id or "-"),
                    show_name(move.other_worker_id or "-"),
                )
                for move in moves
            ],
            width,
            left=(0, 4, 5),
        )


def label(outline: Outline) -> str:
    """Its name, in part where it is long."""
    name = show_name(outline.name)
    return name if width_of(name) <= LONGEST_NAME else fit_width(name, LONGEST_NAME, "...")


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
    told = [f"{name} {show_seconds(seconds)}" for name, seconds in risk.quantiles.items()]
    rows = [
        ("makespan", ", ".join(told)),
        ("mean", f"{show_seconds(risk.mean)}; {show_seconds(risk.expected)} if all goes as expected"),
    ]
    rows.append(("as expected", f"{risk.chance(risk.expected):.1%} end within {show_seconds(risk.expected)}"))
    if deadline is not None:
        rows.append(("deadline", f"{risk.chance(deadline):.1%} end within {show_seconds(deadline)}"))
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
