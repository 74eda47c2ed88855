"""A job on the fault server whose real processes are killed and interrupted, and what it left and paid."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.fault_server import FaultServer
from support.jobs import COMMAND, Ran, rows, run_cli, write_job

__all__ = ["BAD_INPUT", "MODEL_URL", "Job", "Started", "start_cli", "until"]

MODEL_URL = "https://clarifai.com/acme/lab/models/echo"
BAD_INPUT = 30101  #: INPUT_UNSUPPORTED_FORMAT, an answer that no other attempt would change
#: Columns that tell runs apart, and nothing about inputs.
OF_THE_RUN = ("run_id", "created_at", "failed_at", "latency_ms", "attempts", "request_id")


def until(condition: Callable[[], Any], timeout: float = 30, what: str = "") -> Any:
    """Wait until `condition` holds, and give what it gave."""
    ends = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > ends:
            raise AssertionError(f"did not happen within {timeout} s: {what or condition}")
        time.sleep(0.01)
    return found


class Started:
    """A command under way in a process group of its own, as a shell starts one."""

    def __init__(self, arguments: tuple[Any, ...], cwd: Path, env: Mapping[str, str]) -> None:
        self._began = time.monotonic()
        # Files and not pipes: a worker that outlives its launcher must not wait for a reader.
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115  (`close` does)
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def group(self) -> list[int]:
        """The processes of the command that are alive, its own and those that it started."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state not in "ZX":
                    found.append(int(stat.parent.name))
        return found

    def signal_all(self, number: int) -> None:
        """A signal to every process of the group: a terminal's Ctrl-C, or a service manager's SIGTERM."""
        os.killpg(self.process.pid, number)

    def kill_launcher(self) -> None:
        """`kill -9` of the process that the user started, and of no other."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """`kill -9` of every process of the command, as a machine that loses its power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout: float = 60) -> Ran:
        """Wait for the end; what it printed."""
        code = self.process.wait(timeout)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
        return Ran(code, *texts, time.monotonic() - self._began)

    def close(self) -> None:
        """Leave no process behind."""
        self.kill_all()
        self._out.close()
        self._err.close()


@contextlib.contextmanager
def start_cli(*arguments: Any, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Started]:
    """Start `bulkinfer ARGUMENTS`; all its processes are gone after the block."""
    started = Started(arguments, cwd, env or {})
    try:
        yield started
    finally:
        started.close()


@dataclasses.dataclass
class Job:
    """Texts of a manifest, sent to the fault server in small batches; every seventeenth input is refused.

    Attributes:
        folder: of the job file, the manifest and, unless told otherwise, the output `out`.
        server: it serves 8 inputs at a time in 50 ms, so 160 a second.
    """

    folder: Path
    server: FaultServer
    count: int = 240
    batch: int = 4
    in_flight: int = 2
    part_seconds: float = 0.4
    base_ms: int = 50
    places: int | None = None
    output: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sections: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.write_manifest()
        self.write()
        self.serve()

    def write(self, **changes: Any) -> Path:
        """Write the job file, with these sections in place of its own."""
        sections: dict[str, Any] = {
            "source": {"manifest": "refs.jsonl", "media": "text", "columns": {"content": "body", "id": "id"}},
            "model": {"url": MODEL_URL, "endpoint": self.server.endpoint},
            "calls": {"batch_size": self.batch, "in_flight": self.in_flight, "timeout": 10, "retry_for": 20},
            "output": {"uri": "out", "part_seconds": self.part_seconds, **self.output},
            "stop": {"error_ratio": 1},
            **self.sections,
            **changes,
        }
        self.path = write_job(self.folder, **sections)
        return self.path

    def write_manifest(self, text: Callable[[int], str] = "text {}".format) -> None:
        """Write the manifest anew; the n-th input's content is `text(n)`."""
        lines = [json.dumps({"id": f"n{n:05}", "body": text(n)}) for n in range(self.count)]
        (self.folder / "refs.jsonl").write_text("\n".join(lines) + "\n")

    def serve(self, **settings: Any) -> None:
        """Let the server forget everything and take these settings beside the job's own."""
        bad = {f"text {n}": {"kind": "output", "code": BAD_INPUT} for n in range(3, self.count, 17)}
        given = {"places": self.places or self.in_flight, "base_ms": self.base_ms, "inputs": bad}
        self.server.set(**{**given, **settings})

    def run(self, *options: str) -> Ran:
        """The command, to its end."""
        return run_cli("run", self.path.name, "--json", *options, cwd=self.folder)

    def start(self, *options: str) -> contextlib.AbstractContextManager[Started]:
        """The command, under way."""
        return start_cli("run", self.path.name, "--json", *options, cwd=self.folder)

    def sent(self) -> Counter[str]:
        """How often the server saw each input."""
        return Counter(self.server.stats()["inputs"])

    def wait_for_sent(self, inputs: int) -> None:
        """Wait until the server saw so many inputs."""
        until(lambda: sum(self.sent().values()) >= inputs, what=f"{inputs} inputs sent")

    def durable(self) -> int:
        """Inputs that the manifests of parts under way hold."""
        found = 0
        for path in (self.folder / "out" / "_runs").glob("*/parts/*.json"):
            part = json.loads(path.read_text())
            found += part["predictions"] + part["errors"]
        return found

    def bound(self, workers: int = 1) -> int:
        """Inputs that a kill may cost: those in flight, and one open part's.

        A part is open for `part_seconds`, and for the moment that it takes to write on two busy cores.
        """
        places = self.places or self.in_flight
        rate = places * self.batch * 1000 / self.base_ms
        return int(workers * self.in_flight * self.batch + rate * (self.part_seconds + 0.6))

    def tables(self, output: str = "out") -> dict[str, list[dict[str, Any]]]:
        """The rows that readers see, without what tells one run from another."""
        tables = {}
        for table in ("predictions", "masks", "errors"):
            tables[table] = rows(self.folder / output, table)
            for row in tables[table]:
                for name in OF_THE_RUN:
                    row.pop(name, None)
        return tables

    def check(self, output: str = "out", text: Callable[[int], str] = "text {}".format) -> None:
        """Each input is in one table, once, with the answer to what it is now."""
        refused = set(range(3, self.count, 17))
        tables = self.tables(output)
        assert [(row["input_id"], row["text"]) for row in tables["predictions"]] == [
            (f"n{n:05}", f"ok {text(n)}") for n in range(self.count) if n not in refused
        ]
        assert [row["input_id"] for row in tables["errors"]] == [f"n{n:05}" for n in sorted(refused)]
