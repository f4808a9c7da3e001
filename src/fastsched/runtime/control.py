"""A private socket in the folder of a run, by which others on this machine see it and act on it while it lives.

One request a connection, a line of JSON each way. What is asked is done by the loop, in its turn.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ClosedError, FastschedError, UnknownIdError
from .log import logger
from .loop import Loop
from .view import View

__all__ = ["Control", "NotLiveError", "ask_run"]

SOCKET = "control"
READS = ("overview", "tasks", "page", "explain", "attempts", "workers")
PATIENCE_S = 10.0
REQUEST_S = 1.0  # for a request, which is sent at once by whoever is one of us
LONGEST_PATH = 100  # of a Unix socket, in bytes


class NotLiveError(FastschedError):
    """Nobody schedules the run at the moment."""


class Control:
    """Serves the socket of a run until it is closed."""

    def __init__(self, folder: Path, loop: Loop, name: str) -> None:
        self._loop, self._view = loop, View(loop.ledger, name)
        self._path = folder / SOCKET
        # Whoever holds the journal may: a socket that is there was left by a scheduler that is gone.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._listener = socket.socket(socket.AF_UNIX)
        with short_path(folder) as path:
            self._listener.bind(path)
        os.chmod(self._path, 0o600)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="fastsched-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes who waits for a connection
        self._listener.close()
        self._thread.join(PATIENCE_S)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(REQUEST_S)
                try:
                    request = msgspec.json.decode(read_line(connection))
                    connection.settimeout(PATIENCE_S)
                    connection.sendall(msgspec.json.encode(self._answer(request)) + b"\n")
                except (OSError, msgspec.DecodeError):
                    continue  # who asked has gone, or is none of us
                except Exception:
                    logger.exception("the control socket failed; the run goes on")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have the loop do it."""
        do, arguments = request.get("do", ""), request.get("with", {})
        try:
            return {"answer": self._loop.ask(lambda now: self._do(do, arguments, now), reads=do in READS)}
        except UnknownIdError as error:
            return {"unknown": error.name, "kind": error.kind, "near": error.near}
        except ClosedError:
            return {"closed": True}
        except (FastschedError, ValueError, TypeError) as error:
            return {"error": str(error)}

    def _do(self, do: str, arguments: dict[str, Any], now: int) -> Any:
        if do == "overview":
            told, pilot = self._view.overview(self._loop.course, now), self._loop.pilot
            if told["plan"] is not None and pilot is not None:
                told["plan"]["behind"] = pilot.behind
            return {**told, "levels": asdict(self._loop.engine.levels())}
        if do == "explain":
            return asdict(self._loop.explain(**arguments))
        if do in READS:
            return getattr(self._view, do)(**arguments)
        if do == "cancel":
            return self._loop.cancel(arguments["task_id"], now)
        if do in ("pause", "resume_dispatch"):
            self._loop.pause(do == "pause")
            return None
        if do in ("drain_worker", "remove_worker"):
            if not arguments.get("force") and self._loop.is_last_worker(arguments["worker_id"]):
                raise ValueError("it is the last worker: what has not ended would fail; --force does it all the same")
            return getattr(self._loop, do)(arguments["worker_id"], now)
        raise ValueError(f"{do!r} cannot be done by this version")


def ask_run(folder: Path, do: str, **arguments: Any) -> Any:
    """Ask the scheduler of a live run.

    Raises:
        NotLiveError: where there is none. UnknownIdError: for a name that it does not know. FastschedError: as it says.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            with short_path(folder) as path:
                connection.connect(path)
            connection.sendall(msgspec.json.encode({"do": do, "with": arguments}) + b"\n")
            line = read_line(connection)
        except TimeoutError:
            silent = f"the scheduler of {folder} does not answer"
            raise FastschedError(f"{silent}; if it was stopped, `fg` or `kill -CONT` lets it go on") from None
        except OSError:
            raise NotLiveError(f"nobody schedules {folder}") from None
    if not line:
        raise NotLiveError(f"nobody schedules {folder} any more")
    told = msgspec.json.decode(line)
    if "unknown" in told:
        raise UnknownIdError(told["kind"], told["unknown"], [told["near"]] if told["near"] else [])
    if "closed" in told:
        raise NotLiveError(f"nobody schedules {folder} any more")
    if "error" in told:
        raise FastschedError(told["error"])
    return told["answer"]


def read_line(connection: socket.socket) -> bytes:
    """What comes until the end of the line, or of the connection."""
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """The socket's path, by way of a descriptor of its folder where it is longer than sockets may be called."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
