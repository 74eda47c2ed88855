"""source.vanished: rows of inputs that the source names no more leave the tables, and never by mistake."""

from __future__ import annotations

import pytest
from support.bad_days import Job
from support.fault_server import running
from support.jobs import rows, run_cli


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


@pytest.fixture
def job(server, tmp_path):
    """Eight done texts, one of them in `errors`, in a job that drops what vanished."""
    (tmp_path / "texts").mkdir()
    for n in range(8):
        (tmp_path / "texts" / f"{n}.txt").write_text(f"text {n}")
    job = Job(tmp_path, server, sections={"source": {"files": "texts/*.txt", "vanished": "drop"}}, base_ms=1)
    assert job.run().code == 3
    return job


def names(job, table="predictions"):
    return [row["uri"].rpartition("/")[2] for row in rows(job.folder / "out", table)]


def remove(job, *numbers):
    for n in numbers:
        (job.folder / "texts" / f"{n}.txt").unlink()


def test_rows_of_what_vanished_go_in_the_commit_of_the_run_and_come_again_with_the_input(job):
    remove(job, 1, 3)
    (job.folder / "texts" / "8.txt").write_text("text 8")

    planned = run_cli("plan", job.path, cwd=job.folder)
    ran, after = job.run(), job.run()

    assert "gone      1 in `predictions` are named no more: their rows are dropped" in planned.out
    assert (ran.code, ran.json["new"], ran.json["gone"], ran.json["dropped"]) == (0, 1, 1, 2), ran.err
    assert (after.json["gone"], after.json["dropped"], after.json["skipped"]) == (0, 0, 7)
    assert names(job) == ["0.txt", "2.txt", "4.txt", "5.txt", "6.txt", "7.txt", "8.txt"]
    assert names(job, "errors") == []
    (job.folder / "texts" / "1.txt").write_text("text 1")
    back = job.run()
    assert (back.code, back.json["new"], back.json["skipped"]) == (0, 1, 7), back.err
    assert names(job)[:3] == ["0.txt", "1.txt", "2.txt"]


def test_a_limited_run_a_retry_and_a_job_that_keeps_drop_nothing(job):
    remove(job, 1)

    for options in (("--limit", "2"), ("--retry-failed",), ("--set", "source.vanished=keep")):
        assert job.run(*options).json["dropped"] == 0

    assert "1.txt" in names(job)


def test_more_than_half_at_once_is_refused_unless_it_is_meant(job):
    remove(job, 0, 1, 2, 4, 5)
    job.serve()

    refused = run_cli("run", job.path, cwd=job.folder)
    planned = run_cli("plan", job.path, cwd=job.folder)

    assert refused.code == 2
    assert (
        "source.vanished: 5 of 8 inputs in out are named by the source no more, which is more" in refused.err
    )
    assert "more than half, so `run` asks for --allow-vanish" in planned.out
    assert len(names(job)) == 7
    meant = job.run("--allow-vanish")
    assert (meant.code, meant.json["dropped"]) == (3, 5), meant.err
    assert names(job) == ["6.txt", "7.txt"]


def test_an_empty_source_drops_nothing_and_is_told(job):
    remove(job, *range(8))

    ran = job.run("--set", "job=scheduled-labeling", "--allow-vanish")

    assert ran.code == 2
    assert "source.vanished: drop drops nothing for an empty source" in ran.json["error"]
    assert len(names(job)) == 7


def test_a_file_of_the_source_that_cannot_be_read_keeps_all_rows(server, tmp_path):
    columns = {"content": "body", "id": "id"}
    source = {"manifest": "lists/*.jsonl", "media": "text", "columns": columns, "vanished": "drop"}
    job = Job(tmp_path, server, sections={"source": source}, base_ms=1)
    (tmp_path / "lists").mkdir()
    for name, start in (("a", 0), ("b", 10)):
        lines = [f'{{"id": "n{n}", "body": "file {n}"}}' for n in range(start, start + 10)]
        (tmp_path / "lists" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    job.serve(inputs={})
    assert job.run().code == 0
    (tmp_path / "lists" / "b.jsonl").write_text('{"id": "n10", "bo\n')

    ran = run_cli("run", job.path, cwd=tmp_path)

    assert ran.code == 3
    assert (
        "nothing is dropped: 10 inputs in out are named no more, but 1 rows or files of the source" in ran.err
    )
    assert len(rows(tmp_path / "out", "predictions")) == 20
