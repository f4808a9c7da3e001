"""Named shapes and sizes, the same in every run, with demands that real tasks have.

DEMANDS are the sixteen most frequent (milli-cores, MB) among the 4,076 GPU pods of Alibaba's
cluster-trace-gpu-v2023 (OpenB), with how often they occur; the machines are shapes that clouds sell.
"""

from __future__ import annotations

import json
import os
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastsched import Task, TaskGraph, Worker
from fastsched.graph import WorkerTable
from fastsched.planner import make_core

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FASTSCHED_DATA", ROOT.parent / "shared" / "data"))
DEMANDS = (
    ((3152, 5600), 793), ((11300, 49152), 425), ((11908, 47104), 393), ((8000, 30517), 320),
    ((11400, 48128), 258), ((12500, 57344), 172), ((32000, 49152), 148), ((18708, 64512), 127),
    ((9810, 41560), 104), ((4000, 15258), 92), ((15700, 58368), 92), ((4000, 22888), 91),
    ((12000, 24576), 83), ((4000, 30517), 78), ((4152, 10600), 77), ((15400, 51200), 69),
)  # fmt: skip
MACHINES = ((16, 65536), (32, 131072), (32, 262144), (64, 262144))
N = 10_000


def workers(count: int = 100) -> list[Worker]:
    """Machines of four shapes in turn."""
    return [Worker(f"w{i}", *MACHINES[i % len(MACHINES)]) for i in range(count)]


def layers(width: int, n: int = N, seed: int = 1) -> list[Task]:
    """Layers of `width` tasks; each task depends on two of the layer before."""
    rng = random.Random(seed)
    tasks = []
    for i in range(n):
        first = i // width * width
        before = {rng.randrange(first - width, first) for _ in range(2)} if first else ()
        tasks.append(make(rng, i, before))
    return tasks


def wide(n: int = N, seed: int = 2) -> list[Task]:
    """Tasks that depend on nothing."""
    rng = random.Random(seed)
    return [make(rng, i, ()) for i in range(n)]


def chain(n: int = N, seed: int = 3) -> list[Task]:
    """Each task depends on the one before."""
    rng = random.Random(seed)
    return [make(rng, i, (i - 1,) if i else ()) for i in range(n)]


def scattered(n: int = N, seed: int = 4) -> list[Task]:
    """Each task depends on up to three tasks anywhere before it."""
    rng = random.Random(seed)
    return [make(rng, i, {rng.randrange(i) for _ in range(rng.randrange(4))} if i else ()) for i in range(n)]


def make(rng: random.Random, i: int, dependencies: Iterable[int]) -> Task:
    """Task number i, with a demand and a duration drawn."""
    demands, counts = zip(*DEMANDS)
    millicores, memory = rng.choices(demands, counts)[0]
    depends = tuple(f"t{d}" for d in sorted(dependencies))
    return Task(f"t{i}", "true", depends, millicores / 1000, memory, duration=rng.randint(1, 600))


def real(name: str = "montage-12000-s7") -> list[Task] | None:
    """A workflow of 12,000 tasks made by WfCommons' generator, or None where the data folder is not here."""
    archive = DATA / "wfgen" / "wfgen_flat.tar.gz"
    if not archive.is_file():
        return None
    with tarfile.open(archive) as files:
        member = files.extractfile(f"wfgen/{name}.json")
        assert member is not None
        flat = json.load(member)
    return [
        Task(
            f"t{i}",
            "true",
            tuple(f"t{p}" for p in flat["parents"][i]),
            flat["cores_milli"][i] / 1000,
            flat["mem_mb"][i] if flat["mem_mb"][i] is not None else 1024 * flat["cores_milli"][i] // 1000,
            duration=flat["dur_ms"][i] / 1000,
        )
        for i in range(flat["n"])
    ]


class Arrays(NamedTuple):
    """A graph without a single object, for sizes at which objects are the larger part of the work."""

    indptr: npt.NDArray[np.int64]
    """(n + 1,): row i of `indices` lists what task i depends on."""
    indices: npt.NDArray[np.int32]
    demand: npt.NDArray[np.int32]
    """(n, 2): milli-cores, MB."""
    duration: npt.NDArray[np.float64]
    """(n,): seconds, above 0."""


def arrays(shape: str, n: int, *, width: int = 1000, seed: int = 1) -> Arrays:
    """`layers`, `wide`, `chain` or `scattered` with the same demands and durations, drawn by numpy."""
    rng = np.random.default_rng(seed)
    task = np.arange(n)
    if shape == "layers":
        first = task // width * width
        drawn = first[:, None] - width + rng.integers(0, width, (n, 2))
        wanted = np.repeat(first[:, None] > 0, 2, axis=1)
    elif shape == "wide":
        drawn = wanted = np.zeros((n, 0), dtype=np.int64)
    elif shape == "chain":
        drawn, wanted = task[:, None] - 1, task[:, None] > 0
    elif shape == "scattered":
        drawn = (rng.random((n, 3)) * task[:, None]).astype(np.int64)
        wanted = (np.arange(3) < rng.integers(0, 4, n)[:, None]) & (task[:, None] > 0)
    else:
        raise ValueError(f"unknown shape {shape!r}")
    edges = np.unique((task[:, None] * n + drawn)[wanted.astype(bool)])  # by task, each dependency once
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(edges // n, minlength=n), out=indptr[1:])
    demands, counts = zip(*DEMANDS)
    drawn_demand = rng.choice(len(demands), n, p=np.array(counts) / sum(counts))
    demand = np.array(demands, dtype=np.int32)[drawn_demand]
    return Arrays(indptr, (edges % n).astype(np.int32), demand, rng.integers(1, 601, n).astype(np.float64))


def graph_of(given: Arrays) -> TaskGraph:
    """The graph that these arrays describe."""
    return TaskGraph.from_arrays(given.indptr, given.indices, given.demand, duration=given.duration)


def core_of(graph: TaskGraph, table: WorkerTable):
    """A core on which nothing has happened, with the choices that `schedule()` makes by itself."""
    return make_core(graph, table, rank="critical-path", fit="most-free", max_retries=3)


SHAPES = {
    "layers of 1000": lambda: layers(1000),
    "layers of 100": lambda: layers(100),
    "wide": wide,
    "chain": chain,
    "scattered": scattered,
    "montage-12000": real,
}
