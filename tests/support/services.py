"""Starts processes for tests, and hosts for them: network namespaces joined by a bridge.

Nothing outlives the test: `orderly_end` turns SIGTERM and SIGHUP into an exception, so that fixtures stop what they
started; after a SIGKILL the kernel ends the processes, and the next `hosts` removes the namespaces.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Host", "Service", "dying_with_us", "hosts", "orderly_end", "start"]

#: A file for each network of hosts, locked for as long as its owner lives.
_OWNERS = Path(tempfile.gettempdir()) / "bulkinfer-hosts"
#: Asks Linux to send SIGKILL when the parent ends, then executes the command; the setting survives `exec`.
_DIE_WITH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() == int(sys.argv[1]):  # else the parent has ended already
    os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclasses.dataclass
class Service:
    """A process in its own process group, with its output in a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def wait_for(self, address: tuple[str, int], timeout: float = 120) -> None:
        """Wait until something listens at the address.

        Raises:
            RuntimeError: the process ended or the time is over; with the end of its log.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.alive:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not listen at {address}; its log ends:\n{self.tail()}")

    def wait_for_log(self, text: str, timeout: float = 120) -> None:
        """Wait until the log holds a text; for services that we cannot connect to.

        Raises:
            RuntimeError: the process ended or the time is over; with the end of its log.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.alive:
            if text in self.log.read_text(errors="replace"):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} never logged {text!r}; its log ends:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """Read the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End the process and all of its children at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout: float = 8) -> None:
        """End the process and its children, politely first."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@dataclasses.dataclass(frozen=True)
class Host:
    """One host: this machine (no namespace), or a network namespace with an address of its own."""

    name: str
    ip: str
    namespace: str | None = None

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Service:
        """Start a process here; `env` is added to ours."""
        prefix = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return start(name, [*prefix, *command], log, env, cwd)


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Service:
    """Start a process in its own group on this machine; it never outlives this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            dying_with_us(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Service(name, process, log)


def dying_with_us(command: Sequence[str]) -> list[str]:
    """Wrap a command so that the kernel kills it when the thread that starts it ends; on Linux only.

    A small program sets this up: running Python between fork and exec is not safe in a process with gRPC's threads.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH, str(os.getpid()), *command]


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Until the block ends, the first SIGTERM or SIGHUP raises KeyboardInterrupt, so that fixtures end in order.

    Further ones are ignored, because they would interrupt the stopping of processes.
    """
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def interrupted(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupted) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def hosts(count: int) -> Iterator[tuple[Host, list[Host]]]:
    """Make so many hosts on a network of their own; yields this machine and the hosts.

    Each host has its own loopback, as a pod has: services on its localhost cannot be reached from here. Networks of
    dead owners are removed first.
    """
    _remove_orphans()
    tag = secrets.token_hex(2)
    owner = _own(tag)
    bridge = f"bibr{tag}"
    network = ipaddress.ip_network(f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}.0/24")
    address = [str(host) for host in network.hosts()]
    made = [Host(f"host{index}", address[index], f"bi{tag}n{index}") for index in range(1, count + 1)]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{address[0]}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for index, host in enumerate(made, start=1):
            here, there = f"bi{tag}h{index}", f"bi{tag}c{index}"
            namespace = str(host.namespace)
            _ip("netns", "add", namespace)
            _ip("link", "add", here, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", namespace)
            _ip("link", "set", here, "master", bridge)
            _ip("link", "set", here, "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "address", "add", f"{host.ip}/24", "dev", there)
            _ip("-n", namespace, "link", "set", there, "up")
        yield Host("here", address[0]), made
    finally:
        _remove(tag)
        owner.close()


def _own(tag: str) -> IO[bytes]:
    """Lock a file that marks this process as a network's owner, until the file is closed or the process ends."""
    _OWNERS.mkdir(exist_ok=True)
    owner = (_OWNERS / tag).open("wb")
    fcntl.flock(owner, fcntl.LOCK_EX)
    return owner


def _remove_orphans() -> None:
    """Remove the networks whose owners ended without removing them."""
    for path in _OWNERS.glob("*"):
        with path.open("rb") as owner, contextlib.suppress(BlockingIOError):
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path.name)


def _remove(tag: str) -> None:
    """Remove a network, its hosts with their processes, and its owner's file."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for namespace in (line.split()[0] for line in listed.splitlines() if line.startswith(f"bi{tag}n")):
        inside = subprocess.run(
            ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False
        )
        for pid in inside.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)
    # Deleting a namespace deletes its virtual interfaces, and with them their peers on this machine.
    subprocess.run(["ip", "link", "delete", f"bibr{tag}"], capture_output=True, check=False)
    (_OWNERS / tag).unlink(missing_ok=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"ip {' '.join(words)}: {done.stderr.strip()}; hosts need Linux, root and iproute2"
        )
