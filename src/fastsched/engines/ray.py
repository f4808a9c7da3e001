"""The Ray engine: the nodes of a Ray cluster run the commands.

On every node is an actor, which takes none of its cores, with an outpost in it. Frames go to it as calls, numbered, for
Ray keeps no order among them, and come back as the answers of one call that waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any

from ..errors import MissingExtraError
from ..model import Worker
from .local import OUTPUT_CAP_MB
from .outpost import Outpost
from .remote import RemoteEngine, Site, is_amount

try:
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtraError("ray", "running on Ray") from error

__all__ = ["RayEngine"]

LOOK_S = 0.5  # between two looks at which nodes there are
KNOCK_S = 5.0
LISTEN_S = 10.0  # that an actor waits for something to say
OWN = ("CPU", "memory", "object_store_memory")  # resources that are no concern of ours, or have names of their own


class RayEngine(RemoteEngine):
    """See `engines.base.Engine` and `RemoteEngine`.

    Args:
        address: of a cluster of which this machine is a node, as `ray.init` takes it: "HOST:PORT" or "auto". None: the
            cluster that this program is connected to, or, where it is to none, one on this machine, for as long as the
            run takes.
        cwd, env, containment, output_cap_mb: as in `RemoteEngine`.

    Raises:
        MissingExtraError: where `ray` is not installed.
    """

    kind = "Ray node"

    def __init__(
        self,
        address: str | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        containment: str = "auto",
        output_cap_mb: int = OUTPUT_CAP_MB,
    ) -> None:
        super().__init__(cwd=cwd, env=env, containment=containment, output_cap_mb=output_cap_mb)
        self._address = address
        self._is_ours = False  # the connection to the cluster
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._watching: asyncio.Future[None] | None = None

    def _connect(self) -> None:
        if ray.is_initialized():
            there = ray.get_runtime_context().gcs_address
            if self._address not in (None, "auto", there):
                raise OSError(f"this program is connected to the Ray cluster at {there}, not to {self._address}")
        else:
            if self._address is not None and ":" in self._address:
                knock(self._address)
            try:
                alone = {"include_dashboard": False} if self._address is None else {}
                ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR, **alone)
            except (RayError, RuntimeError, ValueError) as error:
                raise OSError(f"there is no Ray cluster at {self._address}: {error}") from error
            self._is_ours = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fastsched-ray", daemon=True)
        self._thread.start()
        nodes = list_nodes()
        for node_id, worker in nodes.items():
            self.found(node_id, worker)
        self._loop.call_soon_threadsafe(self._begin, set(nodes))

    def _link(self, site: Site) -> RayLink:
        assert self._loop is not None
        return RayLink(self, site, self._loop)

    def _disconnect(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()
            self._loop = self._thread = None
        if self._is_ours:
            self._is_ours = False
            ray.shutdown()

    def _why_unreachable(self) -> str:
        return self._failure

    def _begin(self, known: set[str]) -> None:
        self._watching = asyncio.ensure_future(self._watch(known))

    async def _watch(self, known: set[str]) -> None:
        """See which nodes come and go."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                nodes = await asyncio.to_thread(list_nodes)
            except Exception as error:  # Ray has many kinds
                self._failure = f"the Ray cluster cannot be reached any more: {error}"
                self.wake()
                return
            for node_id in nodes.keys() - known:
                self.found(node_id, nodes[node_id])
            for node_id in known - nodes.keys():
                self.gone(node_id, False)
            known = set(nodes)


class RayLink:
    """See `engines.remote.Link`."""

    def __init__(self, engine: RayEngine, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._site, self._loop = engine, site, loop
        place = NodeAffinitySchedulingStrategy(site.key, soft=False)
        self._actor: Any = OutpostActor.options(scheduling_strategy=place).remote()  # type: ignore[attr-defined]
        self._task: asyncio.Task[None] | None = None
        self._n_sent = 0
        loop.call_soon_threadsafe(self._begin)

    def send(self, frame: bytes) -> None:
        """See `Link.send`."""
        with contextlib.suppress(RayError):  # whoever listens hears of it
            self._actor.hear.options(num_returns=0).remote(self._n_sent, frame)
        self._n_sent += 1

    def close(self) -> None:
        """See `Link.close`."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        with contextlib.suppress(RayError):
            ray.kill(self._actor)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        try:
            while True:
                frames = await self._actor.listen.remote()
                self._engine.arrived(self._site, self, [frame for frame in frames if frame])
                if frames and not frames[-1]:
                    break  # nothing more is going to be said
        except RayError:
            pass
        self._engine.cut(self._site, self)


@ray.remote(num_cpus=0, max_restarts=0, max_concurrency=8)
class OutpostActor:
    """An outpost on a node."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._bell = asyncio.Event()
        self._outpost: Outpost | None = None
        self._early: dict[int, bytes] = {}  # frames that came before one that was sent before
        self._n_heard = 0

    async def hear(self, number: int, frame: bytes) -> None:
        """Take a frame, in its turn."""
        if self._outpost is None:
            loop = asyncio.get_running_loop()
            self._outpost = Outpost(
                lambda frame: loop.call_soon_threadsafe(self._put, frame), lambda: sum(map(len, self._frames))
            )
            self._outpost.start()
        self._early[number] = frame
        while self._n_heard in self._early:
            self._outpost.hear(self._early.pop(self._n_heard))
            self._n_heard += 1

    async def listen(self) -> list[bytes]:
        """The frames that there are; waits for some, but not for ever."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._bell.wait(), LISTEN_S)
        self._bell.clear()
        frames, self._frames = self._frames, []
        return frames

    def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bell.set()


def knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except (OSError, ValueError) as error:
        raise OSError(f"there is no Ray cluster at {address}: {error}") from error


def list_nodes() -> dict[str, Worker]:
    """The nodes that are alive, each with what it offers, by their ids."""
    found = {}
    for node in ray.nodes():
        offered = node["Resources"]
        if node["Alive"] and "CPU" in offered:
            others = {name: int(n) for name, n in offered.items() if name not in OWN and not name.startswith("node:")}
            others = {name: n for name, n in others.items() if is_amount(n)}
            found[node["NodeID"]] = Worker(
                f"{node['NodeManagerHostname']}-{node['NodeID'][:8]}",
                offered["CPU"],
                int(offered.get("memory", 0)) >> 20,
                resources=others or None,
            )
    return found
