"""Real graphs and real workers from the data folder, as they stand there; no more than that is known of the formats.

The sets are described in the folder's own README. A task without recorded memory is given 1024 MB a core.
"""

from __future__ import annotations

import csv
import gzip
import json
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from workloads import DATA, Arrays

from fastsched import TaskGraph, Worker

RESOURCES = ("cpu_millicores", "memory_mb", "gpu_milli")
MS = 1_000_000  # ns


class Instance(NamedTuple):
    name: str
    given: Arrays
    graph: TaskGraph
    workers: list[Worker]
    bound_ns: int
    """No plan is shorter: the folder's own lower bound, where it has one."""


def instances(what: str, cluster: str) -> Iterator[Instance]:
    """Of the set, on the workers of this cluster; "" for those that each instance names."""
    bounds = {
        (row["set"], row["instance"], row["cluster"]): int(row["lb_ms"]) * MS
        for row in read_csv("workflow_baselines.csv")
    }
    for flat in flats(what):
        given, resources = read_flat(flat)
        graph = TaskGraph.from_arrays(
            given.indptr, given.indices, given.demand, duration=given.duration, resources=resources
        )
        where = cluster or flat["cluster"]
        workers = read_cluster(where, len(resources) > 2)
        bound = bounds.get((what, flat["name"], where))
        yield Instance(flat["name"], given, graph, workers, bound or graph.schedule(workers).lower_bound_ns)


def flats(what: str) -> Iterator[dict[str, Any]]:
    if what == "openb":
        with gzip.open(DATA / "openb" / "openb_pods_1h_flat.json.gz") as file:
            yield json.load(file)
        return
    with tarfile.open(DATA / what / f"{what}_flat.tar.gz") as files:
        for member in files:
            file = files.extractfile(member)
            if file is not None:
                yield json.load(file)


def read_flat(flat: dict[str, Any]) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays of an instance, and the names of its resources."""
    memory = [1024 * cores // 1000 if mb is None else mb for cores, mb in zip(flat["cores_milli"], flat["mem_mb"])]
    columns = [flat["cores_milli"], memory, *([flat["gpu_milli"]] if "gpu_milli" in flat else [])]
    indptr = np.cumsum([0, *map(len, flat["parents"])], dtype=np.int64)
    indices = np.array([task for row in flat["parents"] for task in row], dtype=np.int32)
    demand = np.ascontiguousarray(np.array(columns, dtype=np.int32).T)
    return Arrays(indptr, indices, demand, np.array(flat["dur_ms"]) / 1000), RESOURCES[: len(columns)]


def read_cluster(name: str, with_gpus: bool) -> list[Worker]:
    return [
        Worker(
            row["worker"],
            int(row["cores_milli"]) / 1000,
            int(row["mem_mb"]),
            resources={"gpu_milli": int(row["gpu_milli"])} if with_gpus else None,
        )
        for row in read_csv(f"clusters/{name}.csv")
    ]


def read_csv(name: str) -> list[dict[str, str]]:
    with (DATA / name).open() as file:
        return list(csv.DictReader(file))
