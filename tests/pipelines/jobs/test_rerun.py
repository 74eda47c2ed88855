"""Running a job again: with --retry-failed, with --force, and after content or arguments changed."""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest
from support.bad_days import BAD_INPUT, MODEL_URL, Job
from support.fault_server import running
from support.jobs import rows, run_cli


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def first(server, tmp_path_factory):
    """A finished job of 40 texts, three of them refused: n00003 and n00037 for one reason, n00020 for another."""
    job = Job(tmp_path_factory.mktemp("first"), server, count=40, base_ms=1, part_seconds=60)
    job.serve(inputs={**refused("text 3", "text 37"), "text 20": {"kind": "output", "code": 30100}})
    ran = job.run()
    assert (ran.code, ran.json["predictions"], ran.json["errors"]) == (3, 37, 3), ran.err
    return job


@pytest.fixture
def done(first, tmp_path):
    """The finished job in a folder of its own; its server now refuses nothing."""
    shutil.copytree(first.folder, tmp_path, dirs_exist_ok=True)
    job = dataclasses.replace(first, folder=tmp_path)
    job.serve(inputs={})
    return job


def refused(*texts):
    return {text: {"kind": "output", "code": BAD_INPUT} for text in texts}


def ids(job, table):
    return [row["input_id"] for row in rows(job.folder / "out", table)]


def test_retry_failed_moves_what_succeeds_into_predictions_and_sends_nothing_else(done):
    done.serve(inputs=refused("text 37"))

    ran = done.run("--retry-failed")

    assert ran.code == 3, ran.err
    assert set(done.sent()) == {"text 3", "text 20", "text 37"}
    assert ids(done, "predictions") == [f"n{n:05}" for n in range(40) if n != 37]
    assert ids(done, "errors") == ["n00037"]
    done.serve(inputs={})
    assert done.run("--retry-failed").code == 0
    assert ids(done, "errors") == []
    assert len(ids(done, "predictions")) == 40


def test_retry_failed_by_type_leaves_the_other_errors(done):
    ran = done.run("--retry-failed", "--error-type", "input_duplicate")

    assert ran.code == 3, ran.err
    assert set(done.sent()) == {"text 20"}
    assert ids(done, "errors") == ["n00003", "n00037"]
    assert len(ids(done, "predictions")) == 38


def test_force_sends_everything_and_replaces_every_row(done):
    before = {row["run_id"] for row in rows(done.folder / "out", "predictions")}

    ran = done.run("--force")

    assert ran.code == 0, ran.err
    assert len(done.sent()) == 40
    found = rows(done.folder / "out", "predictions")
    assert [row["input_id"] for row in found] == [f"n{n:05}" for n in range(40)]
    assert not before & {row["run_id"] for row in found}
    assert ids(done, "errors") == []


def test_a_killed_force_goes_on_with_force_and_doubles_nothing(server, tmp_path):
    job = Job(tmp_path, server, count=120, base_ms=5)
    assert job.run().code == 3

    job.serve(base_ms=50)
    with job.start("--force") as started:
        job.wait_for_sent(60)
        started.kill_all()
    assert job.run("--force").code == 3
    job.check()


def test_content_that_changed_is_sent_again_and_its_old_rows_are_replaced(done):
    def text(n):
        return f"text {n} rewritten" if n in (5, 20, 30) else f"text {n}"

    done.write_manifest(text)
    ran = done.run()

    assert ran.code == 3, ran.err
    assert (ran.json["predictions"], ran.json["skipped"]) == (3, 37)
    assert set(done.sent()) == {text(5), text(20), text(30)}
    answers = {row["input_id"]: row["text"] for row in rows(done.folder / "out", "predictions")}
    assert answers == {f"n{n:05}": f"ok {text(n)}" for n in range(40) if n not in (3, 37)}
    assert ids(done, "errors") == ["n00003", "n00037"]


def test_a_file_that_was_rewritten_is_sent_again_and_one_that_was_touched_is_not(server, tmp_path):
    (tmp_path / "texts").mkdir()
    for n in range(6):
        (tmp_path / "texts" / f"{n}.txt").write_text(f"file {n}")
    job = Job(tmp_path, server, sections={"source": {"files": "texts/*.txt"}})
    job.serve(inputs={})
    assert job.run().code == 0

    (tmp_path / "texts" / "2.txt").write_text("file 2, longer")
    (tmp_path / "texts" / "6.txt").write_text("file 6")
    (tmp_path / "texts" / "0.txt").unlink()
    os.utime(tmp_path / "texts" / "3.txt", (0, 0))
    job.serve(inputs={})
    planned = run_cli("plan", job.path, "--json", cwd=tmp_path)
    ran = job.run()

    difference = {
        "inputs": 6,
        "new": 1,
        "changed": 2,
        "touched": 2,
        "done": 3,
        "failed": 0,
        "gone": 1,
        "calls": 1,
    }
    assert {name: planned.json[name] for name in difference} == difference
    assert planned.json["bytes"] == len("file 2, longer" + "file 3" + "file 6")
    assert (ran.code, ran.json["predictions"], ran.json["skipped"]) == (0, 2, 4), ran.err
    assert {name: ran.json[name] for name in ("new", "changed", "remaining", "gone")} == {
        **{"new": 1, "changed": 1, "remaining": 0, "gone": 1}
    }
    assert set(job.sent()) == {"file 2, longer", "file 6"}
    assert [row["text"] for row in rows(tmp_path / "out", "predictions")] == [
        f"ok file {n}" + (", longer" if n == 2 else "") for n in range(7)
    ]


ANOTHER = {"arguments": {"text": {"template": "{body}?"}}}


