"""Prism runs the same job files, finishes calls in flight at an interrupt, and never outlives its launcher.

Needs no cluster, only Prism's binary, which Go builds once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve
from support.bad_days import Job, Started, until
from support.cluster_downloads import prism_binary
from support.fault_server import FaultServer, running
from support.field import KEY, MODEL, PATIENCE
from support.jobs import rows, run_cli, write_job

from .test_matrix import CONFIGS, VOLATILE

# The first of them may have to build Prism.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]


@pytest.fixture(scope="session")
def binary() -> Path:
    found = prism_binary()
    if found is None:
        pytest.skip("there is no Prism in the cache, and no `go` on the PATH to build it")
    return found


@pytest.fixture
def prism(binary: Path, tmp_path: Path) -> Iterator[Path]:
    """Prism under a path of the test's own; no process of it may run after the test."""
    mine = tmp_path / "prism"
    mine.symlink_to(binary)
    yield mine
    until(lambda: not _processes(mine), timeout=10, what="the end of Prism")


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedServer]:
    with serve() as server:
        yield server


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultServer]:
    with running() as server:
        yield server


def _processes(binary: Path) -> list[int]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if command.read_bytes().split(b"\0")[0] == bytes(binary):
                found.append(int(command.parent.name))
    return found


def _flags(prism: Path, **options: Any) -> tuple[str, ...]:
    flags = ["runner.name=prism", f"runner.options.prism_location={prism}"]
    flags += [f"runner.options.{name}={value}" for name, value in options.items()]
    return tuple(word for flag in flags for word in ("--set", flag))


def _texts(folder: Path) -> dict[str, Any]:
    lines = [
        {"id": f"t{n:04d}", "body": f"This is the plain English text number {n}.", "n": n} for n in range(500)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = {"content": "body", "id": "id", "keep": ["n"]}
    return {"source": {"manifest": "texts.jsonl", "media": "text", "columns": columns}, "method": "classify"}


def _photos(folder: Path) -> dict[str, Any]:
    for photo in sorted((CONFIGS / "photos").glob("*.jpg"))[:6]:
        (folder / photo.name).symlink_to(photo)
    return {"source": {"files": "*.jpg"}, "method": "segment_anything"}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_texts, id="texts", marks=pytest.mark.cluster_all),
        pytest.param(_photos, id="photos"),
    ],
)
def test_tables_are_equal_to_those_of_direct(
    tmp_path: Path, prism: Path, embedded: EmbeddedServer, make: Any
) -> None:
    """Predictions and masks, row by row."""
    job = make(tmp_path)
    model = {"url": MODEL, "endpoint": embedded.endpoint, "allow_plaintext": True, "method": job["method"]}
    tables = {}
    for name, flags in (("direct", ()), ("prism", _flags(prism))):
        path = write_job(
            tmp_path, f"{name}.yaml", source=job["source"], model=model, output={"uri": f"out-{name}"}
        )
        ran = run_cli("run", path, "--json", *flags, cwd=tmp_path, timeout=PATIENCE)
        assert ran.code == 0, ran.err[-3000:]
        assert KEY not in ran.out + ran.err
        tables[name] = {
            table: [
                {key: value for key, value in row.items() if key not in VOLATILE}
                for row in rows(tmp_path / f"out-{name}", table)
            ]
            for table in ("predictions", "masks")
        }
    assert tables["direct"]["predictions"]
    assert bool(tables["direct"]["masks"]) == (make is _photos)
    assert tables["prism"] == tables["direct"]


@pytest.mark.cluster_all
def test_slow_calls_split_bundles_and_all_of_it_stays_exact(
    tmp_path: Path, prism: Path, faults: FaultServer
) -> None:
    """One worker process serves all of it, for longer than Beam's request timeout."""
    job = Job(tmp_path, faults, count=2500, batch=16, in_flight=16, base_ms=1000, places=16)

    ran = job.run(*_flags(prism, job_server_timeout=5, prism_log_level="debug"), "-v")

    assert ran.code == 3, ran.err[-3000:]
    assert ran.err.count("split elements") >= 1
    assert len(faults.stats()["peers"]) == 1
    assert set(job.sent().values()) == {1}
    job.check()
    again = job.run(*_flags(prism))
    assert again.json["skipped"] == job.count, again.err


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.cluster_all)]
)
def test_an_interrupt_loses_nothing_that_was_sent_and_the_same_command_goes_on(
    tmp_path: Path, prism: Path, faults: FaultServer, number: signal.Signals
) -> None:
    """A signal to the whole group, as a terminal sends it."""
    job = Job(tmp_path, faults, count=600, places=4)

    first = _stopped(job, prism, lambda started: started.signal_all(number))
    sent = job.sent()
    kept = rows(tmp_path / "out", "predictions") + rows(tmp_path / "out", "errors")
    second = job.run(*_flags(prism))

    assert first.code == 4, first.err
    assert number.name in json.loads(first.out)["stopped"]
    assert "Traceback" not in first.err
    assert len(kept) == len(sent) < job.count
    assert second.code == 3, second.err
    assert second.json["skipped"] == len(kept)
    assert set(job.sent().values()) == {1}
    job.check()


def test_prism_ends_with_a_launcher_that_is_killed_and_the_same_command_goes_on(
    tmp_path: Path, prism: Path, faults: FaultServer
) -> None:
    """The launcher is killed in the middle of a job."""
    job = Job(tmp_path, faults, count=600, places=4)

    _stopped(job, prism, Started.kill_launcher)
    second = job.run(*_flags(prism))

    assert second.code == 3, second.err
    assert sum(job.sent().values()) - job.count <= job.bound()
    job.check()


def test_prism_ends_with_a_process_that_is_killed_between_two_jobs(tmp_path: Path, prism: Path) -> None:
    """Only its guard ends it: without a job it neither loses a worker nor logs to the closed pipe."""
    script = """
import sys, time
from bulkinfer.pipelines.runners.options import pipeline_options
from bulkinfer.pipelines.runners.job_servers import PrismRunner
from bulkinfer.transforms.job.config import RunnerConfig
options = pipeline_options(RunnerConfig(name="prism", options={"prism_location": sys.argv[1]}))
server = PrismRunner().default_job_server(options)
server.start()
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(prism)], cwd=tmp_path) as process:
        until(lambda: _processes(prism), what="the start of Prism")
        time.sleep(1)
        process.kill()
    until(lambda: not _processes(prism), timeout=5, what="the end of Prism")


def test_a_prism_that_is_lost_ends_the_job_and_the_same_command_goes_on(
    tmp_path: Path, prism: Path, faults: FaultServer
) -> None:
    """The worker's calls in flight are lost with it."""
    job = Job(tmp_path, faults, count=600, places=4)

    def kill(_: Started) -> None:
        for process in _processes(prism):
            os.kill(process, signal.SIGKILL)

    first = _stopped(job, prism, kill)
    second = job.run(*_flags(prism))

    assert first.code == 1, first.err
    assert "run the same command again" in first.err
    assert second.code == 3, second.err
    assert sum(job.sent().values()) - job.count <= job.bound()
    job.check()


def _stopped(job: Job, prism: Path, strike: Any) -> Any:
    """Start the job, wait for calls, strike; returns how it ended, and checks that no process is left."""
    with job.start(*_flags(prism)) as started:
        job.wait_for_sent(120)
        assert len(_processes(prism)) == 1
        strike(started)
        ran = started.end()
        until(lambda: not (started.group() or _processes(prism)), timeout=10, what="the end of every process")
    return ran
