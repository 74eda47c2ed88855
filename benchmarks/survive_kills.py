"""Kills a job again and again, restarts it until it ends, checks its tables and counts inputs sent twice.

The processes are really killed, by SIGKILL, launcher and workers alike, at seeded moments after their first call or
before it. The endpoint counts how often it saw each input. The final tables must equal those of an undisturbed run row
by row; columns that depend on the run (run, times, attempts, request) are left out. One JSON line a case:

    twice        inputs that the endpoint saw again, over all kills; `most_twice` for the costliest kill
    bound        most that one kill may cost: inputs in flight, and what came home in the last 2 s (or in the last
                 `--part-seconds`, if these are fewer), times the endpoint's rate

With `--store s3` the tables lie on a real S3 API server on loopback that answers 503 to 2 % of all requests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.bad_days import Job, until  # noqa: E402  (the tests' job, found by the line above)
from support.fault_server import FaultServer, running  # noqa: E402
from support.s3_server import S3Server, s3_server  # noqa: E402


def main() -> None:
    """Print one line a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--inputs", type=int, default=4000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", choices=["local", "s3"], default="local")
    parser.add_argument("--part-seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running())
        s3 = None
        if options.store == "s3":
            s3 = stack.enter_context(s3_server("lake", failing=0.02, seed=options.seed))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(json.dumps(survive(options, server, s3, folder)), flush=True)


def survive(
    options: argparse.Namespace, server: FaultServer, s3: S3Server | None, folder: Path
) -> dict[str, Any]:
    """Run the case; returns its figures.

    Raises:
        AssertionError: an input was lost, doubled or answered wrongly, or a kill cost more than its bound.
    """
    calm = make_job(options, server, s3, folder, "calm")
    calm.serve(base_ms=1)
    assert calm.run().code == 3
    expected = tables_of(calm, s3, "calm")

    job = make_job(options, server, s3, folder, "out")
    moments = random.Random(options.seed)
    workers = ("--set", f"runner.workers={options.workers}")
    costs, kills, starts, began = [], 0, 0, time.monotonic()
    code = None
    while code is None:
        before = job.sent()
        starts += 1
        with job.start(*workers) as started:
            if kills < options.kills:
                code = killed_at(job, started, moments, options)
                kills += code is None
            else:
                code = started.end(timeout=600).code
        after = job.sent()
        # Inputs that this start sent again: the cost of the previous kill.
        costs.append(sum(after[name] - count for name, count in before.items()))
    assert code == 3, code
    assert tables_of(job, s3, "out") == expected, "the tables differ from those of an undisturbed run"
    sent = job.sent()
    assert len(sent) == job.count, f"{job.count - len(sent)} inputs were never sent"
    twice = sum(sent.values()) - job.count
    bound = job.bound(options.workers)
    assert twice <= kills * bound, f"{twice} inputs twice in {kills} kills, bound {bound} each"
    return {
        "case": "survive_kills",
        "store": options.store,
        "workers": options.workers,
        "inputs": job.count,
        "kills": kills,
        "starts": starts,
        "equal": True,
        "twice": twice,
        "twice_per_kill": round(twice / max(kills, 1), 1),
        "most_twice": max(costs),
        "bound": bound,
        "in_flight": job.in_flight * job.batch * options.workers,
        "failed_requests": s3.failed if s3 else 0,
        "requests": s3.requests if s3 else 0,
        "seconds": round(time.monotonic() - began, 1),
    }


def killed_at(job: Job, started: Any, moments: random.Random, options: argparse.Namespace) -> int | None:
    """Kill every process of a start at a random moment; returns its exit code when it ended before."""
    if moments.random() < 0.2:
        # While it starts, recovers the previous start's parts, or asks for the model's methods.
        delay = moments.uniform(0.5, 4.0)
    else:
        seen = sum(job.sent().values())
        until(lambda: started.process.poll() is not None or sum(job.sent().values()) > seen, timeout=180)
        # Kills are spread over the whole job, its commit and its cleaning among them.
        rate = job.in_flight * job.batch * 1000 / job.base_ms * options.workers
        delay = moments.uniform(0, 2.2 * job.count / rate / max(options.kills, 1))
    ends = time.monotonic() + delay
    while time.monotonic() < ends and started.process.poll() is None:
        time.sleep(0.005)
    code: int | None = started.process.poll()
    if code is None:
        started.kill_all()
    return code


def make_job(
    options: argparse.Namespace, server: FaultServer, s3: S3Server | None, folder: Path, output: str
) -> Job:
    """Make the job with this output."""
    target: dict[str, Any] = {"uri": output}
    if s3 is not None:
        target = {"uri": f"s3://lake/{output}", "storage": s3.storage}
    (folder / output).mkdir()
    return Job(
        folder / output,
        server,
        count=options.inputs,
        batch=4,
        in_flight=4,
        places=4 * options.workers,
        part_seconds=options.part_seconds,
        base_ms=100,
        output=target,
    )


def tables_of(job: Job, s3: S3Server | None, output: str) -> Any:
    """Read the job's tables, on S3 by a local copy."""
    if s3 is None:
        return job.tables(output)
    failing, s3.failing = s3.failing, 0.0
    try:
        for table in ("predictions", "masks", "errors"):
            s3.filesystem().get(f"lake/{output}/{table}", str(job.folder / "copy"), recursive=True)
    finally:
        s3.failing = failing
    return job.tables("copy")


if __name__ == "__main__":
    main()