def test_another_argument_is_refused_until_the_job_says_what_becomes_of_what_is_paid(done):
    done.write(model={**model_of(done), **ANOTHER})
    before = {row["run_id"] for row in rows(done.folder / "out", "predictions")}

    planned = run_cli("plan", done.path, cwd=done.folder)
    ran = run_cli("run", done.path, cwd=done.folder)

    for refused_one in (planned, ran):
        assert refused_one.code == 2
        assert (
            "on_change: 37 inputs of the source are in out/predictions with another set of arguments"
            in refused_one.err
        )
        assert "write on_change: redo to do them again, keep to leave" in refused_one.err
    assert not done.sent()
    assert {row["run_id"] for row in rows(done.folder / "out", "predictions")} == before


def test_on_change_redo_asks_everything_anew_and_replaces_every_row(done):
    done.write(model={**model_of(done), **ANOTHER}, on_change="redo")

    planned = run_cli("plan", done.path, "--json", cwd=done.folder)
    ran = done.run()

    assert (planned.json["changed"], planned.json["outdated"]) == (40, 37)
    assert (ran.code, ran.json["skipped"]) == (0, 0), ran.err
    assert [row["text"] for row in rows(done.folder / "out", "predictions")] == [
        f"ok text {n}?" for n in range(40)
    ]
    assert ids(done, "errors") == []


def test_on_change_keep_sends_only_what_is_new_or_changed(done):
    done.count = 42
    done.write_manifest(lambda n: "rewritten" if n == 5 else f"text {n}")
    done.write(model={**model_of(done), **ANOTHER}, on_change="keep")

    ran = done.run()

    assert (ran.code, ran.json["new"], ran.json["changed"], ran.json["skipped"]) == (3, 2, 1, 39), ran.err
    assert set(done.sent()) == {"rewritten?", "text 40?", "text 41?"}
    texts = {row["input_id"]: row["text"] for row in rows(done.folder / "out", "predictions")}
    assert (len(texts), texts["n00004"], texts["n00005"]) == (39, "ok text 4", "ok rewritten?")


def test_on_change_keep_both_has_the_rows_of_both_jobs_and_pays_for_each_once(done):
    done.write(model={**model_of(done), **ANOTHER}, on_change="keep_both")

    ran, again = done.run(), done.run()

    assert (ran.code, ran.json["predictions"]) == (0, 40), ran.err
    assert (again.code, again.json["skipped"], again.json["calls"]) == (0, 40, 0), again.err
    texts = sorted(row["text"] for row in rows(done.folder / "out", "predictions"))
    assert texts == sorted(
        [f"ok text {n}" for n in range(40) if n not in (3, 20, 37)] + [f"ok text {n}?" for n in range(40)]
    )
    assert ids(done, "errors") == []
    done.write(model={**model_of(done), **ANOTHER}, on_change="redo")
    assert done.run("--force").json["predictions"] == 40
    assert len(ids(done, "predictions")) == 40


def test_another_model_says_which_one_answered(done):
    url = "https://clarifai.com/acme/lab/models/other"
    done.write(model={**model_of(done), "url": url})

    refused_one = run_cli("run", done.path, cwd=done.folder)
    ran = done.run("--set", "on_change=redo")

    assert f"another model: {MODEL_URL} then, {url} now" in refused_one.err
    assert (ran.code, ran.json["predictions"], ran.json["skipped"]) == (0, 40, 0), ran.err
    found = rows(done.folder / "out", "predictions")
    assert len(found) == 40
    assert {row["model_url"] for row in found} == {url}


def test_inputs_of_another_source_join_what_is_there(done):
    done.count = 45
    done.write_manifest()

    ran = done.run()

    assert (ran.code, ran.json["predictions"], ran.json["skipped"]) == (3, 5, 40), ran.err
    assert len(ids(done, "predictions")) == 42


def test_inputs_whose_rows_somebody_removed_are_done_again_with_one_warning(done):
    (file,) = (done.folder / "out" / "predictions").glob("part-*.parquet")
    file.unlink()

    ran = run_cli("run", done.path, "--json", cwd=done.folder)

    assert (ran.code, ran.json["predictions"], ran.json["skipped"], ran.json["new"]) == (3, 37, 3, 37), (
        ran.err
    )
    assert ran.err.count("the 37 inputs whose rows stood there count as not done") == 1
    assert len(ids(done, "predictions")) == 37
    assert "count as not done" not in run_cli("run", done.path, cwd=done.folder).err


def model_of(job):
    return {"url": MODEL_URL, "endpoint": job.server.endpoint}


def test_a_retry_of_failed_inputs_says_what_no_run_has_done(server, tmp_path):
    (tmp_path / "texts").mkdir()
    for n in range(6):
        (tmp_path / "texts" / f"{n}.txt").write_text(f"file {n}")
    job = Job(tmp_path, server, sections={"source": {"files": "texts/*.txt"}})
    job.serve(inputs={})

    nothing = job.run("--retry-failed")
    some = job.run("--limit", "4")
    rest = run_cli("run", job.path, "--retry-failed", cwd=tmp_path)

    assert (nothing.code, nothing.json["remaining"], nothing.json["skipped"]) == (4, 6, 0), nothing.err
    assert (nothing.json["gone"], some.json["gone"]) == (0, None)  # a limited run does not know
    assert (some.code, some.json["remaining"], some.json["new"]) == (0, 2, 4), some.err
    assert rest.code == 4
    assert "2 inputs are not done: bulkinfer run " in rest.out
    assert rest.err.startswith("run ")
    assert f"of {MODEL_URL} at {server.endpoint}: texts/*.txt -> out" in rest.err.splitlines()[0]
    assert "0 new, 0 changed, 2 remaining, 0 gone from the source" in rest.out
    assert "--retry-failed" not in rest.out
    assert job.run().json["remaining"] == 0
