"""The attempts that an agent has: started, watched, ended with all that they have left behind, and reported.

It is told the time and woken when children have ended; it waits for nothing, so that what it keeps takes turns with
heartbeats. An attempt is over when its leader is reaped and no process of it is left; only then is its end told.

What is over the limit of memory is killed by the kernel where the attempt has a cgroup, else by this watchdog. What has
no limit is looked at as well, so many attempts at a time, for the peak that is reported. What ends within a tick was
never looked at, and its peak is that of its largest process; for the kernel that has never taken less than the one that
it was made by: this agent, some 10 MB.
"""

from __future__ import annotations

import heapq
import os
import time

from .capture import Output, last_lines, outlet_prefix
from .commands import SHELL_SYNTAX, SHELL_WORDS, Launcher, why_not
from .memory import TICK_S, Cgroup, kernel_kills, own_peak_kib, resident_kib, shared_out_kib
from .processes import Orphans, descendants, end_all
from .system import SIGCONT, SIGKILL, SIGTERM, FastLane, adopt_orphans, reap, signal_exactly
from .wire import NEVER, UNLIMITED

TYPE_CHECKING = False  # `typing` and `collections.abc` take longer to load than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .processes import Found
    from .wire import Message, Order

__all__ = ["FOREVER", "Custody"]

KILL_AGAIN_S = 0.1
CLEAR_AGAIN_S = 0.005
GIVE_UP_S = 5.0  # on what cannot be killed: it is of another user, or waits for a disk that does not answer
PATIENCE_S = 0.02  # at most this long at a time, so that heartbeats are kept
SAMPLES = 64  # attempts without a limit whose memory is looked at in a tick
FEW_TIMERS = 1000
FOREVER = float("inf")


class Attempt:
    """One command that runs, or whose last processes are being ended. What most attempts have stands in the class."""

    reason, text = "", ""  # why it is ended by us
    kill_at = FOREVER  # then what is left of it is killed
    ended = FOREVER  # when its leader was reaped
    status, cpu_seconds = 0, 0.0  # of its leader
    peak_kib = 0  # what was seen of it
    limit_kib = 0  # what a watchdog holds it to; 0: nothing
    outputs: list[Output] | None = None  # once it is old enough for them to have grown
    cgroup: Cgroup | None = None

    def __init__(self, key: int, pid: int, began: float, stdout: str | None, stderr: str | None) -> None:
        self.key = key
        self.pid = pid  # of its leader; 0 once that is reaped
        self.began = began
        self.stdout, self.stderr = stdout, stderr


