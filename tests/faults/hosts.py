"""Hosts of our own on one machine: network namespaces with addresses of their own, joined by a bridge.

A host has process ids of its own too, and a folder that the others do not see. What it takes is root, iproute2 and
util-linux; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

NET = "10.213.7"


def why_not() -> str:
    """Why there can be no hosts here; "": there can."""
    missing = [name for name in ("ip", "unshare", "mount") if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    if os.getuid():
        return "namespaces of the network take root"
    probe = f"fs{uuid.uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return made.stderr.strip()
    ip("netns", "del", probe)
    return ""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Host:
    """One of them. `hidden`: a folder, in place of which it sees an empty one."""

    def __init__(self, net: Net, number: int, hidden: Path) -> None:
        self.address = f"{NET}.{number}"
        self.name, self.link = f"{net.name}-{number}", f"{net.name}v{number}"
        self._hidden = hidden
        self.processes: list[subprocess.Popen[bytes]] = []
        ip("netns", "add", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.link, "master", net.name, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def start(self, words: Sequence[str], log: Path) -> None:
        """Start a program there; when it ends, so does everything that it has started."""
        hide = f"mount -t tmpfs none '{self._hidden}' && exec \"$@\""
        apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", hide, "sh", *words]
        with log.open("ab") as out:
            self.processes.append(subprocess.Popen(["ip", "netns", "exec", self.name, *apart], stdout=out, stderr=out))

    def cut(self) -> None:
        """Nothing comes or goes any more, and nobody is told."""
        ip("link", "set", self.link, "down")

    def restore(self) -> None:
        """The link is there again."""
        ip("link", "set", self.link, "up")

    def pids(self) -> list[int]:
        """Its processes, by the numbers that they have for us."""
        net = os.stat(f"/run/netns/{self.name}").st_ino
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_in(pid, net)]

    @staticmethod
    def _is_in(pid: int, net: int) -> bool:
        try:
            return os.stat(f"/proc/{pid}/ns/net").st_ino == net
        except OSError:
            return False

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        until = time.monotonic() + 10
        while (left := self.pids()) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        ip("netns", "del", self.name)


class Net:
    """A bridge with hosts at it; this process has an address there too."""

    def __init__(self, hidden: Path) -> None:
        self.name = f"fs{uuid.uuid4().hex[:6]}"
        self._hidden = hidden
        self.hosts: list[Host] = []
        ip("link", "add", self.name, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def add(self) -> Host:
        """One host more."""
        host = Host(self, len(self.hosts) + 2, self._hidden)
        self.hosts.append(host)
        return host

    def __enter__(self) -> Net:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.close()
        ip("link", "del", self.name)
