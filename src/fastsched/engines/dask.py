"""The Dask engine: the workers of a Dask cluster run the commands, and its scheduler says which workers there are.

A plugin that is registered with the cluster lets every worker, those that join later included, take connections for an
outpost. Orders and reports go straight between this process and the worker, in frames, by Dask's own communication,
with its TLS where that is configured: there and back takes 0.2 ms, where an RPC by way of Dask's scheduler and an event
back take 3 ms, and a task of Dask's 10 ms. So this process has to reach the workers, and no command is Dask's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError
from ..model import Worker
from .local import OUTPUT_CAP_MB, this_machine
from .outpost import Outpost
from .remote import RemoteEngine, Site, is_amount

try:
    from distributed import Client, LocalCluster, Status
    from distributed.comm import connect
    from distributed.diagnostics.plugin import WorkerPlugin
except ImportError as error:
    raise MissingExtraError("dask", "running on Dask") from error

if TYPE_CHECKING:
    from distributed.comm import Comm

__all__ = ["DaskEngine"]

logger = logging.getLogger("fastsched")

OP = "fastsched"  # what a worker is asked for
STEP = 1 << 22  # bytes of frames that are sent together


class DaskEngine(RemoteEngine):
    """See `engines.base.Engine` and `RemoteEngine`.

    Args:
        cluster: a `distributed.Client`, or the address of a Dask scheduler, such as "tcp://10.0.0.1:8786" or the path
            of a scheduler file; None: a cluster on this machine, for as long as the run takes.
        cwd, env, containment, output_cap_mb: as in `RemoteEngine`.

    Raises:
        MissingExtraError: where `distributed` is not installed.
    """

    kind = "Dask worker"

    def __init__(
        self,
        cluster: Client | str | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        containment: str = "auto",
        output_cap_mb: int = OUTPUT_CAP_MB,
    ) -> None:
        super().__init__(cwd=cwd, env=env, containment=containment, output_cap_mb=output_cap_mb)
        if isinstance(cluster, Client) and cluster.asynchronous:
            raise ValueError("the client is asynchronous, and would wait for itself; give its scheduler's address")
        self._given = cluster
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None
        self._was_cut_off = False

    def _connect(self) -> None:
        given = self._given
        if isinstance(given, Client):
            self._client = given
        elif given is None:
            self._cluster = LocalCluster(dashboard_address=None)
            self._client = Client(self._cluster, set_as_default=False)
        elif given.endswith(".json"):
            self._client = Client(scheduler_file=given, set_as_default=False)
        else:
            self._client = Client(given, set_as_default=False)
        self._meet(self._client)

    def _meet(self, client: Client) -> None:
        """Have every worker take connections, and see which there are."""
        client.subscribe_topic("all", self._note_change)
        client.subscribe_topic(OP, self._note_outpost)
        try:
            client.register_plugin(OutpostPlugin())
        except ImportError as error:
            raise OSError(f"fastsched is not installed on the workers of the Dask cluster: {error}") from error
        known = client.sync(client.scheduler.identity)["workers"]
        unlimited = [address for address, about in known.items() if not about["memory_limit"]]
        # What has no limit has what its machine has, which only it knows.
        memory = client.run(machine_memory, workers=unlimited, on_error="ignore") if unlimited else {}
        for address in [address for address in self.sites if address not in known]:
            self.gone(address, False)
        for address, about in known.items():
            limit = about["memory_limit"] or memory.get(address)
            if limit:  # else it went just now
                self.found(address, make_worker({**about, "memory_limit": limit}))

    def _link(self, site: Site) -> DaskLink:
        assert self._client is not None
        return DaskLink(self, site, self._client)

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            for topic in ("all", OP):
                with contextlib.suppress(Exception):  # the cluster may be gone
                    client.unsubscribe_topic(topic)
            if client is not self._given:
                client.close()
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _why_unreachable(self) -> str:
        client = self._client
        if client is None or client.status in ("closing", "closed"):
            return "the Dask scheduler cannot be reached any more; fastsched resume takes up what was journaled"
        if client.status != "running":
            self._was_cut_off = True
        elif self._was_cut_off:
            try:
                self._meet(client)  # it may be another one, which knows nothing of us
                self._was_cut_off = False
            except OSError as error:
                logger.warning("the Dask scheduler was reached again, and lost: %s", error)
        return ""

    def _note_change(self, event: tuple[float, Any]) -> None:
        """Something has happened in the cluster; by the thread of the client, as the next one."""
        what = event[1]
        if isinstance(what, dict) and what.get("action") == "remove-worker":
            self.gone(what["worker"], bool(what.get("expected")))

    def _note_outpost(self, event: tuple[float, Any]) -> None:
        """A worker takes connections from now on."""
        about = event[1]
        self.found(about["address"], make_worker(about))


class DaskLink:
    """See `engines.remote.Link`."""

    def __init__(self, engine: DaskEngine, site: Site, client: Client) -> None:
        self._engine, self._site = engine, site
        self._loop = client.loop.asyncio_loop
        self._out = Outbox()
        self._task: asyncio.Task[None] | None = None
        how = client.security.get_connection_args("client")
        self._loop.call_soon_threadsafe(self._begin, how)

    def send(self, frame: bytes) -> None:
        """See `Link.send`."""
        if self._out.put(frame):
            with contextlib.suppress(RuntimeError):  # the client is closed
                self._loop.call_soon_threadsafe(self._out.ring)

    def close(self) -> None:
        """See `Link.close`."""
        with contextlib.suppress(RuntimeError):  # the client is closed
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _begin(self, how: Mapping[str, Any]) -> None:
        self._task = asyncio.ensure_future(self._run(how))

    async def _run(self, how: Mapping[str, Any]) -> None:
        """Connect, and pass frames both ways, until it is closed or breaks."""
        comm = None
        try:
            comm = await connect(self._site.key, **how)
            await comm.write({"op": OP, "reply": False})
            await converse(comm, self._out, lambda frames: self._engine.arrived(self._site, self, frames))
        except Exception as error:
            if not isinstance(error, OSError):
                logger.exception("the connection to the Dask worker at %s broke", self._site.key)
            self._engine.cut(self._site, self)
        finally:
            if comm is not None:
                comm.abort()


class Outbox:
    """Frames that wait to be sent, from any thread."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._bell: asyncio.Event | None = None
        self.size = 0  # bytes

    def put(self, frame: bytes) -> bool:
        """Add a frame; whether somebody has to ring for it."""
        with self._lock:
            self._frames.append(frame)
            self.size += len(frame)
            return len(self._frames) == 1

    def ring(self) -> None:
        """Say that there is something."""
        if self._bell is not None:
            self._bell.set()

    async def take(self) -> list[bytes]:
        """All that there is, up to a limit; waits for something."""
        if self._bell is None:
            self._bell = asyncio.Event()
        while not self._frames:
            self._bell.clear()
            if not self._frames:
                await self._bell.wait()
        with self._lock:
            frames = [self._frames.popleft()]
            taken = len(frames[0])
            while self._frames and taken < STEP:
                frames.append(self._frames.popleft())
                taken += len(frames[-1])
        return frames

    def left(self, frames: Sequence[bytes]) -> None:
        """These have left."""
        with self._lock:
            self.size -= sum(map(len, frames))


