"""What was measured in runs, and a graph with it put in: durations for the tasks that name none, and memory.

What a task says itself always stays. Runs are read by `runtime/earlier.py`; `estimates.py` says what the rows amount
to. No file and no clock is touched here.

Memory is put in where a task does not name any, and the workers are known: never less than the default that it is
counted with otherwise, never more than the largest worker that could hold the rest of it, and not enforced. So no
task is killed, or made impossible, by an estimate.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from .attempts import AttemptLog
from .errors import ValidationError
from .estimates import Estimate, Knowledge, Measured
from .graph import TOO_LONG, CompiledGraph, Graph, WorkerTable, fits_clock
from .model import DEFAULT_MEMORY_MB, Reason, Task, from_mapping
from .plan import CODE_OF_REASON, Run

__all__ = ["Filled", "Measurements", "RunMeasured", "measure"]

NS = 1_000_000_000
CUT_SHORT = (Reason.TIMEOUT, Reason.WORKER_LOST, Reason.CANCELLED, Reason.OUT_OF_MEMORY, Reason.SIGNAL)
CUT_SHORT_CODES = [CODE_OF_REASON[reason] for reason in CUT_SHORT]
Floats = npt.NDArray[np.float64]


class RunMeasured(msgspec.Struct, frozen=True):
    """What one run says: its name, for people, and each task that was measured."""

    name: str
    tasks: Sequence[Measured]


@dataclass(frozen=True)
class Filled:
    """How much of a graph is known, when what was measured has been put in. As text: that in one line.

    Attributes:
        n_tasks: how many there are. n_given: with a duration of their own. n_known: with one by what was measured.
        usual: seconds that the others are counted with, the median of all that are known; None: nothing was put in.
        n_memory: how many were given a demand of memory. n_runs: how many runs it is known by.
    """

    n_tasks: int
    n_given: int
    n_known: int
    usual: float | None
    n_memory: int
    n_runs: int

    @property
    def n_unknown(self) -> int:
        """How many tasks have no duration of their own, nor one by what was measured."""
        return self.n_tasks - self.n_given - self.n_known

    def __str__(self) -> str:
        wanting = self.n_tasks - self.n_given
        text = f"durations of {self.n_known:,} of {wanting:,} task{'' if wanting == 1 else 's'} from "
        text += f"{self.n_runs:,} earlier run{'' if self.n_runs == 1 else 's'}"
        if self.n_unknown and self.usual is not None:
            text += f"; the other {self.n_unknown:,} count {self.usual:.3g} s, the median"
        return text + (f"; memory of {self.n_memory:,}" if self.n_memory else "")


class Measurements:
    """What was measured in runs, the newest last."""

    def __init__(self, runs: Iterable[RunMeasured] = ()) -> None:
        self.runs: list[RunMeasured] = list(runs)
        self._known: Knowledge | None = None

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self.runs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.runs)} runs, {sum(len(run.tasks) for run in self.runs)} tasks>"

    def add(self, run: Run, name: str = "") -> None:
        """Take in what a run measured, as the newest. `name`: what people call it."""
        assert isinstance(run.attempts, AttemptLog)
        self.add_measured(measure(run.plan._graph.tasks, run.attempts, name or run.run_dir))

    def add_measured(self, run: RunMeasured) -> None:
        """Take in what was read of a run, as the newest."""
        self.runs.append(run)
        self._known = None

    def estimate(self, task: Task | Mapping[str, Any]) -> Estimate | None:
        """What is expected of a task, whatever it says itself; None: nothing is known of it."""
        item = task if isinstance(task, Task) else from_mapping(Task, task, "task")[0]
        assert isinstance(item, Task)
        return self._knowledge().estimate(item.task_id, _hashable(item.command), item.group)

    def filled(self, items: Sequence[Any]) -> list[Any]:
        """Tasks, or mappings with their fields: those without a duration with one where it is known, for a submission.

        What is no right task is left as it is; whoever takes it says what is wrong.
        """
        found: list[Any] = []
        for item in items:
            task, wrong = from_mapping(Task, item, "") if isinstance(item, Mapping) else (item, [])
            if isinstance(task, Task) and _wants_time(task) and not wrong and not task.find_problems(""):
                estimate = self.estimate(task)
                if estimate is not None and estimate.seconds is not None:
                    item = msgspec.structs.replace(task, duration=estimate.seconds)
            found.append(item)
        return found

    def fill(self, graph: Graph, table: WorkerTable | None = None) -> tuple[Graph, Filled]:
        """The graph with what is known put in, and how much that is; the graph that was given is left alone.

        table: the workers; None: they are not known, and memory is left alone. A graph that was made of arrays names
        its durations itself.

        Raises:
            ValidationError: where the durations do not fit the clock any more.
        """
        n_given = sum(task.duration is not None for task in graph.tasks)
        seconds, memory = self._look_up(graph, table)
        usual = None
        if seconds:
            own = [task.duration for task in graph.tasks if task.duration is not None]
            usual = round(float(np.median([*own, *seconds.values()])), 6)
        told = Filled(len(graph), n_given, len(seconds), usual, len(memory), len(self.runs))
        if usual is None and not memory:
            return graph, told
        made = copy.copy(graph)
        made.tasks = list(graph.tasks)
        made.duration, made.demand, made._classes = graph.duration.copy(), graph.demand.copy(), None
        for i, task in enumerate(graph.tasks):
            changes: dict[str, Any] = {}
            if usual is not None and task.duration is None:
                changes["duration"] = seconds.get(i, usual)
                made.duration[i] = round(changes["duration"] * NS)
            if i in memory:
                changes |= {"memory_required_mb": memory[i], "enforce_memory": False}
                made.demand[i, 1] = memory[i]
            if changes:
                made.tasks[i] = msgspec.structs.replace(task, **changes)
        made.has_durations = graph.has_durations or usual is not None
        if not fits_clock(made.duration):
            raise ValidationError([TOO_LONG])
        return made, told

    def _look_up(self, graph: CompiledGraph, table: WorkerTable | None) -> tuple[dict[int, float], dict[int, int]]:
        """Seconds and MB by task, of those that do not name them and of which they are known."""
        seconds: dict[int, float] = {}
        memory: dict[int, int] = {}
        if not self.runs or not graph.tasks:
            return seconds, memory
        known = self._knowledge()
        most = None if table is None else _most_memory(graph, table)
        for i, task in enumerate(graph.tasks):
            wants_memory = most is not None and _wants_memory(task)
            if not wants_memory and not _wants_time(task):
                continue
            estimate = known.estimate(task.task_id, _hashable(task.command), task.group)
            if estimate is None:
                continue
            if _wants_time(task) and estimate.seconds is not None:
                seconds[i] = estimate.seconds
            if wants_memory and most is not None and estimate.memory_mb is not None:
                wanted = min(estimate.memory_mb, most[i])
                if wanted > DEFAULT_MEMORY_MB:
                    memory[i] = wanted
        return seconds, memory

    def _knowledge(self) -> Knowledge:
        if self._known is None:
            self._known = Knowledge(run.tasks for run in self.runs)
        return self._known


def measure(tasks: Sequence[Task], attempts: AttemptLog, name: str) -> RunMeasured:
    """What the attempts of a run say of its tasks."""
    columns = attempts.columns()
    n, task, reason = len(tasks), columns["task"], columns["reason"]
    took = (columns["end_ns"] - columns["start_ns"]) / NS
    completed = reason == 0
    seconds, bound, peak = (np.full(n, -1.0) for _ in range(3))
    seconds[task[completed]] = took[completed]
    cut = np.isin(reason, CUT_SHORT_CODES)
    np.maximum.at(bound, task[cut], took[cut])
    np.maximum.at(peak, task, columns["peak_mb"])
    rows = [
        Measured(
            tasks[i].task_id,
            _hashable(tasks[i].command),
            tasks[i].group,
            None if seconds[i] < 0 else float(seconds[i]),
            None if seconds[i] >= 0 or bound[i] < 0 else float(bound[i]),
            None if peak[i] < 0 else round(float(peak[i]), 3),
        )
        for i in np.nonzero((seconds >= 0) | (bound >= 0) | (peak >= 0))[0].tolist()
    ]
    return RunMeasured(name, rows)


def _wants_time(task: Task) -> bool:
    return task.duration is None


def _wants_memory(task: Task) -> bool:
    """Whether a task leaves its memory open: it has the default, and does not want that enforced."""
    return task.memory_required_mb == DEFAULT_MEMORY_MB and task.enforce_memory is None


def _most_memory(graph: CompiledGraph, table: WorkerTable) -> list[int]:
    """The memory of the largest worker that could hold everything else of each task, MB."""
    needs, kind_of = np.unique(np.delete(graph.demand, 1, axis=1), axis=0, return_inverse=True)
    others, memory = np.delete(table.capacity, 1, axis=1), table.capacity[:, 1]
    most = [int(memory[(others >= need).all(axis=1)].max(initial=0)) for need in needs]
    return [most[kind] for kind in kind_of.ravel().tolist()]


def _hashable(command: str | Sequence[str]) -> str | tuple[str, ...]:
    return command if isinstance(command, str) else tuple(command)
