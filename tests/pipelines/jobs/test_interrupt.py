"""Ctrl-C and SIGTERM: calls in flight finish, the tables are written, and the same command continues."""

from __future__ import annotations

import json
import signal

import pytest
from support.bad_days import Job, until
from support.fault_server import running
from support.jobs import rows


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


def stop(job, *options, by):
    """Start the job, wait for calls, stop it; returns how it ended."""
    with job.start(*options) as started:
        job.wait_for_sent(80)
        by(started)
        ran = started.end()
        until(lambda: not started.group(), what="the end of every process")
    return ran


@pytest.mark.parametrize(
    ("name", "options", "by"),
    [
        ("SIGTERM", (), lambda started: started.process.terminate()),
        ("SIGINT", (), lambda started: started.signal_all(signal.SIGINT)),
        pytest.param(
            "SIGINT",
            ("--set", "runner.workers=2"),
            lambda started: started.signal_all(signal.SIGINT),
            marks=pytest.mark.slow,
        ),
        ("SIGHUP", ("--set", "runner.workers=2"), lambda started: started.signal_all(signal.SIGHUP)),
    ],
    ids=["sigterm", "ctrl-c", "ctrl-c with two workers", "the terminal of two workers closes"],
)
def test_an_interrupt_loses_nothing_that_was_sent_and_the_same_command_goes_on(
    server, tmp_path, name, options, by
):
    job = Job(tmp_path, server, count=600, places=4)

    first = stop(job, *options, by=by)
    sent = job.sent()
    kept = rows(tmp_path / "out", "predictions") + rows(tmp_path / "out", "errors")
    second = job.run(*options)

    assert first.code == 4, first.err
    assert name in first.err
    assert "Traceback" not in first.err
    assert name in json.loads(first.out)["stopped"]
    # Each answer that was paid for is in the tables when the command ends.
    assert len(kept) == len(sent) < job.count
    assert second.code == 3, second.err
    assert second.json["skipped"] == len(kept)
    assert set(job.sent().values()) == {1}
    job.check()


def test_a_second_ctrl_c_ends_at_once_and_what_was_durable_stays(server, tmp_path):
    job = Job(tmp_path, server, count=400)
    with job.start() as started:
        until(lambda: job.durable() >= 40)
        job.serve(base_ms=30_000)  # calls that start from now on would take half a minute
        job.wait_for_sent(8)
        started.signal_all(signal.SIGINT)
        until(lambda: list(tmp_path.glob("out/_runs/*/stop.json")))
        durable = job.durable()
        started.signal_all(signal.SIGINT)
        ran = started.end(timeout=5)
    job.serve()
    again = job.run()

    assert ran.code == 4
    assert "SIGINT again: ended at once" in ran.err
    assert again.json["skipped"] >= durable
    assert sum(job.sent().values()) == job.count - again.json["skipped"]
    job.check()


def test_an_interrupt_before_the_first_call_leaves_nothing_half_done(server, tmp_path):
    # More than the calls that may have begun by the time the signal comes: else there is nothing left to stop.
    job = Job(tmp_path, server, count=600, places=4)

    with job.start() as started:
        until(lambda: list(tmp_path.glob("out/_runs/*/run.json")))
        started.signal_all(signal.SIGINT)
        ran = started.end()

    assert ran.code == 4, ran.err
    assert "Traceback" not in ran.err
    assert job.run().code == 3
    job.check()
