"""After `kill -9` the same command finishes the job, and sends again only what was in flight or in an open part."""

from __future__ import annotations

import sys

import pytest
from support.bad_days import Job, until
from support.fault_server import running


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """The tables of an undisturbed run."""
    job = Job(tmp_path_factory.mktemp("calm"), server, base_ms=5)
    assert job.run().code == 3
    return job.tables()


def test_killed_again_and_again_a_run_ends_as_if_undisturbed_and_lost_its_open_parts(
    server, tmp_path, undisturbed
):
    job = Job(tmp_path, server)

    for moment in (20, 130, 232):
        with job.start() as started:
            job.wait_for_sent(moment)
            started.kill_all()
    ran = job.run()

    assert ran.code == 3, ran.err
    assert job.tables() == undisturbed
    assert ran.json["inputs"] == job.count
    sent = job.sent()
    assert len(sent) == job.count
    assert sum(sent.values()) - job.count <= 3 * job.bound()


def test_what_was_durable_when_the_kill_came_is_not_sent_again(server, tmp_path):
    job = Job(tmp_path, server)

    with job.start() as started:
        until(lambda: job.durable() >= 40)
        started.kill_all()
    durable, before = job.durable(), sum(job.sent().values())
    ran = job.run()

    assert ran.json["skipped"] >= durable
    assert sum(job.sent().values()) == before + job.count - durable


def test_two_worker_processes_killed_with_their_launcher_end_as_if_undisturbed(server, tmp_path, undisturbed):
    job = Job(tmp_path, server, places=4)

    with job.start("--set", "runner.workers=2") as started:
        job.wait_for_sent(120)
        started.kill_all()
    assert job.run("--set", "runner.workers=2").code == 3

    assert job.tables() == undisturbed
    assert sum(job.sent().values()) - job.count <= job.bound(workers=2)


def test_workers_end_soon_after_their_launcher_is_killed_and_pay_for_little_more(server, tmp_path):
    job = Job(tmp_path, server, count=2000, places=4, base_ms=100, part_seconds=60)

    with job.start("--set", "runner.workers=2") as started:
        job.wait_for_sent(60)
        assert len(started.group()) >= 3
        started.kill_launcher()
        before = sum(job.sent().values())
        until(lambda: not started.group(), timeout=10, what="the workers' end")

    # 160 inputs a second would have gone on for ten seconds.
    assert sum(job.sent().values()) - before < 800


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells one process from the next of its number"
)
def test_the_lock_of_a_killed_run_expires_at_once_on_its_own_machine(server, tmp_path):
    job = Job(tmp_path, server)

    with job.start() as started:
        job.wait_for_sent(40)
        started.kill_all()
    (claim,) = (tmp_path / "out" / "_runs" / "locks").iterdir()
    ran = job.run()

    assert ran.code == 3, ran.err
    assert not claim.exists()
    assert not list((tmp_path / "out" / "_runs" / "locks").iterdir())
    assert ran.seconds < 20  # it does not wait a minute for the claim to expire
