"""A plan played by SimGrid, for bench_peers: JSON in, JSON out. Needs nothing but a Python that has SimGrid.

In: `duration` (seconds, by task), `dependencies` (rows of tasks), `queues` (the tasks of each host, in turn). An actor
on each host executes its tasks in that order, each when its dependencies have completed. Out: `seconds` that the
simulation took, without making the hosts, and `ends`, in seconds of virtual time, by task.
"""

import json
import sys
import time

from simgrid import Actor, Engine, NetZone, Semaphore, this_actor


def work(queue, duration, dependencies, dependents, waiting, ends):
    for task in queue:
        for _ in dependencies[task]:
            waiting[task].acquire()
        this_actor.execute(duration[task])
        ends[task] = Engine.clock
        for dependent in dependents[task]:
            waiting[dependent].release()


def main():
    given = json.load(sys.stdin)
    duration, dependencies = given["duration"], given["dependencies"]
    dependents = [[] for _ in duration]
    for task, row in enumerate(dependencies):
        for other in row:
            dependents[other].append(task)
    engine = Engine(["simgrid_peer", "--log=root.threshold:critical"])
    zone = NetZone.create_full_zone("zone")
    hosts = [zone.create_host(f"w{w}", 1.0) for w in range(len(given["queues"]))]
    zone.seal()
    began = time.perf_counter()
    waiting = [Semaphore(0) for _ in duration]
    ends = [0.0] * len(duration)
    for host, queue in zip(hosts, given["queues"]):
        Actor.create(host.name, host, work, queue, duration, dependencies, dependents, waiting, ends)
    engine.run()
    json.dump({"seconds": time.perf_counter() - began, "ends": ends}, sys.stdout)


main()
