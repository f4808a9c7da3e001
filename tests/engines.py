"""Engines that carry nothing: for the loop alone."""

from __future__ import annotations

import contextlib
import select
import socket

from fastsched import Reason
from fastsched.engines.base import Levels
from fastsched.events import AttemptEnded, Stop, WorkerHeard, WorkerLost


class InstantEngine:
    """Every command ends when it is sent, with exit code 0; those of the tasks in `held` when `let_go` is called."""

    holds = False
    offers = False

    def __init__(self, held=()):
        self.held = set(held)
        self.sent = []
        self._open = {}
        self._reports = []
        self._wake_read = self._wake_write = None

    def open(self, run_id, heartbeat_s, lease_s):
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)

    def levels(self):
        return Levels("none", "none")

    def bring_up(self, worker, incarnation):
        self._reports.append(WorkerHeard(worker.worker_id, True, incarnation))
        self._open[worker.worker_id] = incarnation

    def send(self, orders):
        for order in orders:
            names = (order.task_id, order.worker_id, order.attempt)
            if isinstance(order, Stop):
                self._reports.append(AttemptEnded(*names, Reason.SIGNAL, signal=15, incarnation=order.incarnation))
                continue
            self.sent.append(names)
            if order.task_id not in self.held:
                self._reports.append(AttemptEnded(*names, None, 0, incarnation=order.incarnation))

    def let_go(self, *reports):
        """Report these; from any thread."""
        self._reports += reports
        self.wake()

    def wait_reports(self, timeout_s):
        if not self._reports and select.select([self._wake_read], [], [], min(timeout_s, 0.2))[0]:
            self._wake_read.recv(4096)
        reports, self._reports = self._reports, []
        return reports or [WorkerHeard(worker_id) for worker_id in self._open]

    def lose(self, worker_id, message):
        if worker_id in self._open:
            self._reports.append(WorkerLost(worker_id, message, incarnation=self._open.pop(worker_id)))

    def wake(self):
        with contextlib.suppress(OSError, AttributeError):
            self._wake_write.send(b"\0")

    def close(self, grace_s):
        self._wake_read.close()
        self._wake_write.close()

    def hurry(self):
        pass
