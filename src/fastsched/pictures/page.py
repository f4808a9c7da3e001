"""A scene as one HTML file that needs nothing else: numbers as base64 columns, names as JSON, the program as text.

`page.html` is the frame, `page.css` the look, `model.js` what is computed (it knows no browser, and is tested without
one), `chart.js` what is drawn, `panel.js` what is told beside it, `input.js` what is done about keys and pointers.
Whatever comes from a user is escaped here: ids as JSON in which no tag can end, the title as HTML. The page's own
policy forbids it any request.
"""

from __future__ import annotations

import base64
import html
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from ..names import show_name
from .scene import FAILED_COLOR, Scene, amount_label

__all__ = ["page_of"]

NS = 1_000_000_000
SCRIPTS = ("model", "chart", "panel", "input")  # in their order on the page
STATUSES = ["PENDING", "RUNNING", "COMPLETED", "FAILED"]
# The narrowest type that holds a column is taken, of those that the browser has as typed arrays.
WHOLE = (("u1", 0, 2**8 - 1), ("u2", 0, 2**16 - 1), ("i4", -(2**31), 2**31 - 1))


def page_of(scene: Scene) -> str:
    """The page, as text."""
    title = show_name(scene.title) or f"fastsched {scene.what}"
    parts = {
        "TITLE": html.escape(title),
        "STYLE": read("page.css"),
        **{name.upper(): read(f"{name}.js") for name in SCRIPTS},
        "DATA": as_script(data_of(scene, title)),
    }
    return re.sub(r"<!--([A-Z]+)-->", lambda match: parts[match[1]], read("page.html"))


@cache
def read(name: str) -> str:
    """A file that stands beside this one."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def as_script(data: dict[str, Any]) -> str:
    """JSON that is safe between script tags: in ASCII, so nothing depends on an encoding, and without any `<`."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def data_of(scene: Scene, title: str) -> dict[str, Any]:
    """What the page knows; `model.js` says what it makes of it. Times are seconds."""
    columns, waits = scene.columns, scene.waits
    group, group_names = scene.groups
    why = {name: number for number, name in enumerate(scene.reason_names)}
    return {
        "what": scene.what,
        "title": title,
        "makespan": scene.makespan_ns / NS,
        "lowerBound": scene.lower_bound_ns / NS,
        "boundBy": scene.bound_by,
        "bounds": [[amount_label(name), ns / NS] for name, ns in scene.bounds_ns.items()],
        "tasks": list(scene.task_ids),
        "workers": list(scene.worker_ids),
        "resources": list(scene.resources),
        "demand": column(scene.demand),
        "capacity": column(scene.capacity),
        "task": column(columns["task"]),
        "worker": column(columns["worker"]),
        "attempt": column(columns["attempt"]),
        "start": column(columns["start_ns"] / NS),
        "end": column(columns["end_ns"] / NS),
        "reason": column(columns["reason"]),
        "row": column(scene.row),
        "firstRow": column(scene.first_row),
        "ready": column(waits.ready_ns / NS),
        "after": column(waits.after),
        "freedBy": column(waits.freed_by),
        "status": column(np.array([STATUSES.index(status) for status in scene.status], dtype=np.uint8)),
        "statusNames": STATUSES,
        "why": column(np.array([why[scene.why.get(t, "")] for t in range(len(scene.task_ids))], dtype=np.uint8)),
        "reasonNames": list(scene.reason_names),
        "cause": column(scene.cause),
        "critical": column(np.array(scene.critical, dtype=np.int64)),
        "group": column(group),
        "groupNames": group_names,
        "shownGroups": scene.shown_groups,
        "gapText": scene.gap_text,
        "colors": scene.group_colors,
        "failedColor": FAILED_COLOR,
        "depPtr": column(scene.dep_ptr),
        "deps": column(scene.deps),
    }


def column(values: npt.NDArray[Any]) -> dict[str, str]:
    """An array as its type and its bytes: little-endian, row by row, in base64."""
    kind = "f8"
    if values.dtype.kind != "f":
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        kind = next((name for name, least, most in WHOLE if least <= low and high <= most), "f8")
    data = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode("ascii")}
