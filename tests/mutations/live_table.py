"""Planted bugs of the runtime: see `table.py` for what an entry is."""

from __future__ import annotations

from .entry import Mutation

__all__ = ["LIVE_MUTATIONS"]

LIVE_MUTATIONS = (
    # the loop: what leaves, and when
    Mutation(
        "sent-before-written",
        "runtime/loop.py",
        "if self._unwritten and not self._write(now):",
        "if self._unwritten and self._write(now) is None:",
        "orders leave though what they follow from could not be written",
    ),
    Mutation(
        "told-before-synced",
        "runtime/loop.py",
        "self._unsynced[0][0] <= journal.n_synced",
        "self._unsynced[0][0] <= journal.n_written",
        "clients are told what a power cut takes back",
    ),
    Mutation(
        "facts-not-kept",
        "runtime/loop.py",
        "self._unwritten += encode_record(Turn(now, self._facts))",
        "self._unwritten += encode_record(Turn(now, self._facts[:1]))",
        "of the facts of a turn only the first is journaled",
    ),
    Mutation(
        "written-twice",
        "runtime/loop.py",
        "            return False\n        self._unwritten = []",
        "            return False",
        "what was written is written again in the next turn",
    ),
    Mutation(
        "choices-not-kept",
        "runtime/loop.py",
        "            self._facts.append(choice)\n            self._orders",
        "            self._orders",
        "attempts are started and the journal does not know",
    ),
    Mutation(
        "status-written-late",
        "runtime/loop.py",
        "self._facts[-1] = as_it_is(TasksSubmitted(tuple(self.state.tasks[first:]), now))",
        "self._facts[-1] = TasksSubmitted(tuple(self.state.tasks[first:]), now)",
        "a submission is journaled with the status that its tasks have come to meanwhile",
    ),
    Mutation(
        "stale-fact-kept",
        "runtime/loop.py",
        "        if events:  # else it was stale, or changed nothing",
        "        if True:  # else it was stale, or changed nothing",
        "stale reports are journaled, and the end of an attempt stands there twice",
    ),
    Mutation(
        "paused-and-yet-started",
        "runtime/loop.py",
        "        if not self.paused and not self.blocked:\n            for choice",
        "        if not self.blocked:\n            for choice",
        "a paused scheduler starts tasks",
    ),
    Mutation(
        "spins-when-blocked",
        "runtime/loop.py",
        "        if not self.paused and not self.blocked:  # else",
        "        if True:  # else",
        "a loop whose disk is full turns without a rest",
    ),
    # the loop: workers
    Mutation(
        "lease-judged-unread",
        "runtime/loop.py",
        "in self._liveness.overdue(before) if not reports else ():",
        "in self._liveness.overdue(now):",
        "after a pause workers are lost whose signs of life lie unread",
    ),
    Mutation(
        "stale-loss-believed",
        "runtime/loop.py",
        "if presence is None or report.incarnation not in (None, presence.incarnation):",
        "if presence is None:",
        "what is said of an earlier incarnation of a worker is taken for the present one",
    ),
    Mutation(
        "back-at-once",
        "runtime/loop.py",
        "2.0 ** (presence.fruitless - 2)",
        "0.0 ** (presence.fruitless - 2)",
        "a worker that is lost again and again comes back without a delay",
    ),
    Mutation(
        "never-forgiven",
        "runtime/loop.py",
        "                    presence.fruitless = 0",
        "                    presence.fruitless += 0",
        "a worker that completes tasks is still taken for one of which nothing comes",
    ),
    Mutation(
        "tried-for-ever",
        "runtime/loop.py",
        "presence.failed_starts += not was_up",
        "presence.failed_starts += False",
        "a worker that never comes up is tried without end, and what only it could hold waits",
    ),
    Mutation(
        "drained-and-still-there",
        "runtime/loop.py",
        '                self.engine.lose(event.worker_id, "it has left")',
        "                pass",
        "a drained worker keeps its process, and cannot come back",
    ),
    Mutation(
        "removal-charged",
        "runtime/loop.py",
        "        if presence.leaving:\n",
        "        if False:\n",
        "a worker that is removed counts as lost, and is brought up again",
    ),
    Mutation(
        "crash-charged",
        "runtime/loop.py",
        "self._absorb(WorkerLeft(worker_id, now, returns, INTERRUPTED), now)",
        'self._absorb(WorkerLost(worker_id, "", now, returns), now)',
        "the death of a scheduler is charged to the tasks that ran",
    ),
    Mutation(
        "left-behind",
        "runtime/loop.py",
        "returns = named is None or worker_id in named",
        "returns = True",
        "who takes a run up with other workers waits for the ones before",
    ),
    # the loop: clients
    Mutation(
        "stop-not-sent",
        "runtime/loop.py",
        "            if isinstance(event, CancelRequested):\n                task",
        "            if isinstance(event, TasksSubmitted):\n                task",
        "a running task is cancelled in the books alone",
    ),
    Mutation(
        "answers-mixed-up",
        "runtime/loop.py",
        "range(at, at := at + len(submission.tasks))",
        "range(at, at + len(submission.tasks))",
        "of submissions that came together all are given the handles of the first",
    ),
    Mutation(
        "one-for-all",
        "runtime/loop.py",
        "            except ValidationError:\n                pass  # each is judged by itself",
        "            except ValidationError as error:\n"
        "                for _, future in batch:\n"
        "                    future.set_exception(error)\n"
        "                return",
        "a wrong submission takes those with it that came in the same turn",
    ),
    Mutation(
        "failures-not-counted",
        "runtime/ledger.py",
        "self.n_fails += event.reason not in (Reason.DEPENDENCY, Reason.CANCELLED)",
        "self.n_fails += 0",
        "failures do not stop a run that was to stop at the first",
    ),
    Mutation(
        "replayed-without-starts",
        "runtime/ledger.py",
        "                events.insert(0, fact)  # a choice",
        "                pass  # a choice",
        "a replay does not know when attempts began",
    ),
    Mutation(
        "late-handle-waits",
        "runtime/teller.py",
        "            self._over[task] = 1",
        "            self._over[task] = 0",
        "a handle that is made after the end of its task waits for ever",
    ),
    Mutation(
        "late-reader-hears-old",
        "runtime/teller.py",
        "            if number > stream.since:",
        "            if True:",
        "who subscribes hears what was before",
    ),
    Mutation(
        "pieces-mixed-up",
        "runtime/record.py",
        "[MORE + piece for piece in pieces[:-1]] + [LAST + pieces[-1]]",
        "[LAST + piece for piece in pieces]",
        "a long record is read as several",
    ),
    # the state: cancelling
    Mutation(
        "cancelled-beside",
        "state.py",
        "        if self._core.state_of(task) != RUNNING:\n            return self._cancel",
        "        if True:\n            return self._cancel",
        "a running task that is cancelled gives its room away while its command still runs",
    ),
    Mutation(
        "cancelled-and-retried",
        "state.py",
        "if task in self._unwanted and self._is_open(task, fact.attempt, worker, incarnation):",
        "if False:",
        "a task whose cancelled command has ended is tried again",
    ),
    Mutation(
        "lost-and-retried",
        "state.py",
        "            if task in self._unwanted:\n                self",
        "            if False:\n                self",
        "a task that is cancelled while its worker is lost is tried again",
    ),
)
