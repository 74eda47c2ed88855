"""A job of real processes for tests that kill and interrupt it, and then check its tables and its calls."""

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

from bulkinfer.transforms.tables.staging.part_writer import SEAL_S

from support.fault_server import FaultServer
from support.jobs import COMMAND, Ran, rows, run_cli, write_job

__all__ = ["BAD_INPUT", "MODEL_URL", "Job", "Started", "start_cli", "until"]

MODEL_URL = "https://clarifai.com/acme/lab/models/echo"
BAD_INPUT = 30101  #: INPUT_UNSUPPORTED_FORMAT, an answer that a retry would not change
#: Columns that depend on the run and not on the input.
OF_THE_RUN = ("run_id", "created_at", "failed_at", "latency_ms", "attempts", "request_id")


def until(condition: Callable[[], Any], timeout: float = 30, what: str = "") -> Any:
    """Wait until `condition` returns something true, and return that."""
    ends = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > ends:
            raise AssertionError(f"did not happen within {timeout} s: {what or condition}")
        time.sleep(0.01)
    return found


class Started:
    """A running command in a process group of its own, as a shell starts one."""

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
        """List the command's living processes: its own and those that it started."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state not in "ZX":
                    found.append(int(stat.parent.name))
        return found

    def signal_all(self, number: int) -> None:
        """Send a signal to every process of the group, as a terminal's Ctrl-C or a service manager does."""
        os.killpg(self.process.pid, number)

    def kill_launcher(self) -> None:
        """Kill the process that the user started, and no other, by `kill -9`."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """Kill every process of the command by `kill -9`, as a power failure would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout: float = 60) -> Ran:
        """Wait for the end; returns the exit code and what it printed."""
        code = self.process.wait(timeout)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
        return Ran(code, *texts, time.monotonic() - self._began)

    def close(self) -> None:
        """Kill what still runs and close the output files."""
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
        folder: holds the job file, the manifest and, by default, the output `out`.
        server: by default it answers 8 inputs at a time in 50 ms, so 160 a second.
        places: calls that the server works on at once; `in_flight` by default.
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
        """Write the job file, with these sections instead of its own."""
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
        """Reset the server, with these settings over the job's own."""
        bad = {f"text {n}": {"kind": "output", "code": BAD_INPUT} for n in range(3, self.count, 17)}
        given = {"places": self.places or self.in_flight, "base_ms": self.base_ms, "inputs": bad}
        self.server.set(**{**given, **settings})

    def run(self, *options: str) -> Ran:
        """Run the command to its end."""
        return run_cli("run", self.path.name, "--json", *options, cwd=self.folder)

    def start(self, *options: str) -> contextlib.AbstractContextManager[Started]:
        """Start the command."""
        return start_cli("run", self.path.name, "--json", *options, cwd=self.folder)

    def sent(self) -> Counter[str]:
        """Count how often the server received each input."""
        return Counter(self.server.stats()["inputs"])

    def wait_for_sent(self, inputs: int) -> None:
        """Wait until the server has received so many inputs."""
        until(lambda: sum(self.sent().values()) >= inputs, what=f"{inputs} inputs sent")

    def durable(self) -> int:
        """Count the inputs in manifests of parts that are not committed yet."""
        found = 0
        for path in (self.folder / "out" / "_runs").glob("*/parts/*.json"):
            part = json.loads(path.read_text())
            found += part["predictions"] + part["errors"]
        return found

    def bound(self, workers: int = 1) -> int:
        """Count the inputs that a kill may send twice: those in flight, and those that came home last.

        They are in memory for `SEAL_S` or `part_seconds`, and for the 0.6 s that writing may take on two busy cores.
        """
        places = self.places or self.in_flight
        rate = places * self.batch * 1000 / self.base_ms
        return int(workers * self.in_flight * self.batch + rate * (min(self.part_seconds, SEAL_S) + 0.6))

    def tables(self, output: str = "out") -> dict[str, list[dict[str, Any]]]:
        """Read all visible rows, without the columns that depend on the run."""
        tables = {}
        for table in ("predictions", "masks", "errors"):
            tables[table] = rows(self.folder / output, table)
            for row in tables[table]:
                for name in OF_THE_RUN:
                    row.pop(name, None)
        return tables

    def check(self, output: str = "out", text: Callable[[int], str] = "text {}".format) -> None:
        """Check that each input is in one table, once, with the answer to its current content."""
        refused = set(range(3, self.count, 17))
        tables = self.tables(output)
        assert [(row["input_id"], row["text"]) for row in tables["predictions"]] == [
            (f"n{n:05}", f"ok {text(n)}") for n in range(self.count) if n not in refused
        ]
        assert [row["input_id"] for row in tables["errors"]] == [f"n{n:05}" for n in sorted(refused)]
