"""What a client holds: a handle for each task that it submitted, and streams of events.

Both are told by one thread, the teller's, so that what a client does when it is told cannot hold up a run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, overload

from ..errors import TaskError
from ..events import Event
from ..model import TaskStatus
from ..plan import Attempt

if TYPE_CHECKING:
    import asyncio  # which takes as long to load as a fifth of all else, and not every program has a use for it

__all__ = ["Events", "Handle", "Handles"]


class Handle(Future[Attempt]):
    """A task that was submitted: a future of its last attempt.

    `result()` is the `Attempt` that completed it. Of a task that failed for good it raises `TaskError`, of one that was
    cancelled `concurrent.futures.CancelledError`. It works with `concurrent.futures.wait` and `as_completed`, with
    `asyncio.wrap_future`, and can be awaited.
    """

    def __init__(self, task_id: str, cancel: Callable[[str], bool], status: Callable[[str], TaskStatus]) -> None:
        super().__init__()
        self.task_id = task_id
        self._ask_to_cancel, self._ask_status = cancel, status

    def __repr__(self) -> str:
        return f"<Handle of {self.task_id!r}: {'ended' if self.done() else 'not ended'}>"

    def cancel(self) -> bool:
        """Ask for the task to be cancelled: False where it had ended. It is `done()` when its command has ended."""
        return not self.done() and self._ask_to_cancel(self.task_id)

    def running(self) -> bool:
        """Whether its command runs."""
        return not self.done() and self._ask_status(self.task_id) is TaskStatus.RUNNING

    def __await__(self) -> Generator[Any, None, Attempt]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def complete(self, attempt: Attempt) -> None:
        """The task completed. Called by the teller alone."""
        self.set_result(attempt)

    def fail(self, error: TaskError | None) -> None:
        """The task failed; None: it was cancelled. Called by the teller alone."""
        if error is None:
            super().cancel()
            self.set_running_or_notify_cancel()
        else:
            self.set_exception(error)


class Handles(Sequence[Handle]):
    """The handles of tasks that were submitted together, in their order; each is made when it is looked at."""

    def __init__(self, task_ids: Sequence[str], make: Callable[[str], Handle]) -> None:
        self._task_ids, self._make = task_ids, make

    def __len__(self) -> int:
        return len(self._task_ids)

    @overload
    def __getitem__(self, i: int) -> Handle: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Handle]: ...
    def __getitem__(self, i: int | slice) -> Handle | Sequence[Handle]:
        if isinstance(i, slice):
            return Handles(self._task_ids[i], self._make)
        return self._make(self._task_ids[i])

    def __iter__(self) -> Iterator[Handle]:
        return map(self._make, self._task_ids)

    def __repr__(self) -> str:
        return f"<Handles of {len(self):,} tasks>"


class Events(Iterator[Event], AsyncIterator[Event]):
    """Everything that happens from now on, each event once and in order, until the scheduler is closed.

    To be gone through by `for` or by `async for`, by one reader; what has not been read yet is kept.
    """

    def __init__(self, forget: Callable[[Events], object], since: int) -> None:
        self._forget = forget
        self.since = since  # what was put before that many was before it
        self._unread: deque[Event] = deque()
        self._fresh = threading.Condition()
        self._ended = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __next__(self) -> Event:
        with self._fresh:
            while not self._unread and not self._ended:
                self._fresh.wait()
            if not self._unread:
                raise StopIteration
            return self._unread.popleft()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        import asyncio

        while True:
            with self._fresh:
                if self._unread:
                    return self._unread.popleft()
                if self._ended:
                    raise StopAsyncIteration
                woken = asyncio.Event()
                self._waiter = (asyncio.get_running_loop(), woken)
            await woken.wait()

    def close(self) -> None:
        """Read no more: what has not been read is dropped."""
        self._forget(self)
        self.put((), last=True)
        self._unread.clear()

    def put(self, events: Sequence[Event], last: bool = False) -> None:
        """Hand events on. Called by the teller alone."""
        with self._fresh:
            self._unread.extend(events)
            self._ended = self._ended or last
            self._fresh.notify_all()
            waiter, self._waiter = self._waiter, None
        if waiter:
            loop, woken = waiter
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:  # its loop is closed, and nobody reads any more
                self._forget(self)
