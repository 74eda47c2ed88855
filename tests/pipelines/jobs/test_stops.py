"""Jobs that stop early by themselves: too many errors, a spent budget, a permanent fault."""

from __future__ import annotations

import pytest
from support.bad_days import BAD_INPUT, Job
from support.fault_server import running
from support.jobs import rows


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


def kept(job):
    """List the inputs in the tables."""
    tables = (rows(job.folder / "out", table) for table in ("predictions", "errors"))
    return [row["input_id"] for table in tables for row in table]


def test_too_many_errors_stop_the_job_with_what_was_paid_in_the_tables(server, tmp_path):
    job = Job(tmp_path, server, count=600, sections={"stop": {"error_ratio": 0.2}})
    job.serve(calls=[{"kind": "status", "code": BAD_INPUT}], base_ms=10)

    ran = job.run()

    assert ran.code == 4, ran.err
    assert "stop.error_ratio=0.2" in ran.json["stopped"]
    assert 100 <= len(set(kept(job))) == len(kept(job)) < 200
    assert {row["error_type"] for row in rows(tmp_path / "out", "errors")} == {"input_unsupported_format"}

    job.serve(base_ms=1)
    again = job.run()
    assert again.code in (3, 4), again.err
    assert again.json["skipped"] == ran.json["errors"]


def test_a_budget_is_not_exceeded_and_the_same_command_does_the_next_inputs(server, tmp_path):
    job = Job(tmp_path, server, count=100, base_ms=1, sections={"stop": {"inputs": 40, "error_ratio": 1}})

    runs = [job.run() for _ in range(3)]

    assert [ran.code for ran in runs] == [4, 4, 3], runs[0].err
    assert [ran.json["predictions"] + ran.json["errors"] for ran in runs] == [40, 40, 20]
    assert "stop.inputs allows 40" in runs[0].json["stopped"]
    assert set(job.sent().values()) == {1}
    job.check()


def test_a_budget_is_divided_between_two_workers(server, tmp_path):
    job = Job(tmp_path, server, count=100, base_ms=1, sections={"stop": {"inputs": 40, "error_ratio": 1}})

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 4, ran.err
    assert sum(job.sent().values()) == len(kept(job)) <= 40


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "status", "code": 11008}, "check CLARIFAI_PAT"),
        ({"kind": "status", "code": 21200}, "check model.url"),
        (
            {"kind": "status", "code": 10020, "details": "Method predict not found in model class"},
            "model.method",
        ),
    ],
    ids=["wrong key", "model gone", "method gone"],
)
def test_a_fault_that_stays_ends_the_job_quickly_with_one_message_and_keeps_what_was_done(
    server, tmp_path, fault, words
):
    job = Job(tmp_path, server, count=2000)
    job.serve(calls=[{**fault, "from": 20}])

    ran = job.run()

    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("bulkinfer: ")]) == 1
    # 20 calls succeeded, and a few were in flight when the first one failed.
    assert len(job.server.stats()["arrivals"]) <= 20 + 2 * job.in_flight
    assert len(set(kept(job))) == len(kept(job)) == 20 * job.batch


def test_a_fault_in_one_worker_process_ends_both_with_its_message(server, tmp_path):
    job = Job(tmp_path, server, count=2000)
    job.serve(calls=[{"kind": "status", "code": 11008, "from": 20}])

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 1
    assert "check CLARIFAI_PAT" in ran.err
    assert "Traceback" not in ran.err
    assert len(set(kept(job))) == len(kept(job)) == 20 * job.batch


def test_an_endpoint_that_comes_back_costs_time_and_nothing_else(server, tmp_path):
    job = Job(tmp_path, server, count=120, base_ms=1)
    job.serve(calls=[{"kind": "grpc", "code": "UNAVAILABLE", "from": 5, "to": 15}])

    ran = job.run()

    assert ran.code == 3, ran.err
    assert ran.json["retries"] >= 5
    job.check()
