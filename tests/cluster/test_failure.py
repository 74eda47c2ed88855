"""A host, pool, JobManager, job server or launcher is killed: the same command finishes the job with exact tables."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster
from support.fault_server import FaultServer
from support.field import MODEL, PATIENCE, Field
from support.jobs import COMMAND
from support.services import dying_with_us

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]

INPUTS = 2400
#: Four workers get at most 160 answers a second; a part is open for two seconds, and written within one more.
IN_FLIGHT = 4 * 16
OPEN_PARTS = IN_FLIGHT + 3 * 160


@pytest.fixture(autouse=True)
def _healed(field: Field) -> Iterator[None]:
    yield
    _heal(field.cluster)


def _heal(cluster: Cluster) -> None:
    if cluster.job_manager is not None and not cluster.job_manager.alive:
        cluster.start_job_manager()
    for worker in list(cluster.workers):
        if not (worker.task_manager.alive and worker.pool.alive):
            worker.kill()
            cluster.replace(worker)
    cluster.wait_for_workers()


def _host(cluster: Cluster, _: int) -> None:
    """Kill the longest running host and replace it; the job fails all the same."""
    cluster.workers[0].kill()
    _heal(cluster)


def _pool(cluster: Cluster, _: int) -> None:
    cluster.workers[0].pool.kill()


def _job_manager(cluster: Cluster, _: int) -> None:
    assert cluster.job_manager is not None
    cluster.job_manager.kill()


def _job_server(_: Cluster, launcher: int) -> None:
    (java,) = _job_servers(launcher)
    os.kill(java, signal.SIGKILL)


def _most(strike: Callable[[Cluster, int], None]) -> int:
    """Most inputs that a strike may cost: without their job server, workers still have time to write their parts."""
    return IN_FLIGHT if strike is _job_server else OPEN_PARTS


def _job_servers(launcher: int) -> list[int]:
    """List the Java processes that a launcher started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = stat.read_text(errors="replace").rpartition(")")
            if name.endswith("(java") and int(fields.split()[1]) == launcher:
                found.append(int(stat.parent.name))
    return found


def _job(field: Field, server: FaultServer) -> dict[str, Any]:
    return {
        "source": field.texts(INPUTS),
        "model": {"url": MODEL, "endpoint": server.endpoint, "allow_plaintext": True},
        "calls": {"batch_size": 4, "in_flight": 4},
        "output": {"part_seconds": 2},
        "runner": field.runner("flink"),
    }


