"""A job for Dataflow as it would be submitted: translated here, run by nobody."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions
from apache_beam.transforms.environments import DockerEnvironment
from bulkinfer.pipelines.bulk_inference import build
from bulkinfer.pipelines.preflight import new_run_id, prepare
from bulkinfer.pipelines.runners import describe, pipeline_options
from bulkinfer.transforms.addresses import parse_endpoint
from bulkinfer.transforms.completed import CompletedSpec
from bulkinfer.transforms.config import RunnerConfig
from bulkinfer.transforms.control import ControlSpec
from bulkinfer.transforms.job_file import load_job
from support.embedded import running_server
from support.jobs import photo, write_job

server = pytest.fixture(scope="module")(running_server)
KEY = "pat-never-to-be-seen-4711"


def _runner() -> RunnerConfig:
    options = {
        "project": "p",
        "region": "r",
        "temp_location": "gs://b/tmp",
        "sdk_container_image": "worker:1",
    }
    return RunnerConfig.model_validate({"name": "dataflow", "workers": 4, "options": options})


def test_options_fix_the_fleet_and_name_the_image() -> None:
    """A fleet that grew by itself would outgrow its shares of a rate limit."""
    options = pipeline_options(_runner())
    assert options.view_as(GoogleCloudOptions).project == "p"
    workers = options.view_as(WorkerOptions)
    assert (workers.num_workers, workers.max_num_workers, workers.autoscaling_algorithm) == (4, 4, "NONE")
    assert workers.sdk_container_image == "worker:1"
    assert describe(_runner()) == "dataflow: 4 n1-standard-2 machines in project p, region r, image worker:1"


def test_the_submitted_pipeline_holds_no_key_and_no_content(
    server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only steps, plain settings and the worker image; references come into being on the workers."""
    monkeypatch.setenv("CLARIFAI_PAT", KEY)
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(photo(n))
    endpoint = server.endpoint  # type: ignore[attr-defined]
    url = "https://clarifai.com/u/a/models/m"
    model = {
        "url": url,
        "endpoint": endpoint,
        "method": "segment_anything",
        "arguments": {"image": "$content"},
    }
    source = {"files": f"{tmp_path}/*.jpg"}
    job_file = load_job(write_job(tmp_path, source=source, model=model, output={"uri": "gs://b/out"}))
    job = prepare(job_file, parse_endpoint(endpoint), run_id=new_run_id(), limit=None)
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(pipeline_type_check=True))
    build(pipeline, job, CompletedSpec.of(job.output), ControlSpec("gs://b/out", {}, job.output.run_id))

    proto = pipeline.to_runner_api(default_environment=DockerEnvironment.from_container_image("worker:1"))

    sent = proto.SerializeToString()
    assert KEY.encode() not in sent
    assert (tmp_path / "0.jpg").read_bytes()[:200] not in sent
    images = [environment.payload for environment in proto.components.environments.values()]
    assert any(b"worker:1" in payload for payload in images)
    labels = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ListSource", "SameVersions", "OpenUnits", "LoadContent", "Predict", "WriteTables"} <= labels
