"""A job file is read as written, or refused with one message that says what to write instead."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.job.job_file import load_job

MINIMAL = "source: {files: photos/*.jpg}\nmodel: {endpoint: embedded}\noutput: {uri: out}\n"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return str(path)


def test_defaults_are_those_of_the_contract(tmp_path):
    config = load_job(write(tmp_path, MINIMAL)).config

    assert (config.calls.batch_size, config.calls.in_flight, config.calls.timeout) == (32, 16, 60.0)
    assert (int(config.calls.batch_bytes), int(config.calls.in_flight_bytes)) == (32_000_000, 256_000_000)
    assert (config.calls.retry_for, config.calls.calls_per_second) == (600.0, None)
    assert (config.model.method, config.output.masks, config.stop.error_ratio) == ("predict", "rle", 0.2)
    assert (config.runner.name, config.runner.workers, config.job) == ("direct", 1, "bulk-inference")


@pytest.mark.parametrize(
    ("value", "pixels"),
    [("180MP", None), ("85M", 85_000_000), ("1000", 1000), ("2.5M", 2_500_000), ("null", ...)],
)
def test_pictures_may_have_as_many_pixels_as_is_written(tmp_path, value, pixels):
    text = MINIMAL.replace("photos/*.jpg", f"photos/*.jpg, image: {{max_pixels: {value}}}")

    if pixels is None:
        with pytest.raises(ConfigError, match=r"source\.image\.max_pixels"):
            load_job(write(tmp_path, text))
        return
    found = load_job(write(tmp_path, text)).config.source.image
    assert (found.max_pixels, found.orientation) == (None if pixels is ... else pixels, "keep")
    assert load_job(write(tmp_path, MINIMAL)).config.source.image.max_pixels == 85_000_000


def test_a_job_pickles(tmp_path):
    job = load_job(write(tmp_path, MINIMAL))

    assert pickle.loads(pickle.dumps(job)) == job


def test_overrides_win_and_are_read_as_yaml(tmp_path):
    job = load_job(
        write(tmp_path, MINIMAL), ["calls.in_flight=4", "calls.retry_for=2m", "model.arguments.max_tokens=0"]
    )

    assert (job.config.calls.in_flight, job.config.calls.retry_for) == (4, 120.0)
    assert job.config.model.arguments == {"max_tokens": 0}


def test_an_override_may_replace_the_kind_of_source(tmp_path):
    job = load_job(write(tmp_path, MINIMAL), ["source.manifest=refs.csv", "source.columns.uri=uri"])

    assert (job.config.source.files, job.config.source.manifest) == (None, "refs.csv")


def test_variables_are_filled_in_but_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("BUCKET_SECRET", "hunter2")
    text = MINIMAL.replace("{uri: out}", "{uri: out, storage: {secret: '${BUCKET_SECRET}'}}")

    job = load_job(write(tmp_path, text))

    assert job.config.output.storage == {"secret": "hunter2"}
    assert "hunter2" not in json.dumps(job.record)


def test_a_lone_variable_may_stand_for_a_number(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACES", "7")

    assert (
        load_job(write(tmp_path, MINIMAL + "calls: {in_flight: '${PLACES}'}\n")).config.calls.in_flight == 7
    )


@pytest.mark.parametrize("url", ["http://user:hunter2@host/x", "https://host/x?sig=hunter2&a=1"])
def test_secrets_inside_urls_and_under_telling_keys_are_not_recorded(tmp_path, url):
    text = yaml.safe_dump(
        {
            "source": {"files": url, "storage": {"client_kwargs": {"aws_secret_access_key": "hunter2"}}},
            "model": {"endpoint": "embedded"},
            "output": {"uri": "out"},
        }
    )

    assert "hunter2" not in json.dumps(load_job(write(tmp_path, text)).record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("calls: {batch_sise: 3}", r"job.yaml:4: calls.batch_sise: unknown key; did you mean batch_size\?"),
        (
            "calls: {batch_size: 5000}",
            r"job.yaml:4: calls.batch_size: 5000 does not fit; write less than or equal to 2048",
        ),
        (
            "calls: {timeout: soon}",
            r"calls.timeout: 'soon' is no duration; write a number with a unit, as in 30s",
        ),
        (
            "calls: {batch_bytes: 1GB}",
            r"job.yaml:4: calls: batch_bytes=1000000000 is above in_flight_bytes=256000000",
        ),
        ("calls: 3", r"job.yaml:4: calls: 3 stands where keys are expected"),
        ("job: lake-enrichment", r"lake-enrichment enriches a table; add source.table"),
        (
            "stop: {inputs: 3}\nrunner: {workers: 4}",
            r"stop.inputs=3 is divided among runner.workers=4.* raise stop.inputs or lower runner.workers",
        ),
        ("runner: {name: ray}", r"job.yaml:4: runner.name: 'ray' is not known; write one of 'direct'"),
        ("stop: {error_ratio: 2}", r"stop.error_ratio: 2 does not fit; write less than or equal to 1"),
        ("zzz: 1", r"job.yaml:4: zzz: unknown key; known here: calls, job, model, on_change, output"),
        (
            "calls: {in_flight: '${NO_SUCH_NAME}'}",
            r"calls.in_flight: the environment variable NO_SUCH_NAME is not set",
        ),
        (
            "calls: {in_flight: 1, in_flight: 2}",
            r"job.yaml:4: calls.in_flight is given twice, first in line 4",
        ),
        ("calls: [", r"job.yaml:5: not valid YAML"),
    ],
)
def test_a_fault_is_named_by_file_line_key_and_fix(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        load_job(write(tmp_path, MINIMAL + change + "\n"))


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("source", "{}", "exactly one of files, manifest, table must be given, found none"),
        ("source", "{files: a, manifest: b}", "found files and manifest"),
        ("source", "{files: a, columns: {uri: u}}", "columns belong to a manifest or a table"),
        (
            "source",
            "{manifest: a.csv}",
            "needs columns: {uri: COLUMN} or columns: {content: COLUMN, id: COLUMN}",
        ),
        ("source", "{manifest: a.csv, columns: {uri: u, content: c}}", "both say where the content is"),
        ("source", "{manifest: a.csv, columns: {content: c}}", "needs an id column as well"),
        ("model", "{}", "no model is named; add url"),
        ("model", "{user_id: a, endpoint: embedded}", "also needs app_id, model_id"),
        ("model", "{url: u, user_id: a, app_id: b, model_id: c}", "both name the model"),
        (
            "model",
            "{url: u, deployment: {id: d, user_id: u}, nodepool: {id: n, compute_cluster_id: c, user_id: u}}",
            "deployment and nodepool both say where to send",
        ),
        ("model", "{url: u, stream: {piece_bytes: 1, piece_seconds: 1}}", "both say where to cut"),
        (
            "output",
            "{uri: out, partition_by: city}",
            "neither `date`, `model` nor a column in source.columns.keep",
        ),
    ],
)
def test_impossible_combinations_are_refused(tmp_path, section, value, message):
    sections = yaml.safe_load(MINIMAL)
    sections[section] = yaml.safe_load(value)

    with pytest.raises(ConfigError) as caught:
        load_job(write(tmp_path, yaml.safe_dump(sections)))

    assert message in str(caught.value)


def test_a_missing_section_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"output: this key is missing; add it"):
        load_job(write(tmp_path, "source: {files: a}\nmodel: {endpoint: embedded}\n"))


def test_every_fault_is_listed_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_job(write(tmp_path, MINIMAL + "calls: {batch_size: 0, in_flight: x}\n"))

    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("override", ["calls.in_flight", "=3", "calls..x=1", "job.a.b=1"])
def test_an_override_that_names_nothing_is_refused(tmp_path, override):
    with pytest.raises(ConfigError, match="--set"):
        load_job(write(tmp_path, MINIMAL + "job: bulk-inference\n"), [override])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such job file"),
        (lambda path: path.mkdir(), "this is a directory"),
        (lambda path: path.write_bytes(b"a: \xff"), "not UTF-8 text at byte 3"),
        (lambda path: path.write_text("- 1\n"), "holds list, not keys"),
        (lambda path: path.write_text(""), "holds NoneType, not keys"),
    ],
)
def test_a_file_that_cannot_be_a_job_is_refused(tmp_path, make, message):
    path = tmp_path / "job.yaml"
    make(path)

    with pytest.raises(ConfigError, match=message):
        load_job(path)
