"""The preflight's check of an output directory, and what a run's record holds and leaves out."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.runs.job_text import without_secrets
from bulkinfer.transforms.runs.record import begin_run, list_runs, read_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.output_check import check_output, names_as_written
from support.tables import failure, make_spec, prediction, stage

RUN = "20260131T120000Z-000001"


@pytest.fixture
def finished(tmp_path):
    spec = make_spec(str(tmp_path), RUN)
    stage(spec, [[prediction("a"), failure("b")]])
    commit_run(spec.store(), RUN)
    return spec


def test_a_new_directory_is_fine_and_plan_writes_nothing(tmp_path):
    spec = make_spec(str(tmp_path / "out"))
    check_output(spec.store(), spec, write=False)
    assert not (tmp_path / "out").exists()
    check_output(spec.store(), spec, write=True)
    assert spec.store().find() == []


def test_a_directory_that_cannot_be_written_is_told():
    spec = make_spec("/proc/nothing")
    with pytest.raises(StoreError, match="cannot write /proc/nothing/_runs/probe-"):
        check_output(spec.store(), spec, write=True)


def test_an_output_that_is_a_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "refs.csv").write_text("a,b\n")
    spec = make_spec(str(tmp_path / "refs.csv"))

    with pytest.raises(ConfigError, match=r"refs\.csv is a file; name a folder"):
        check_output(spec.store(), spec, write=False)


def test_an_output_whose_files_would_have_too_long_names_is_refused():
    for uri, room in (("s3://lake/" + "a" * 900, 123), ("/" + "/".join(["a" * 200] * 20), 27)):
        spec = make_spec(uri)
        assert spec.store().path_bytes == room
        with pytest.raises(
            ConfigError, match=rf"is too long: .* its store leaves {room} for them; set a shorter"
        ):
            check_output(spec.store(), spec, write=False)


@pytest.mark.parametrize("table", ["predictions", "masks", "errors"])
@pytest.mark.parametrize("harm", ["empty", "cut", "other"])
def test_a_damaged_file_of_an_earlier_run_is_told_before_the_commit_meets_it(finished, table, harm):
    store = finished.store()
    (entry,) = store.find(table)
    data = store.read(entry.path)
    store.write(entry.path, {"empty": b"", "cut": data[:-9], "other": b"no Parquet at all"}[harm])

    with pytest.raises(
        StoreError, match=rf"{table}/part-.* cannot be read: .*; restore the file, or delete it"
    ):
        check_output(store, finished, write=False)

    store.remove(entry.path)
    check_output(store, finished, write=False)


def test_another_model_may_write_there(finished):
    check_output(finished.store(), make_spec(finished.uri, "later", fingerprint="two"), write=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"partition_by": ("city",)},
            r"holds tables partitioned by \[\] from run .*, but this job writes city; set",
        ),
        (
            {"keep_schema": pa.schema([("land", pa.string())])},
            "holds kept columns city string from run .*, but this job writes land string; keep these too",
        ),
    ],
)
def test_tables_of_another_layout_are_refused(finished, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_output(finished.store(), make_spec(finished.uri, "later", **changes), write=False)


def test_further_kept_columns_and_wider_types_are_for_the_commit(finished):
    keep = pa.schema([("land", pa.string()), ("city", pa.int64())])
    check_output(finished.store(), make_spec(finished.uri, "later", keep_schema=keep), write=False)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            ("area", pa.int64()),
            "'area', which is a column of the masks table itself; keep the column under another",
        ),
        (
            ("tags", pa.list_(pa.string())),
            "'tags', which holds list<item: string>, and no value of it names a folder",
        ),
    ],
)
def test_a_column_that_cannot_partition_is_refused(tmp_path, field, message):
    spec = make_spec(str(tmp_path), keep_schema=pa.schema([field]), partition_by=(field[0],))
    with pytest.raises(ConfigError, match=f"output.partition_by names {message}"):
        check_output(spec.store(), spec, write=False)


def test_tables_that_no_run_wrote_are_refused(finished):
    finished.store().write("predictions/mine.parquet", b"")
    with pytest.raises(
        ConfigError, match=r"mine\.parquet was written by no run that .*; move it away, or set another"
    ):
        check_output(finished.store(), finished, write=False)


def test_a_record_of_a_newer_version_is_refused(finished):
    store, path = finished.store(), f"_runs/{RUN}/run.json"
    store.write(path, json.dumps({**json.loads(store.read(path)), "format": 2}).encode())
    with pytest.raises(
        StoreError, match=r"written by a newer version of bulkinfer \(format 2, this one reads 1\)"
    ):
        check_output(store, finished, write=False)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"run": 1}', b'{"format": 1}'])
def test_a_record_of_another_tool_is_refused(finished, data):
    finished.store().write("_runs/theirs/run.json", data)
    with pytest.raises(
        StoreError, match=r"theirs/run\.json is no run record of bulkinfer .*; move its directory"
    ):
        check_output(finished.store(), finished, write=False)


def test_a_record_with_words_of_a_later_version_is_read(finished):
    store, path = finished.store(), f"_runs/{RUN}/run.json"
    store.write(path, json.dumps({**json.loads(store.read(path)), "novelty": 2}).encode())
    assert read_run(store, RUN).committed


def test_a_directory_without_a_record_is_no_run(finished):
    finished.store().write("_runs/notes/a.txt", b"")
    assert [run.run_id for run in list_runs(finished.store())] == [RUN]


def test_the_record_tells_what_the_run_did(finished):
    run = read_run(finished.store(), RUN)
    assert (run.state, run.fingerprint, run.model_url) == ("committed", "one", finished.model_url)
    assert {name: run.counts[name] for name in ("inputs", "predictions", "errors")} == {
        "inputs": 2,
        "predictions": 1,
        "errors": 1,
    }
    assert run.started_at <= run.finished_at
    assert {"bulkinfer", "pyarrow", "apache-beam", "python"} <= run.versions.keys()


def test_a_run_that_wrote_nothing_is_closed_by_the_next_start(tmp_path):
    spec = make_spec(str(tmp_path), RUN)
    begin_run(spec.store(), spec)
    (result,) = recover(spec.store())
    assert result.inputs == 0
    assert recover(spec.store()) == []


def test_runs_are_numbered_as_they_start(tmp_path):
    for name in ("b", "a", "c"):
        spec = make_spec(str(tmp_path), name)
        begin_run(spec.store(), spec)
    assert [(run.run_id, run.sequence) for run in list_runs(Store(str(tmp_path)))] == [
        ("b", 1),
        ("a", 2),
        ("c", 3),
    ]


def test_no_secret_reaches_the_record(tmp_path):
    job = {
        "source": {"files": "https://me:hunter2@host/x?X-Amz-Signature=feed", "storage": {"key": "AKIA"}},
        "output": {"storage": {"client_kwargs": {"endpoint_url": "http://s3", "token": "abc"}}},
        "model": {"arguments": {"api_key": "sk-1", "max_tokens": 5, "prompt": "hi"}},
    }
    spec = make_spec(str(tmp_path), RUN)
    begin_run(spec.store(), spec, job)

    text = spec.store().read(f"_runs/{RUN}/run.json").decode()
    for secret in ("hunter2", "feed", "AKIA", "abc", "sk-1"):
        assert secret not in text
    assert without_secrets(job)["model"]["arguments"]["prompt"] == "hi"


def rewrite(store, **changes):
    values = json.loads(store.read(f"_runs/{RUN}/run.json"))
    for key, value in changes.items():
        values["layout"].pop(key, None) if value is None else values["layout"].update({key: value})
    store.write(f"_runs/{RUN}/run.json", json.dumps(values).encode())


@pytest.mark.parametrize(
    ("job", "written"),
    [
        ({"source": {"files": "photos/*.jpg"}}, True),
        ({"source": {"files": ["/p/*.jpg", "file:///p/*.png"]}}, True),
        ({"source": {"files": "${FOLDER}/*.jpg"}}, True),
        ({"source": {"files": ["/p/*.jpg", "s3://b/*.png"]}}, False),
        ({"source": {"manifest": "refs.csv"}}, True),
        ({"source": {"table": "s3://b/t"}}, False),
        ({}, True),
    ],
)
def test_an_output_keeps_the_names_that_its_first_run_gave(tmp_path, job, written):
    """Runs of old said nothing about names; they are canonical where the job's spelling was."""
    spec = make_spec(str(tmp_path), RUN)
    assert not names_as_written([])
    begin_run(spec.store(), spec, job)
    stage(spec, [[prediction("a")]])
    commit_run(spec.store(), RUN)
    assert not names_as_written(list_runs(spec.store()))
    rewrite(spec.store(), ids=None)
    assert names_as_written(list_runs(spec.store())) is written

    later = make_spec(str(tmp_path), "later", as_written=written)
    stage(later, [[prediction("b")]])
    commit_run(later.store(), "later")
    assert names_as_written(list_runs(spec.store())) is written


def test_names_relative_to_another_folder_are_refused(tmp_path):
    spec = make_spec(str(tmp_path), RUN, relative_to="/jobs/one")
    stage(spec, [[prediction("a.jpg")]])
    for committed in (False, True):
        if committed:
            commit_run(spec.store(), RUN)
        for fine in ("", "/jobs/one"):
            check_output(spec.store(), make_spec(spec.uri, "later", relative_to=fine), write=False)
        with pytest.raises(
            ConfigError, match=r"ids are relative to /jobs/one, and this job's .* to /jobs/two, so"
        ):
            check_output(spec.store(), make_spec(spec.uri, "later", relative_to="/jobs/two"), write=False)