async def converse(comm: Comm, out: Outbox, take: Callable[[Sequence[bytes]], object]) -> None:
    """Send what is to be sent, and take what comes, until the connection breaks: OSError says how.

    An empty frame says that nothing more is to be sent; then it ends.
    """

    async def write() -> None:
        while True:
            frames = await out.take()
            await comm.write([frame for frame in frames if frame])
            out.left(frames)
            if not frames[-1]:
                return

    async def read() -> None:
        while True:
            take(await comm.read())

    ways = [asyncio.ensure_future(write()), asyncio.ensure_future(read())]
    try:
        (first, *_), _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        first.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


class OutpostPlugin(WorkerPlugin):  # type: ignore[misc]
    """Lets a Dask worker take connections for an outpost."""

    name = "fastsched"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Called by the worker when it has come, or the plugin has."""
        self._outposts: set[Outpost] = set()
        worker.handlers[OP] = self.serve
        about = {
            "address": worker.address,
            "name": worker.name,
            "nthreads": worker.state.nthreads,
            "memory_limit": worker.memory_manager.memory_limit or machine_memory(),
            "resources": worker.state.total_resources,
        }
        worker.log_event(OP, about)

    def teardown(self, worker: Any) -> None:
        """Called by the worker when it goes."""
        worker.handlers.pop(OP, None)
        for outpost in list(self._outposts):
            outpost.hang_up()

    async def serve(self, comm: Comm) -> Status:
        """Serve one scheduler, in its own thread; this one passes frames on."""
        loop = asyncio.get_running_loop()
        out = Outbox()

        def say(frame: bytes) -> None:
            if out.put(frame):
                loop.call_soon_threadsafe(out.ring)

        outpost = Outpost(say, lambda: out.size)
        self._outposts.add(outpost)
        outpost.start()
        try:
            await converse(comm, out, lambda frames: deque(map(outpost.hear, frames), 0))
            await comm.close()
        except OSError:
            pass
        finally:
            outpost.hang_up()
            self._outposts.discard(outpost)
        return Status.dont_reply


def machine_memory() -> int:
    """Bytes that this machine has."""
    return this_machine().memory_available_mb << 20


def make_worker(about: Mapping[str, Any]) -> Worker:
    """What a Dask worker offers: its threads as cores, its limit of memory, and the resources that it declares."""
    whole = {name: int(n) for name, n in (about.get("resources") or {}).items() if is_amount(n)}
    return Worker(
        str(about["name"]),
        about["nthreads"],
        int(about["memory_limit"]) >> 20,
        resources=whole or None,
    )
