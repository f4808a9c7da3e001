"""A line in the log `fastsched` for everything that happens in a run."""

from __future__ import annotations

import logging

from ..events import (
    AttemptCompleted,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    DeadlineSet,
    Event,
    PlanFollowed,
    Replanned,
    RoomReserved,
    TaskCancelled,
    TaskFailed,
    TaskOvertaken,
    TasksSubmitted,
    TaskUnsatisfiable,
    WorkerDraining,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerOnProbation,
    WorkerQuarantined,
    WorkerResized,
    WorkerSuspected,
    WorkerTrusted,
)
from ..model import Reason
from ..names import show_name

__all__ = ["QUIET", "log_event", "logger"]

QUIET = (AttemptStarted, AttemptCompleted)  # which happen most, and are told to whoever wants to know all

WORDS: dict[type, str] = {
    CancelRequested: "to be cancelled",
    DeadlineSet: "there is a deadline, or none any more",
    PlanFollowed: "a plan is followed",
    RoomReserved: "room is kept",
    TaskCancelled: "cancelled",
    TaskOvertaken: "overtaken for the first time",
    WorkerDraining: "worker takes nothing more, and leaves when it is empty",
    WorkerExpected: "worker is told to come up",
    WorkerJoined: "worker is there",
    WorkerLeft: "worker has left",
    WorkerOnProbation: "worker is on probation",
    WorkerResized: "worker has another capacity",
    WorkerSuspected: "worker is as good as lost, and is given nothing more",
    WorkerTrusted: "worker is trusted again",
}
logger = logging.getLogger("fastsched")
logger.addHandler(logging.NullHandler())


def log_event(event: Event) -> None:
    """One line in the log `fastsched` for every event."""
    if isinstance(event, AttemptStarted):
        logger.debug("start %s on %s (attempt %d)", show_name(event.task_id), show_name(event.worker_id), event.attempt)
    elif isinstance(event, AttemptCompleted):
        logger.info(
            "completed %s on %s (attempt %d)", show_name(event.task_id), show_name(event.worker_id), event.attempt
        )
    elif isinstance(event, AttemptFailed):
        onward = "it will be retried" if event.will_retry else "no retry is left"
        logger.warning(
            "attempt %d of %s failed on %s: %s %s; %s",
            event.attempt,
            show_name(event.task_id),
            show_name(event.worker_id),
            event.reason,
            event.message.partition("\n")[0],  # behind it are the command's last lines
            onward,
        )
    elif isinstance(event, TaskFailed):
        cause = f" (because of {show_name(event.cause_id)})" if event.cause_id else ""
        logger.log(
            logging.INFO if event.reason in (Reason.DEPENDENCY, Reason.CANCELLED) else logging.ERROR,
            "failed %s: %s%s%s",
            show_name(event.task_id),
            event.reason,
            cause,
            f": {event.message}" if event.message else "",
        )
    elif isinstance(event, WorkerLost):
        logger.warning("worker %s is lost: %s", show_name(event.worker_id), event.message)
    elif isinstance(event, WorkerQuarantined):
        logger.warning("worker %s fails what succeeds elsewhere; it is put in quarantine", show_name(event.worker_id))
    elif isinstance(event, TaskUnsatisfiable):
        logger.warning("%s; it waits", event.message)
    elif isinstance(event, TasksSubmitted):
        logger.info("%d tasks submitted", len(event.tasks))
    elif isinstance(event, Replanned):
        logger.info("planned anew, %.3g s behind: %d tasks", event.behind_ns / 1e9, event.n_tasks)
    else:
        logger.info("%s", words_of(event))


def words_of(event: Event) -> str:
    """What an event of which there is less to say is in words."""
    words = WORDS.get(type(event), type(event).__name__)
    worker = getattr(event, "worker", None)
    names = (getattr(event, "task_id", None), getattr(event, "worker_id", None) or (worker and worker.worker_id))
    return f"{words}: {', '.join(show_name(name) for name in names if name)}".removesuffix(": ")
