"""One writer at an output: a claim file a run, kept fresh, and no conditional write asked of any store.

A run writes its claim, then lists all claims. One that sees a claim that is held gives way. Of several that
only just begin, the one with the smallest name goes on, after the others have withdrawn. A claim is stale
when it was not renewed for a minute, told by the store's own clock: the time of the claim against the time of
one's own, both as the store lists them. A claim of a process of this machine that is gone is stale at once.
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
from types import TracebackType
from typing import Any

from .errors import OutputInUseError, StoreError
from .parts import RUNS
from .store import Store

__all__ = ["LOCKS", "RunLock", "has_claim"]

logger = logging.getLogger(__name__)

LOCKS = f"{RUNS}/locks"
TTL_S = 60.0  #: a claim that was not renewed for so long is a dead run's
_SETTLE_S = 0.25


@dataclasses.dataclass(frozen=True)
class _Claim:
    """What a claim file says, and how old it is by the store's clock."""

    run_id: str
    host: str
    machine: str
    pid: int
    process_start: str
    since: str
    held: bool
    path: str
    age_s: float
    ttl_s: float

    @property
    def alive(self) -> bool:
        if self.machine == _machine():
            return _process_start(self.pid) == self.process_start
        return self.age_s < self.ttl_s


class RunLock:
    """The right to write to an output, from entering the block to its end.

    Args:
        store: of the output.
        run_id: of the run that wants to write.
        ttl_s: seconds after which other machines take a silent run for dead; it is renewed four times in that
            time.

    Raises:
        OutputInUseError: another run that is alive writes there.
        StoreError: the output cannot be written.
    """

    def __init__(self, store: Store, run_id: str, *, ttl_s: float = TTL_S) -> None:
        self._store, self._run_id, self._ttl_s = store, run_id, ttl_s
        self._path = f"{LOCKS}/{run_id}.json"
        self._since = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, or say who has it."""
        try:
            self._arbitrate()
        except BaseException:
            self._store.remove(self._path)
            raise
        self._thread = threading.Thread(target=self._renew, name="run-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the lock back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.remove(self._path)

    def _write(self, *, held: bool) -> None:
        claim = {
            "format": 1,
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "process_start": _process_start(os.getpid()),
            "since": self._since,
            "held": held,
            "ttl_s": self._ttl_s,
            "written_at": time.time(),
        }
        self._store.write(self._path, json.dumps(claim).encode())

    def _arbitrate(self) -> None:
        deadline = time.monotonic() + self._ttl_s + 10
        while True:
            self._write(held=False)
            others = self._alive_others()
            holder = next((claim for claim in others if claim.held), None)
            if holder is None and any(claim.run_id < self._run_id for claim in others):
                holder = min(others, key=lambda claim: claim.run_id)
            if holder is not None or time.monotonic() > deadline:
                raise _in_use(self._store, holder or others[0])
            if not others:
                break
            time.sleep(_SETTLE_S)  # later ones that only began withdraw, or turn out to hold it
        self._write(held=True)
        rival = next((claim for claim in self._alive_others() if claim.held), None)
        if rival is not None:
            raise _in_use(self._store, rival)
        for claim in _claims(self._store, self._path):
            if not claim.alive and claim.run_id != self._run_id:
                logger.info("lock of a dead run removed: run=%s host=%s", claim.run_id, claim.host)
                self._store.remove(claim.path)

    def _alive_others(self) -> list[_Claim]:
        return [
            claim
            for claim in _claims(self._store, self._path)
            if claim.run_id != self._run_id and claim.alive
        ]

    def _renew(self) -> None:
        while not self._stop.wait(self._ttl_s / 4):
            try:
                self._write(held=True)
            except StoreError as error:
                # The next attempt comes before others take this run for dead.
                logger.warning("lock not renewed: run=%s cause=%s", self._run_id, error)


def has_claim(store: Store, run_id: str) -> bool:
    """Whether a run's claim is there: its launcher holds the lock for it."""
    return store.exists(f"{LOCKS}/{run_id}.json")


def _claims(store: Store, own_path: str) -> list[_Claim]:
    """All claims, with their ages by the store's clock; one's own claim, just written, tells its time."""
    entries = store.files(LOCKS)
    times = {entry.path: entry.mtime for entry in entries}
    now = times.get(own_path, 0.0)
    claims = []
    for entry in entries:
        try:
            values: dict[str, Any] = json.loads(store.read(entry.path))
            # A store that lists no times leaves only the writer's own clock.
            age = now - entry.mtime if now and entry.mtime else time.time() - float(values["written_at"])
            claims.append(
                _Claim(
                    run_id=str(values["run_id"]),
                    host=str(values["host"]),
                    machine=str(values["machine"]),
                    pid=int(values["pid"]),
                    process_start=str(values["process_start"]),
                    since=str(values["since"]),
                    held=bool(values["held"]),
                    path=entry.path,
                    age_s=age,
                    ttl_s=float(values["ttl_s"]),
                )
            )
        except FileNotFoundError:
            continue  # withdrawn in between
        except (ValueError, KeyError, TypeError) as error:
            raise OutputInUseError(
                f"{store.url(entry.path)} is no claim that this version of bulkinfer understands "
                f"({type(error).__name__}); if no other run writes to {store.uri}, delete that file"
            ) from error
    return claims


def _in_use(store: Store, claim: _Claim) -> OutputInUseError:
    return OutputInUseError(
        f"run {claim.run_id} writes to {store.uri} since {claim.since} "
        f"(process {claim.pid} on {claim.host}); wait until it ends, stop it, or set another output.uri. "
        f"If it is dead, its claim expires by itself within {claim.ttl_s:.0f} s"
    )


def _machine() -> str:
    """Names what a process number is valid in: the boot of a kernel, and the process namespace."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux: the host's name must do
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
    return "unknown"
