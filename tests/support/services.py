"""Processes that a test starts, and hosts for them: network namespaces joined by a bridge."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["Host", "Service", "can_make_hosts", "hosts", "start"]


@dataclasses.dataclass
class Service:
    """A process in its own process group, with its output in a file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """It has not ended."""
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
        """Wait until the log holds a text; for what listens where we cannot connect.

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
        """The end of the log."""
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
    """Start a process in its own group on this machine."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Service(name, process, log)


def can_make_hosts() -> bool:
    """Network namespaces can be made: Linux, root, `ip` installed."""
    probe = f"bi-probe-{secrets.token_hex(2)}"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode == 0
        if made:
            subprocess.run(["ip", "netns", "delete", probe], check=False)
    except OSError:
        return False
    return made


@contextlib.contextmanager
def hosts(count: int) -> Iterator[tuple[Host, list[Host]]]:
    """Make so many hosts on a network of their own; yields this machine and the hosts.

    Each host has its own loopback, as a pod has: what listens on localhost there is not seen here.
    """
    tag = secrets.token_hex(2)
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
        for host in made:
            subprocess.run(["ip", "netns", "delete", str(host.namespace)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"ip {' '.join(words)}: {done.stderr.strip()}; hosts need Linux, root and iproute2"
        )
