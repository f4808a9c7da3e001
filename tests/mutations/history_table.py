"""Planted bugs of what earlier runs say, and of a run beside its plan: see `table.py` for what an entry is."""

from __future__ import annotations

from .entry import Mutation

__all__ = ["HISTORY_MUTATIONS"]

HISTORY_MUTATIONS = (
    Mutation(
        "unknown-counts-one",
        "history.py",
        "if usual is not None and task.duration is None:",
        "if usual is not None and i in seconds:",
        "a task of which nothing is known counts a second beside others that are known to take hours",
    ),
    Mutation(
        "known-twice",
        "history.py",
        "if _wants_time(task) and estimate.seconds is not None:",
        "if estimate.seconds is not None:",
        "tasks that say their duration are counted as known by earlier runs",
    ),
    Mutation(
        "estimate-nobody-holds",
        "history.py",
        "wanted = min(estimate.memory_mb, most[i])",
        "wanted = estimate.memory_mb",
        "a task that ran before is given more memory than any worker has, and fails",
    ),
    Mutation(
        "estimate-enforced",
        "history.py",
        '"enforce_memory": False',
        '"enforce_memory": None',
        "a task that says nothing of its memory is killed when it takes more than was guessed",
    ),
    Mutation(
        "failure-as-bound",
        "history.py",
        "cut = np.isin(reason, CUT_SHORT_CODES)",
        "cut = reason != 0",
        "a command that waited an hour and failed by itself is expected to take an hour at least",
    ),
    Mutation(
        "killed-as-measure",
        "history.py",
        "completed = reason == 0",
        "completed = reason >= 0",
        "what was killed is taken for what the task takes",
    ),
    Mutation(
        "one-sample-is-nothing",
        "estimates.py",
        "LEAST_WEIGHT = 0.5",
        "LEAST_WEIGHT = 0.0",
        "a task that was long once, among short ones, is expected to be short",
    ),
    Mutation(
        "never-believed",
        "estimates.py",
        "differ2 = max(broad.spread**2, apart2)",
        "differ2 = broad.spread**2",
        "a task that is long each time, among short ones, is not believed",
    ),
    Mutation(
        "own-scatter-forgotten",
        "estimates.py",
        "repeated = counts > 1",
        "repeated = counts > 9",
        "how much a task varies from run to run is not learnt",
    ),
    Mutation(
        "bound-forgotten",
        "estimates.py",
        "middle = max(middle, bound.middle)",
        "middle = min(middle, bound.middle)",
        "what ran for an hour until its time was up is expected to take a minute",
    ),
    Mutation(
        "memory-of-the-middle",
        "estimates.py",
        "MEMORY_QUANTILE = 0.95",
        "MEMORY_QUANTILE = 0.5",
        "half of the attempts take more memory than they are given room for",
    ),
    Mutation(
        "lost-as-failed",
        "against.py",
        "retried += 0 if attempt.was_lost else span",
        "retried += span",
        "time with a lost worker is told twice, and the parts do not add up",
    ),
    Mutation(
        "first-dependency-binds",
        "against.py",
        "key=lambda j: (ends[j], -j)",
        "key=lambda j: -j",
        "a task is said to have waited for its first dependency, whichever was the last to end",
    ),
    Mutation(
        "slack-forgotten",
        "against.py",
        '    causes["slack"] = -spare',
        '    causes["slack"] = 0 * spare',
        "what the plan had to spare is not counted, and the parts of the whole do not add up",
    ),
    Mutation(
        "oldest-runs",
        "runtime/earlier.py",
        "reverse=True)[:MOST_LOOKED_AT]",
        "reverse=False)[:MOST_LOOKED_AT]",
        "durations come from the oldest runs that there are",
    ),
    Mutation(
        "file-of-the-same-name",
        "runtime/earlier.py",
        "if begun is not None and (begun.source != source if begun.source else begun.name != name):",
        "if begun is not None and begun.name != name:",
        "every run of a file that is called alike is read, to be thrown away",
    ),
    Mutation(
        "script-is-a-path",
        "patterns.py",
        "is_program = program in CARRIERS",
        "is_program = False",
        "all that Python runs is taken for the same work",
    ),
)
