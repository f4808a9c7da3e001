"""Who is told what happened: handles, subscribers, callbacks, and a command that the user named.

The loop hands events over when they are safe and goes on; one thread tells them, in order, each once. What a client
does then may take its time, or fail: it is logged, and the others are told all the same.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from weakref import WeakSet, WeakValueDictionary

from ..attempts import AttemptLog
from ..errors import ClosedError, TaskError
from ..events import AttemptCompleted, Event, TaskFailed
from ..model import Reason
from ..names import show_name
from .handles import Events, Handle
from .log import QUIET, log_event, logger

__all__ = ["OnEvent", "Teller"]

OnEvent = Callable[[Event], object]
NOTIFY_PATIENCE_S = 60.0  # for the last commands of `notify`, when a scheduler is closed
MOST_NAMED = 100  # tasks that a command of `notify` is told at a time


class Teller:
    """Tells events to whoever wants to be told; `put` from the loop, everything else from any thread.

    Args:
        index_of: where a task stands, by its id. attempts: what was made of it.
        make_handle: a new handle for a task. on_event: called with every event. notify: a command for the shell, run
            when a task has failed for good, and at the end.
    """

    def __init__(
        self,
        index_of: Callable[[str], int],
        attempts: AttemptLog,
        make_handle: Callable[[str], Handle],
        on_event: OnEvent | None = None,
        notify: str | None = None,
    ) -> None:
        self._index_of, self._attempts, self._make_handle = index_of, attempts, make_handle
        self._on_event = [on_event] if on_event else []
        self._notifier = Notifier(notify) if notify else None
        self._lock = threading.Lock()
        self._seen: WeakValueDictionary[str, Handle] = WeakValueDictionary()  # all that somebody holds
        self._handles: dict[str, Handle] = {}  # of tasks whose end has not been told
        self._over = bytearray()  # by task: whether its end has been told
        self._failures: dict[str, TaskFailed] = {}
        self._streams: WeakSet[Events] = WeakSet()  # one that nobody holds any more is not filled
        self._n_put = 0
        self._queue: queue.SimpleQueue[tuple[int, Sequence[Event]] | Callable[[], object] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.failure: BaseException | None = None  # by which the run has ended
        self._finished = False
        self._said = False  # that a callback raised

    def remember(self, events: Sequence[Event]) -> None:
        """Take these for told: they were, by an earlier scheduler."""
        for event in events:
            if isinstance(event, (AttemptCompleted, TaskFailed)):
                self._end(event)

    def start(self) -> None:
        """Begin to tell what is put."""
        self.thread = threading.Thread(target=self._serve, name="fastsched-teller", daemon=True)
        self.thread.start()

    def put(self, events: Sequence[Event]) -> None:
        """Have these told, after all that was put before."""
        self._n_put += 1
        self._queue.put((self._n_put, events))

    def call(self, what: Callable[[], object]) -> None:
        """Have something called when all that was put before has been told."""
        with self._lock:
            if not self._finished:
                self._queue.put(what)
                return
        what()

    def stop(self) -> None:
        """Tell what was put, and that it is over."""
        self._queue.put(None)
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()

    def tell(self, events: Sequence[Event], number: int = 0) -> None:
        """Tell these now; `number`: the how manieth they are of what was put."""
        is_logged = logger.isEnabledFor(logging.INFO)
        for event in events:
            if is_logged or not isinstance(event, QUIET):
                log_event(event)
            for listener in self._on_event:
                self._call_safely(listener, event)
            if isinstance(event, AttemptCompleted):
                self._end(event)
            elif isinstance(event, TaskFailed):
                if self._notifier:
                    self._notifier.failed(event)
                self._end(event)
        if len(self._streams):
            with self._lock:
                streams = list(self._streams)
            for stream in streams:
                if number > stream.since:
                    stream.put(events)

    def handle(self, task_id: str) -> Handle:
        """The handle of a task that was submitted."""
        with self._lock:
            handle = self._seen.get(task_id)
            if handle is None:
                self._seen[task_id] = handle = self._make_handle(task_id)
                task = self._index_of(task_id)
                if task >= len(self._over) or not self._over[task]:
                    if self._finished:
                        handle.set_exception(ended_early(task_id, self.failure))
                    else:
                        self._handles[task_id] = handle
                    return handle
                self._resolve(handle, self._failures.get(task_id))
        return handle

    def subscribe(self) -> Events:
        """Everything that is told from now on."""
        stream = Events(self._forget, self._n_put)
        with self._lock:
            if not self._finished:
                self._streams.add(stream)
                return stream
        stream.put((), last=True)
        return stream

    def _call_safely(self, listener: Callable[..., object], *given: object) -> None:
        """Call what a client has given; what it raises is logged. In a thread of our own nobody else would hear it."""
        try:
            listener(*given)
        except BaseException as error:
            if not isinstance(error, Exception) and threading.current_thread() is not self.thread:
                raise
            who, what = "on_event" if listener in self._on_event else "a callback", type(given[0]).__name__
            logger.exception("%s raised for %s; the run goes on", who, what)
            if not self._said:  # who keeps no log would never know
                self._said = True
                print(f"fastsched: {who} raised {error!r} for {what}; the run goes on", file=sys.stderr)

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, tuple):
                self.tell(item[1], item[0])
            else:
                item()
        self.finish()
        while not self._queue.empty():
            item = self._queue.get()
            if callable(item):
                item()

    def finish(self) -> None:
        """Nothing more will be told."""
        with self._lock:
            self._finished = True
            streams, self._streams = list(self._streams), WeakSet()
            handles, self._handles = self._handles, {}
        for stream in streams:
            stream.put((), last=True)
        for handle in handles.values():
            self._call_safely(handle.set_exception, ended_early(handle.task_id, self.failure))
        if self._notifier:
            self._notifier.close()

    def _end(self, event: AttemptCompleted | TaskFailed) -> None:
        """A task has ended: whoever waits for it is told."""
        task = self._index_of(event.task_id)
        with self._lock:
            if task >= len(self._over):
                self._over.extend(bytes(max(1024, task + 1 - len(self._over))))
            self._over[task] = 1
            if isinstance(event, TaskFailed):
                self._failures[event.task_id] = event
            handle = self._handles.pop(event.task_id, None)
        if handle is not None:
            self._call_safely(self._resolve, handle, event if isinstance(event, TaskFailed) else None)

    def _resolve(self, handle: Handle, failure: TaskFailed | None) -> None:
        attempt = self._attempts.last_of(self._index_of(handle.task_id))
        if failure is None:
            assert attempt is not None
            handle.complete(attempt)
        elif failure.reason is Reason.CANCELLED:
            handle.fail(None)
        else:
            message = failure.message or (attempt.message if attempt else "")
            handle.fail(TaskError(failure.task_id, failure.reason, message, failure.cause_id, attempt))

    def _forget(self, stream: Events) -> None:
        with self._lock:
            self._streams.discard(stream)


def ended_early(task_id: str, failure: BaseException | None) -> ClosedError:
    """What is said of a task whose end nobody will see."""
    why = f", by an error: {failure}" if failure else ""
    error = ClosedError(f"the scheduler was closed before {show_name(task_id)} had ended{why}")
    error.__cause__ = failure
    return error


class Notifier:
    """Runs the user's command, one at a time: for failures, and at the end. What fails meanwhile is told together."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._failures = 0
        self._fresh = threading.Condition()
        self._untold: list[TaskFailed] = []
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="fastsched-notify", daemon=True)
        self._thread.start()

    def failed(self, event: TaskFailed) -> None:
        """A task failed for good."""
        with self._fresh:
            self._failures += 1
            if event.reason is not Reason.DEPENDENCY:
                self._untold.append(event)
                self._fresh.notify()

    def close(self) -> None:
        """The scheduler is closed: say so, once what failed has been told."""
        with self._fresh:
            self._ended = True
            self._fresh.notify()
        self._thread.join(NOTIFY_PATIENCE_S)
        if self._thread.is_alive():
            logger.error("the command of notify takes longer than %g s: %s", NOTIFY_PATIENCE_S, self._command)

    def _serve(self) -> None:
        ended = False
        while not ended:
            with self._fresh:
                while not self._untold and not self._ended:
                    self._fresh.wait()
                untold, self._untold = self._untold, []
                ended = self._ended and not untold
            if untold:
                names = "\n".join(event.task_id for event in untold[:MOST_NAMED])
                first = untold[0]
                self._run(
                    "failed",
                    FASTSCHED_TASK_ID=first.task_id,
                    FASTSCHED_REASON=first.reason,
                    FASTSCHED_TASK_IDS=names,
                )
        self._run("ended")

    def _run(self, what: str, **names: str) -> None:
        environment = {**os.environ, "FASTSCHED_EVENT": what, "FASTSCHED_FAILURES": str(self._failures), **names}
        try:
            subprocess.run(["/bin/sh", "-c", self._command], env=environment, stdin=subprocess.DEVNULL)
        except (OSError, ValueError) as error:
            logger.error("the command of notify cannot be started: %s", error)