class Struck:
    """A job that runs until a part of it is answered and is then struck; figures are recorded for the report."""

    def __init__(
        self,
        field: Field,
        faults: FaultServer,
        name: str,
        record: Callable[[str, Any], None],
        base_ms: int = 400,
    ) -> None:
        faults.set(base_ms=base_ms, places=64)
        self._field, self._faults, self._name, self.record = field, faults, name, record
        self.command = [*COMMAND, "run", str(field.write(name, _job(field, faults))), "--json"]
        self._said = field.folder / f"{name}.err"

    @contextlib.contextmanager
    def started(self, answered: float) -> Iterator[subprocess.Popen[bytes]]:
        """Start the launcher, and yield it once this fraction of the inputs is answered."""
        begun = time.monotonic()
        with (
            self._said.open("wb") as said,
            subprocess.Popen(dying_with_us(self.command), stdout=subprocess.DEVNULL, stderr=said) as launcher,
        ):
            try:
                paid = sum(self.answers().values())
                _until(
                    lambda: (
                        launcher.poll() is not None
                        or (sum(self.answers().values()) > paid and len(self.answers()) >= answered * INPUTS)
                    ),
                    PATIENCE,
                )
                assert launcher.poll() is None, self.said()
                self.record("struck_after", len(self.answers()))
                self.record("struck_at_s", round(time.monotonic() - begun, 1))
                yield launcher
            finally:
                launcher.kill()

    def said(self) -> str:
        """Read what the launcher wrote to stderr."""
        return self._said.read_text(errors="replace")

    def again(self) -> Any:
        """Run the same command to its end; returns its summary."""
        begun = time.monotonic()
        done = subprocess.run(
            dying_with_us(self.command), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        self.record("again_s", round(time.monotonic() - begun, 1))
        assert done.returncode == 0, done.stderr
        self._said.write_text(done.stderr)
        return json.loads(done.stdout)

    def visible(self) -> list[str]:
        """List the inputs in `predictions`, sorted; checks that `errors` is empty."""
        assert self._field.rows(self._name, "errors") == []
        return [row["input_id"] for row in self._field.rows(self._name, "predictions")]

    def answers(self) -> dict[str, int]:
        """Count how often the server answered each input."""
        return dict(self._faults.stats()["answered"])

    def check(self) -> int:
        """Check that every input is in `predictions` once; returns how many the server answered twice."""
        assert self.visible() == [f"i{n:06d}" for n in range(INPUTS)]
        twice = sum(times > 1 for times in self.answers().values())
        self.record("inputs", INPUTS)
        self.record("answered_twice", twice)
        return twice


@pytest.mark.parametrize(
    "strikes",
    [
        pytest.param((_host, _pool, _job_manager, _job_server), id="each"),
        pytest.param((_host,) * 10, id="hosts", marks=pytest.mark.cluster_all),
    ],
)
def test_a_job_that_is_struck_many_times_ends_with_exact_tables(
    field: Field,
    faults: FaultServer,
    record_property: Callable[[str, Any], None],
    strikes: Sequence[Callable[[Cluster, int], None]],
) -> None:
    """The same command is run after each strike; the tables never hold an input twice nor lose one."""
    struck: list[dict[str, Any]] = []
    name = f"struck-{len(strikes)}-times"
    job = Struck(field, faults, name, lambda key, value: struck[-1].update({key: value}), base_ms=1000)
    before: set[str] = set()
    for number, strike in enumerate(strikes, start=1):
        answered = number / (len(strikes) + 1)
        struck.append({"by": strike.__name__.strip("_"), "answered": round(answered, 2)})
        with job.started(answered) as launcher:
            strike(field.cluster, launcher.pid)
            launcher.wait(PATIENCE)
        assert launcher.returncode == 1, job.said()
        hints = ("run the same command again", *([] if strike is _host else ["worker pool"]))
        assert any(hint in job.said() for hint in hints), job.said()
        rows, answers = job.visible(), job.answers()
        assert len(rows) == len(set(rows))
        assert before <= set(rows)
        struck[-1] |= {"visible": len(rows), "again": sum(answers.values()) - len(answers)}
        assert len(answers) - len(rows) <= OPEN_PARTS
        before = set(rows)
        _heal(field.cluster)
    record_property("strikes", struck)
    job.record = record_property

    job.again()

    job.check()
    answers = job.answers()
    record_property("answers", sum(answers.values()))
    # The cost of a strike is known once the next start has had those inputs answered again.
    again = [*(each["again"] for each in struck), sum(answers.values()) - len(answers)]
    costs = [after - earlier for earlier, after in pairwise(again)]
    record_property("costs", costs)
    assert all(cost <= _most(strike) for cost, strike in zip(costs, strikes, strict=True))


@pytest.mark.cluster_all
@pytest.mark.parametrize(
    ("strike", "answered"),
    [(_pool, 0.5), (_job_manager, 0.4), (_job_server, 0.4)],
    ids=("pool", "job_manager", "job_server"),
)
def test_the_same_command_finishes_a_struck_job(
    field: Field,
    faults: FaultServer,
    record_property: Callable[[str, Any], None],
    strike: Callable[[Cluster, int], None],
    answered: float,
) -> None:
    """The server answered twice only what open parts held."""
    job = Struck(field, faults, f"struck-{strike.__name__.strip('_')}-{answered:.2f}", record_property)
    with job.started(answered) as launcher:
        strike(field.cluster, launcher.pid)
        struck = time.monotonic()
        launcher.wait(PATIENCE)
        record_property("ended_after_s", round(time.monotonic() - struck, 1))
    assert launcher.returncode == 1, job.said()
    assert "run the same command again" in job.said() or "worker pool" in job.said(), job.said()
    _heal(field.cluster)

    job.again()

    assert job.check() <= _most(strike)


def test_a_killed_launcher_leaves_no_worker_that_goes_on_calling(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None]
) -> None:
    """Flink continues the job; the next start stops its workers, keeps what they finished, and does the rest."""
    job = Struck(
        field, faults, "launcher", record_property, base_ms=1000
    )  # slow, so that the job still runs by then
    with job.started(0.1) as launcher:
        (java,) = _job_servers(launcher.pid)
        launcher.kill()
    _until(lambda: not Path(f"/proc/{java}").exists(), 10)
    time.sleep(1)
    assert _running_jobs(field) == 1

    kept = job.again()["skipped"]

    record_property("kept", kept)
    assert job.check() <= IN_FLIGHT
    assert kept < INPUTS
    assert "they are told to stop" in job.said()
    _until(lambda: not _running_jobs(field), 30)


@pytest.mark.cluster_all
def test_what_flink_finishes_without_its_launcher_is_not_done_again(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None]
) -> None:
    """The job's own commit step makes the tables visible."""
    job = Struck(field, faults, "orphan", record_property)
    with job.started(0.3) as launcher:
        launcher.kill()
    _until(lambda: not _running_jobs(field), PATIENCE)

    assert job.again()["skipped"] == INPUTS

    assert job.check() == 0


def _running_jobs(field: Field) -> int:
    ended = ("FINISHED", "FAILED", "CANCELED")
    return sum(job["state"] not in ended for job in field.cluster.rest("/jobs/overview")["jobs"])


def _until(condition: Callable[[], Any], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