class Custody:
    """Of one agent. What is to be told is added to `sayings`; `next_due` is when `attend` is to be called.

    Young attempts may be in the `lane`, and are taken over from there as soon as there is something about them.
    """

    def __init__(self, settings: dict[str, Any], sayings: list[Message | bytes], channel: int, signals: int) -> None:
        self.sayings = sayings
        self.cap: int = settings["output_cap"]
        self.cgroups: str | None = settings["cgroups"]
        self.mark: int = settings["mark"]
        self.launcher = Launcher(
            settings["environment"],
            settings["worker_id"],
            settings["mark_name"],
            str(settings["agent"]),
            settings["n_files"],
        )
        self.attempts: dict[int, Attempt] = {}  # by key
        self.running: dict[int, Attempt] = {}  # those whose leader is not reaped, by its process id
        self.leaving: list[Attempt] = []  # the others
        self.closed = False  # nothing more is started
        self.muted = False  # nothing more is told
        self.timers: list[tuple[float, int, Callable[[Attempt, float], None], Attempt]] = []
        self.n_timers = 0
        self.next_tick = self.next_due = FOREVER
        self.sampled = 0  # where the sampling goes on
        self.kernel_kills = kernel_kills()
        adopt_orphans()
        self.orphans = Orphans(self.mark, settings["mark_name"])
        self.lane = FastLane(
            channel,
            signals,
            self.orphans.fd,
            self.running,
            self.orphans.keys,
            find=self.launcher.find,
            name_variables=self.launcher.variables_of,
            shell_words=frozenset(word.encode() for word in SHELL_WORDS),
            shell_syntax="".join(SHELL_SYNTAX),
            mark_prefix=self.launcher.mark,
            mark=self.mark,
            n_files=settings["n_files"],
            cap=self.cap,
            outlet_prefix=outlet_prefix(settings["agent"]),
        )

    # ------------------------------------------------------------ the life of an attempt

    def start(self, order: Order) -> None:
        """Start a command, or say why that cannot be done."""
        if self.closed:
            return
        _, key, _, _, _, _, _, stdout, stderr, _, _, _, timeout_s, grace_s, limit_mb = order
        cgroup, procs = None, -1
        try:
            if limit_mb is not None and self.cgroups is not None:
                cgroup = Cgroup(f"{self.cgroups}-{key}", limit_mb)
                procs = cgroup.procs
            pid = self.launcher.launch(order, self.mark and self.mark + key, procs)
        except (OSError, ValueError) as error:
            if cgroup is not None:
                cgroup.remove()
            self.lane.note_end(key)
            self.sayings.append(("ended", key, None, 0.0, 0.0, "SPAWN", why_not(order, error), 0, 0))
            return
        if cgroup is not None:
            cgroup.shut()
        now = time.monotonic()
        self.running[pid] = self.attempts[key] = attempt = Attempt(key, pid, now, stdout, stderr)
        attempt.cgroup = cgroup
        self.watch(attempt, timeout_s, grace_s, limit_mb if cgroup is None else None)

    def take_over(self, age: float) -> None:
        """Look after the attempts in the lane that are as old, in seconds, from here on."""
        for key, pid, began, stdout, stderr, timeout_s, grace_s, limit_mb in self.lane.adopt(age):
            self.running[pid] = self.attempts[key] = attempt = Attempt(key, pid, began, stdout, stderr)
            timeout = None if timeout_s == NEVER else timeout_s
            self.watch(attempt, timeout, grace_s, None if limit_mb == UNLIMITED else limit_mb)

    def watch(self, attempt: Attempt, timeout_s: float | None, grace_s: float, limit_mb: int | None) -> None:
        """Hold an attempt to its limits from here on."""
        if limit_mb is not None:
            attempt.limit_kib = limit_mb << 10
        if timeout_s is not None:
            self.at(attempt.began + timeout_s, lambda attempt, _: self.ask(attempt, "TIMEOUT", grace_s), attempt)
        if self.next_tick == FOREVER:
            self.next_tick = time.monotonic() + TICK_S
            self.next_due = min(self.next_due, self.next_tick)

    def stop(self, key: int, grace_s: float) -> None:
        """End an attempt, if it is still there; one that is held is given back."""
        if self.lane.give_back(key):
            return
        self.take_over(0.0)
        if key in self.attempts:
            self.ask(self.attempts[key], "CANCELLED", grace_s)

    def leave(self, grace_s: float) -> None:
        """Start nothing more, and end every attempt. Told again, the shorter grace counts."""
        if not self.muted:
            self.lane.recall()
        self.closed = self.lane.closed = True
        self.take_over(0.0)
        for attempt in list(self.attempts.values()):
            self.ask(attempt, "CANCELLED", grace_s)

    def ask(self, attempt: Attempt, reason: str, grace_s: float) -> None:
        """Ask all processes of an attempt to end, and see to it that they have after the grace."""
        if not attempt.pid:
            return  # it is ending
        now = time.monotonic()
        if not attempt.reason:
            attempt.reason = reason
        if attempt.kill_at == FOREVER and grace_s > 0:
            signal_group(attempt.pid, SIGTERM)
            for pid, start in self.members(attempt):
                if group_of(pid) != attempt.pid:
                    signal_exactly(pid, start, SIGTERM)
                    signal_exactly(pid, start, SIGCONT)
            signal_group(attempt.pid, SIGCONT)  # what is stopped cannot hear that it should end
        if now + grace_s < attempt.kill_at:
            attempt.kill_at = now + grace_s
            self.at(attempt.kill_at, self.kill, attempt)

    def kill(self, attempt: Attempt, now: float) -> None:
        """Kill all processes of an attempt, again and again until they have ended."""
        if not attempt.pid:
            return
        if attempt.cgroup is not None:
            attempt.cgroup.kill()
        end_all(lambda: self.members(attempt), PATIENCE_S)
        signal_group(attempt.pid, SIGKILL)
        self.at(now + KILL_AGAIN_S, self.kill, attempt)

    def members(self, attempt: Attempt) -> Found:
        """All processes of an attempt that live."""
        self.look()
        leader = [attempt.pid] if attempt.pid else []
        return descendants(leader + self.orphans_of(attempt))

    def look(self) -> None:
        """Find the orphans that are new. What is in the lane is none of them, and is taken over for that."""
        self.take_over(0.0)
        self.orphans.look(self.running)

    def orphans_of(self, attempt: Attempt) -> list[int]:
        """What it has left behind; when nothing else runs, also what has wiped both of its marks."""
        return self.orphans.of(attempt.key) + (self.orphans.of(None) if not self.running else [])

    def take_ended(self, ended: list[tuple[int, int, float, int]]) -> None:
        """Take commands that have ended, as `reap` tells of them."""
        self.take_over(0.0)
        for pid, status, cpu_seconds, peak_kib in ended:
            attempt = self.running.pop(pid, None)
            if attempt is None:
                self.orphans.keys.pop(pid, None)
                continue
            attempt.pid, attempt.ended = 0, time.monotonic()
            attempt.status, attempt.cpu_seconds = status, cpu_seconds
            # A process has never taken less than the one that it was made by, which is this one.
            if not attempt.peak_kib or (peak_kib > attempt.peak_kib and peak_kib > own_peak_kib()):
                attempt.peak_kib = peak_kib
            self.leaving.append(attempt)
        if self.leaving:
            self.look()
            self.leaving = [attempt for attempt in self.leaving if not self.clear(attempt)]

    def clear(self, attempt: Attempt) -> bool:
        """End what an attempt has left behind; whether nothing was, so that its end is reported."""
        late = time.monotonic() > attempt.ended + GIVE_UP_S
        is_clear = not self.orphans.keys
        if not is_clear:
            is_clear = end_all(lambda: self.members(attempt), PATIENCE_S) and not self.orphans_of(attempt)
        if is_clear and attempt.cgroup is not None:
            is_clear = self.leave_cgroup(attempt.cgroup, attempt)
        if not is_clear and not late:
            self.at(time.monotonic() + CLEAR_AGAIN_S, self.clear_again, attempt)
            return False
        self.report(attempt)
        return True

    def clear_again(self, attempt: Attempt, now: float) -> None:
        """See whether it is gone by now."""
        if attempt in self.leaving:
            self.look()
            if self.clear(attempt):
                self.leaving.remove(attempt)

    def leave_cgroup(self, cgroup: Cgroup, attempt: Attempt) -> bool:
        """Note what the kernel has counted, and take the cgroup of an attempt away; False: it is not empty."""
        attempt.peak_kib = max(attempt.peak_kib, cgroup.peak_kib())
        if cgroup.was_full() and attempt.status and not attempt.reason:
            attempt.reason = "OUT_OF_MEMORY"
            attempt.text = f"it took all of the {cgroup.limit_mb} MB that it had"
        cgroup.kill()
        return cgroup.remove()

    def report(self, attempt: Attempt) -> None:
        """The attempt is over."""
        del self.attempts[attempt.key]
        self.lane.note_end(attempt.key)
        written: dict[str | None, int] = {}
        if attempt.stdout or attempt.stderr:
            written = {output.path: output.finish() for output in attempt.outputs or self.outputs_of(attempt)}
        if self.muted:
            return
        text = attempt.text
        if attempt.status or attempt.reason:
            if attempt.status == SIGKILL and not attempt.reason and kernel_kills() != self.kernel_kills:
                self.kernel_kills = kernel_kills()
                text = "the kernel has killed something meanwhile, for want of memory"
            said = last_lines(attempt.stderr) or last_lines(attempt.stdout)
            text = f"{text}\n{said}" if text and said else text or said
        peak_mb = attempt.peak_kib / 1024
        end = attempt.status, attempt.cpu_seconds, peak_mb, attempt.reason, text
        sizes = written.get(attempt.stdout, 0), written.get(attempt.stderr, 0)
        self.sayings.append(("ended", attempt.key, *end, *sizes))

    def end_the_rest(self) -> bool:
        """Kill what is left of children; whether nothing is. In a namespace, the end of the agent is theirs anyway."""
        until = time.monotonic() + GIVE_UP_S
        while time.monotonic() < until:
            self.look()
            if end_all(lambda: descendants(self.orphans.keys), PATIENCE_S) and not self.orphans.keys:
                return True
            for pid, *_ in reap(()):
                self.orphans.keys.pop(pid, None)
            time.sleep(0.002)
        return False

    # ------------------------------------------------------------ time

    def attend(self, now: float) -> None:
        """Do what is due."""
        if now >= self.next_tick:
            self.tick(now)
        while self.timers and self.timers[0][0] <= now:
            _, _, act, attempt = heapq.heappop(self.timers)
            if self.attempts.get(attempt.key) is attempt:
                act(attempt, now)
        self.next_due = min(self.next_tick, self.timers[0][0] if self.timers else FOREVER)

    def at(self, when: float, act: Callable[[Attempt, float], None], attempt: Attempt) -> None:
        """Have something done to an attempt at a time, if it is still there."""
        if len(self.timers) > FEW_TIMERS + 4 * len(self.attempts):  # most are of attempts that have ended in time
            self.timers = [timer for timer in self.timers if self.attempts.get(timer[3].key) is timer[3]]
            heapq.heapify(self.timers)
        self.n_timers += 1
        heapq.heappush(self.timers, (when, self.n_timers, act, attempt))
        self.next_due = min(self.next_due, when)

    def tick(self, now: float) -> None:
        """Look at what attempts take: those with a limit every time, else so many at a time that run for a while."""
        old = [attempt for attempt in self.running.values() if now - attempt.began >= TICK_S]
        for attempt in old:
            if attempt.outputs is None:
                attempt.outputs = self.outputs_of(attempt)
            for output in attempt.outputs:
                output.trim()
        limited = [attempt for attempt in self.running.values() if attempt.limit_kib]
        free = [attempt for attempt in old if not attempt.limit_kib]
        first = self.sampled % len(free) if len(free) > SAMPLES else 0
        self.sampled = first + SAMPLES
        for attempt in [*limited, *free[first : first + SAMPLES]]:
            self.look_at_memory(attempt)
        self.next_tick = time.monotonic() + TICK_S if self.attempts else FOREVER

    def outputs_of(self, attempt: Attempt) -> list[Output]:
        """The files that it writes."""
        return [Output(path, self.cap) for path in (attempt.stdout, attempt.stderr) if path is not None]

    def look_at_memory(self, attempt: Attempt) -> None:
        """Note what an attempt takes, and kill it where that is too much."""
        pids = [pid for pid, _ in self.members(attempt)]
        taken = resident_kib(pids)
        if attempt.limit_kib and taken > attempt.limit_kib:
            taken = shared_out_kib(pids)
        attempt.peak_kib = max(attempt.peak_kib, taken)
        if attempt.limit_kib and taken > attempt.limit_kib and attempt.reason != "OUT_OF_MEMORY":
            attempt.reason = "OUT_OF_MEMORY"
            attempt.text = f"it took {taken / 1024:.0f} MB and had {attempt.limit_kib >> 10} MB"
            self.kill(attempt, time.monotonic())


def signal_group(group: int, number: int) -> None:
    """Send a signal to the process group of a command that is not reaped."""
    try:
        os.killpg(group, number)
    except OSError:
        pass  # nobody in it may be signalled


def group_of(pid: int) -> int:
    """The process group of a process, or -1."""
    try:
        return os.getpgid(pid)
    except OSError:
        return -1
