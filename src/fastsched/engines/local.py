"""The local engine: one agent process for each worker on this machine, over a socket pair.

Nothing to install and nothing to start. Once a worker is reported lost, none of its commands runs any more; what it
said before still counts. This room holds the sockets and the agents' process ids, and turns orders and reports into
messages and back; what a report means is none of its business.

How the processes of a worker are held together is its *containment*:

- `namespace`: its agent is the first process of a PID namespace. When that ends, however it ends, the kernel kills all
  others in it, and the agent is gone only when they are.
- `session`: its agent adopts orphans. When it is killed, whatever carries its mark is sought and killed here.

In both, whoever dies takes the commands with him: an agent whose socket closes ends its own. Where agents and scheduler
are killed together, what they leave (only sessions can) is ended by the next `open` of the same run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..events import Order, Recall, Report, Start, WorkerHeard, WorkerLost
from ..model import Worker
from .base import Levels
from .hosts import Host, make_end, make_start, spawn_agent
from .levels import choose_levels, local_levels, memory_level
from .memory import divide, find_cgroup
from .processes import MOST_AGENTS, MOST_KEYS, Mark, sweep
from .system import HAS_FAST_LANE, mark_of
from .wire import pack

__all__ = ["OUTPUT_CAP_MB", "LocalEngine", "local_levels", "this_machine"]

OUTPUT_CAP_MB = 64
CLOSE_SLACK_S = 5.0  # after the grace, until an agent itself is killed
GIVE_UP_S = 5.0  # for processes that cannot be killed
GONE = "its agent ended unexpectedly"
SILENCE_TOLD_S = 10.0  # for so long after a silence of ours, agents that go are taken to go for it
LOOK_S = 0.005  # between two looks at what is being killed
READ = 1 << 14  # bytes at a time; for more than 128 KiB malloc asks the kernel, each time
POLLIN, POLLOUT = 1, 4  # of poll and of epoll


class LocalEngine:
    """See `engines.base.Engine`.

    Args:
        cwd, env: the folder and the variables of the commands; None: this process's own.
        containment: "namespace", "session", or "auto": namespaces where they can be had without a user namespace, in
            which ssh refuses configuration that belongs to root, and sudo and ping do not work.
        output_cap_mb: what is kept of the output of an attempt at most, of stdout and of stderr each.

    Raises:
        OSError: where commands cannot be run, or not in namespaces, if these are asked for. ValueError: another word.
    """

    holds = HAS_FAST_LANE
    offers = False

    def __init__(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        containment: str = "auto",
        output_cap_mb: int = OUTPUT_CAP_MB,
    ) -> None:
        if os.name != "posix":
            raise OSError("running commands needs a POSIX system; planning works everywhere")
        self.cwd = cwd
        self.output_cap = output_cap_mb << 20
        environment = dict(os.environ if env is None else env)
        if cwd is not None and "PWD" in environment:
            environment["PWD"] = os.path.abspath(cwd)  # as a shell would say it to its commands
        self.environment = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
        self.spaces, self._levels = choose_levels(containment)
        self.cgroups: str | None = None
        self.heartbeat_s, self.lease_s, self.run_id = 1.0, 10.0, uuid.uuid4().hex
        self.hosts: dict[str, Host] = {}
        self.dying: list[Host] = []  # killed, and not reported yet
        self.by_fd: dict[int, Host] = {}
        self.last_agent = 0  # its number
        self.n_files = 0  # the soft limit of descriptors that commands are given, where this process has raised its own
        self.pending: list[Report] = []
        self.returned: set[str] = set()  # tasks that were given back since orders were sent last
        self.next_sign = 0.0  # of life, for the agents
        self.lease_until = float("inf")  # what this process itself may run commands until, if others say that
        self.silence_s, self.silence_over = 0.0, -SILENCE_TOLD_S  # how long it was, and until when
        self.hurried = False
        self.poller = select.epoll() if hasattr(select, "epoll") else Poll()
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_read.setblocking(False)
        self.wake_write.setblocking(False)
        self.poller.register(self.wake_read.fileno(), POLLIN)

    def workers(self) -> list[Worker]:
        """See `Engine.workers`: this machine."""
        return [this_machine()]

    def open(self, run_id: str, heartbeat_s: float, lease_s: float, *, shares: bool = False) -> None:
        """See `Engine.open`. shares: somebody else may run something of the same run here, which is left alone."""
        self.run_id, self.heartbeat_s, self.lease_s = run_id, heartbeat_s, lease_s
        mark = Mark(run_id)
        until = time.monotonic() + GIVE_UP_S
        while not shares and not sweep(mark, whole_run=True):
            if time.monotonic() > until:
                raise OSError("what an earlier scheduler of this run has left running cannot be killed")
            time.sleep(LOOK_S)
        folder, why_not = find_cgroup()
        if not why_not:
            try:
                self.cgroups = divide(folder, mark.name)
            except OSError as error:
                why_not = f"its cgroup cannot be divided: {error}"
                memory, note = memory_level(why_not)
                self._levels = Levels(self._levels.containment, memory, (*self._levels.notes, note))

    def hold_until(self, until: float) -> None:
        """Agents end what they run at this time of the monotonic clock, though they be given signs of life then."""
        self.lease_until, self.next_sign = until, 0.0

    def levels(self) -> Levels:
        """See `Engine.levels`."""
        return self._levels

    def bring_up(self, worker: Worker, incarnation: int, number: int = 0) -> None:
        """Start an agent for the worker. number: what it is marked by, where others number agents too; 0: any."""
        try:
            host = self._make_host(worker.worker_id, incarnation, number)
        except OSError as error:
            if error.errno != errno.EMFILE or not self._allow_more_files():
                raise
            host = self._make_host(worker.worker_id, incarnation, number)
        fd = host.channel.fileno()
        self.hosts[worker.worker_id] = self.by_fd[fd] = host
        self.poller.register(fd, POLLIN)
        settings = {
            "worker_id": worker.worker_id,
            "heartbeat_s": self.heartbeat_s,
            "lease_s": self.lease_s,
            "lease_until": self.lease_until,
            "output_cap": self.output_cap,
            "environment": self.environment,
            "mark": host.mark.number,
            "mark_name": host.mark.name,
            "agent": host.mark.agent,
            "cgroups": self.cgroups and f"{self.cgroups}/{host.mark.agent}",
            "n_files": self.n_files,
        }
        host.queue.append(("settings", settings))
        self._flush(host)

    def send(self, orders: Sequence[Order]) -> None:
        """Pass each order to the agent of its worker."""
        touched = []
        for order in orders:
            host = self.hosts.get(order.worker_id)
            if host is None or host.loss or host.incarnation != order.incarnation:
                continue
            if not host.queue:
                touched.append(host)
            if isinstance(order, Start):
                self._queue_start(host, order)
            elif isinstance(order, Recall):
                host.queue.append(("recall",))
            else:
                key = host.keys.get(order.task_id, 0)
                if key and host.attempts[key].attempt == order.attempt:
                    host.queue.append(("stop", key, order.grace_s))
        self.returned.clear()
        for host in touched:
            self._flush(host)

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """See `Engine.wait_reports`."""
        now = time.monotonic()
        until = now + timeout_s
        woken = False
        while not self.pending and not woken:
            if now >= self.next_sign:
                self._give_sign(now)
            if self.dying:
                self._bury(now)
            wait_s = 0.0 if self.pending else max(0.0, min(until, self.next_sign) - now)
            for fd, events in self.poller.poll(min(wait_s, LOOK_S) if self.dying else wait_s):
                host = self.by_fd.get(fd)
                if host is None:
                    woken = True
                    with contextlib.suppress(BlockingIOError):
                        self.wake_read.recv(4096)
                    continue
                if events & POLLOUT:
                    self._flush(host)
                if events & ~POLLOUT:
                    self._read(host)
            now = time.monotonic()
            if now >= until:
                break
        reports, self.pending = self.pending, []
        return reports

    def lose(self, worker_id: str, message: str) -> None:
        """Kill the agent, and with it its commands; the loss is reported when they have ended."""
        host = self.hosts.get(worker_id)
        if host is None or host.loss:
            return
        host.loss = message
        with contextlib.suppress(OSError):
            while data := host.channel.recv(READ):
                self._take(host, data)
        self._part_from(host)

    def wake(self) -> None:
        """See `Engine.wake`."""
        with contextlib.suppress(OSError):
            self.wake_write.send(b"\0")

    def hurry(self) -> None:
        """See `Engine.hurry`."""
        self.hurried = True
        self.wake()

    def close(self, grace_s: float) -> list[Report]:
        """See `Engine.close`. Whatever goes wrong in asking, no agent and no command is left when it is over."""
        hosts = [host for host in self.hosts.values() if not host.loss]
        gone: list[Host] = []
        try:
            self._ask_to_leave(hosts, grace_s)
            deadline = time.monotonic() + grace_s + CLOSE_SLACK_S
            gone += [host for host in hosts if self._drain_until_gone(host, deadline)]
        finally:
            left = [host for host in hosts if host not in gone] + self.dying
            for host in left:
                host.kill()
            until = time.monotonic() + GIVE_UP_S
            while left and time.monotonic() < until:
                left = [host for host in left if not host.is_buried()]
                time.sleep(LOOK_S if left else 0)
            for host in [*hosts, *self.dying]:
                host.close()
            self.hosts, self.dying, self.by_fd = {}, [], {}
            self.poller.close()
            self.wake_read.close()
            self.wake_write.close()
            if self.cgroups is not None:
                with contextlib.suppress(OSError):
                    os.rmdir(self.cgroups)
        reports, self.pending = self.pending, []
        return reports

    # ------------------------------------------------------------ agents

    def _make_host(self, worker_id: str, incarnation: int, number: int) -> Host:
        """An agent that has been started, and has been told nothing."""
        mark = Mark(self.run_id, number or self._next_agent(), mark_of(os.getpid()) or 1 << 64)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = spawn_agent(mark, theirs.fileno(), worker_id, self.cwd, self.spaces)
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        return Host(worker_id, incarnation, mark, ours, process, self.spaces)

    def _next_agent(self) -> int:
        """A number that no agent has which may have left something."""
        taken = {host.mark.agent for host in [*self.hosts.values(), *self.dying]}
        if len(taken) >= MOST_AGENTS:
            raise OSError(f"there are {MOST_AGENTS:,} agents, and no marks for more")
        while True:
            self.last_agent = self.last_agent % MOST_AGENTS + 1
            if self.last_agent not in taken:
                return self.last_agent

    def _allow_more_files(self) -> bool:
        """Raise the soft limit of descriptors of this process; commands keep the one that it was given."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == hard:
            return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.n_files = soft
        return True

    def _part_from(self, host: Host) -> None:
        """Kill an agent whose worker is lost."""
        self.poller.unregister(host.channel.fileno())
        del self.by_fd[host.channel.fileno()]
        host.channel.close()
        host.kill()
        host.give_up_at = time.monotonic() + GIVE_UP_S
        self.dying.append(host)

    def _bury(self, now: float) -> None:
        """Report the workers of which nothing runs any more."""
        for host in list(self.dying):
            buried = host.is_buried()
            if buried or now > host.give_up_at:
                self.dying.remove(host)
                host.close()
                message = host.loss + (host.how_it_ended() if host.loss == GONE and not host.pid else "")
                if not buried:
                    message += "; not all of its processes can be killed"
                self.pending.append(WorkerLost(host.worker_id, message, incarnation=host.incarnation))
                if self.hosts.get(host.worker_id) is host:
                    del self.hosts[host.worker_id]

    def _give_sign(self, now: float) -> None:
        """Tell every agent that its scheduler is there."""
        self._note_silence(now)
        self.next_sign = now + self.heartbeat_s
        for host in self.by_fd.values():
            if not host.outbox:
                host.queue.append(("beat", self.lease_until))
                self._flush(host)

    def _ask_to_leave(self, hosts: list[Host], grace_s: float) -> None:
        """Tell agents to end what they run, and to go."""
        for host in hosts:
            if host.channel.fileno() >= 0:
                host.queue.append(("leave", grace_s))
                with contextlib.suppress(OSError):
                    host.channel.settimeout(1.0)
                    host.channel.sendall(host.outbox + pack(host.queue))
                host.outbox, host.queue = b"", []

    def _drain_until_gone(self, host: Host, deadline: float) -> bool:
        """Read an agent's last words, so that it can say them, until it has gone or the deadline has come.

        Answers whether it went by itself, having ended all that it had started.
        """
        poller = select.poll()
        poller.register(host.channel.fileno(), POLLIN)
        poller.register(self.wake_read.fileno(), POLLIN)
        is_open = True
        while is_open and (wait_s := deadline - time.monotonic()) > 0:
            ready = {fd for fd, _ in poller.poll(min(wait_s, 1e6) * 1000)}
            if self.wake_read.fileno() in ready:
                self.wake_read.recv(4096)
                if self.hurried:
                    self.hurried = False
                    self._ask_to_leave(list(self.by_fd.values()), 0.0)
            if host.channel.fileno() in ready:
                data = b""
                with contextlib.suppress(OSError):
                    data = host.channel.recv(READ)
                self._take(host, data)
                is_open = bool(data)
        while not host.has_ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        host.pid = 0
        return host.status == 0

    # ------------------------------------------------------------ messages

    def _queue_start(self, host: Host, order: Start) -> None:
        key = host.new_key(order)
        if not key:
            text = f"{MOST_KEYS:,} attempts run there already"
            self.pending.append(make_end(order, None, None, "SPAWN", text))
            return
        # What has no key has ended, or was given back: that may be known by now, and this order have been waiting.
        after = host.keys.get(order.after, 0) if order.after else 0
        start = make_start(key, after, order, with_cgroup=self.cgroups is not None)
        if (after and not isinstance(start, bytes)) or (not after and order.after in self.returned):
            self._give_back(host, key)
        else:
            host.queue.append(start)

    def _give_back(self, host: Host, key: int) -> None:
        """Report that an attempt which was to be held is not going to be started."""
        self.returned.add(host.attempts[key].task_id)
        self.pending.append(host.give_back(key))

    def _flush(self, host: Host) -> None:
        """Send what fits; the poller says when to go on."""
        waited = bool(host.outbox)
        if host.queue:
            host.outbox += pack(host.queue)
            host.queue = []
        if not host.outbox:
            return
        try:
            host.outbox = host.outbox[host.channel.send(host.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            return  # so will the reading
        if waited or host.outbox:
            self.poller.modify(host.channel.fileno(), POLLIN | (POLLOUT if host.outbox else 0))

    def _read(self, host: Host) -> None:
        try:
            data = host.channel.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(host, data)
        elif not host.loss:
            host.loss = self._why_gone()
            self._part_from(host)

    def _why_gone(self) -> str:
        """Why an agent may have ended that was not told to: it does when it has not heard of us for a lease."""
        self._note_silence(time.monotonic())
        if time.monotonic() - self.silence_over > SILENCE_TOLD_S:
            return GONE
        said = f"this scheduler gave no sign of life for {self.silence_s:.0f} s"
        return f"{said} (was it stopped?), and the lease is {self.lease_s:g} s"

    def _note_silence(self, now: float) -> None:
        """Remember when we have been silent for a lease: this process was stopped, or the machine slept."""
        silence_s = now - self.next_sign + self.heartbeat_s
        if self.next_sign and silence_s > self.lease_s:
            self.silence_s, self.silence_over = silence_s, now

    def _take(self, host: Host, data: bytes) -> None:
        """What an agent says, as reports."""
        for message in host.inbox.take(data):
            if message[0] == "ended":
                self.pending.append(host.end(*message[1:]))
            elif message[0] == "returned":
                self._give_back(host, message[1])
            else:
                self.pending.append(WorkerHeard(host.worker_id, message[0] == "up", host.incarnation))


class Poll:
    """What `select.epoll` does, where there is none."""

    def __init__(self) -> None:
        poller = select.poll()
        self.register, self.unregister, self.modify = poller.register, poller.unregister, poller.modify
        self._poll = poller.poll

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """What is ready after at most so long."""
        return self._poll(min(timeout_s, 1e6) * 1000)

    def close(self) -> None:
        """There is nothing to close."""


def this_machine() -> Worker:
    """This machine as one worker: the cores this process may use, and the memory it can have, in MB of 2**20 bytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        cores = min(cores, max(1, quota // period))
    return Worker(socket.gethostname() or "localhost", cores, memory >> 20)
