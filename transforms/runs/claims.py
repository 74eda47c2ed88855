"""Claims: small files by which processes tell each other, through any store, what they do and that they live.

Whoever writes its claim first and lists the others' then sees each one that was there before its own, so of two
that compete at least one sees the other; no conditional write is asked of any store. A claim is stale when it was
not renewed for its `ttl_s`, told by the store's own clock: the time of the claim against the time of one's own,
both as the store lists them. On Linux one of a process of this machine that is gone is stale at once.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from ..errors import OutputInUseError, StoreError
from ..storage.store import Store

__all__ = ["TTL_S", "Claim", "ClaimFile"]

logger = logging.getLogger(__name__)

_UNKNOWN = "unknown"
TTL_S = 60.0  #: a claim that was not renewed for so long is a dead process's


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a claim file says, and how old it is by the store's clock.

    Attributes:
        run_id: of the run that it is about.
        host: of its writer, for people.
        machine: what the writer's process number is valid in.
        pid: of its writer.
        process_start: when the writer's process started, which tells it from a later one of the same number.
        since: when the claim was first written, by the writer's clock.
        held: its writer has what it claims; else it only begins.
        ttl_s: seconds after which a silent writer counts as dead.
        written_at: the writer's clock when it wrote or renewed the claim.
        path: of the file.
        age_s: seconds since then by the store's clock.
    """

    run_id: str
    host: str
    machine: str
    pid: int
    process_start: str
    since: str
    held: bool
    ttl_s: float
    written_at: float
    path: str
    age_s: float

    @property
    def fresh(self) -> bool:
        """It was renewed lately."""
        return self.age_s < self.ttl_s

    @property
    def here(self) -> bool:
        """Its writer is a process that can be looked at from this one."""
        # Without a boot id a machine is a mere host name, which two machines may share.
        return "/" in self.machine and self.machine == _machine()

    @property
    def alive(self) -> bool:
        """Its writer lives: seen from here, or told by the claim's age."""
        if not self.here:
            return self.fresh
        start = _process_start(self.pid)
        # The number of a process is given again, so one whose start nobody knows may be another.
        return start == self.process_start and (start != _UNKNOWN or self.fresh)


class ClaimFile:
    """One's own claim among its rivals: written, renewed by a thread, withdrawn.

    Args:
        store: that all rivals see.
        directory: of the claims.
        name: of this one, without suffix.
        run_id: of the run that it is about.
        prefix: what the names of rivals start with; other files in the directory are none.
        ttl_s: seconds after which others take a silent writer for dead; it is renewed four times in that time.
    """

    def __init__(
        self, store: Store, directory: str, name: str, run_id: str, *, prefix: str = "", ttl_s: float = TTL_S
    ) -> None:
        self.path = f"{directory}/{name}.json"
        self.ttl_s = ttl_s
        self._store, self._directory, self._prefix, self._run_id = store, directory, prefix, run_id
        self._since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._written_at = 0.0
        self._lapsed = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lapsed(self) -> bool:
        """It was or may have been stale since it was first written, so that others took its writer for dead."""
        # Earlier than others do: a store may tell times in whole seconds.
        return self._lapsed or time.time() - self._written_at > 0.9 * self.ttl_s

    def write(self, *, held: bool = True) -> None:
        """Write or renew it."""
        now = time.time()
        claim = {
            "format": 1,
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_start": _process_start(os.getpid()),
            "since": self._since,
            "held": held,
            "ttl_s": self.ttl_s,
            "written_at": now,
        }
        self._store.write(self.path, json.dumps(claim).encode())
        self._written_at = now

    def keep(self) -> None:
        """Renew it from now on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._thread.start()

    def withdraw(self) -> None:
        """Renew it no more, and remove it; where the store fails it expires by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._store.remove(self.path)
        except StoreError as error:
            logger.warning("claim not withdrawn, it expires in %.0f s: cause=%s", self.ttl_s, error)

    def rivals(self) -> list[Claim]:
        """All other claims; one's own, just written, tells the store's time.

        Raises:
            OutputInUseError: a claim is none that this version understands.
        """
        entries = [e for e in self._store.files(self._directory) if e.name.startswith(self._prefix)]
        now = next((entry.mtime for entry in entries if entry.path == self.path), 0.0)
        found = []
        for entry in entries:
            if entry.path == self.path:
                continue
            try:
                values: dict[str, Any] = json.loads(self._store.read(entry.path))
                # A store that lists no times leaves only the writer's own clock.
                age = now - entry.mtime if now and entry.mtime else time.time() - float(values["written_at"])
                found.append(
                    Claim(
                        run_id=str(values["run_id"]),
                        host=str(values["host"]),
                        machine=str(values["machine"]),
                        pid=int(values["pid"]),
                        process_start=str(values["process_start"]),
                        since=str(values["since"]),
                        held=bool(values["held"]),
                        ttl_s=float(values["ttl_s"]),
                        written_at=float(values["written_at"]),
                        path=entry.path,
                        age_s=age,
                    )
                )
            except FileNotFoundError:
                continue  # withdrawn in between
            except (ValueError, KeyError, TypeError) as error:
                raise OutputInUseError(
                    f"{self._store.url(entry.path)} is no claim that this version of bulkinfer understands "
                    f"({type(error).__name__}); if no other run writes to {self._store.uri}, delete that file"
                ) from error
        return found

    def remove_dead(self, dead: list[Claim]) -> None:
        """Remove claims of processes that are dead."""
        for claim in dead:
            logger.info("claim of a dead process removed: run=%s host=%s", claim.run_id, claim.host)
            self._store.remove(claim.path)

    def _renew(self) -> None:
        while not self._stop.wait(self.ttl_s / 4):
            self._lapsed = self.lapsed
            try:
                self.write()
            except StoreError as error:
                # The next attempt comes before others take this process for dead.
                logger.warning("claim not renewed: run=%s cause=%s", self._run_id, error)


def _machine() -> str:
    """Names what a process number is valid in: the boot of a kernel, and the process namespace; else the host."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux
        pass
    return "/".join(parts)


def _process_start(pid: int) -> str:
    """When a process started, which tells it from a later one of the same number; "" when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return _UNKNOWN
