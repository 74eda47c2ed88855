"""A Dataflow job as Beam's runner submits it, and run from the uploaded files alone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve
from bulkinfer.pipelines.jobs.preflight import new_run_id, prepare
from bulkinfer.pipelines.runners.options import describe, pipeline_options, with_flags
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.job.config import RunnerConfig
from bulkinfer.transforms.job.job_file import load_job
from support.google_cloud import GoogleCloud, google_cloud
from support.jobs import Ran, photo, rows, run_cli, write_job
from support.paths import CONFIGS

LAUNCH = CONFIGS / "launch.py"
KEY = "pat-never-to-be-seen-4711"
OPTIONS = {
    "project": "pro-ject",
    "region": "europe-west4",
    "temp_location": "gs://bucket/tmp",
    "sdk_container_image": "worker:1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A model server at a non-loopback address: the checks refuse loopback for Dataflow's workers."""
    with serve(host="0.0.0.0") as server:
        yield server


@pytest.fixture(scope="module")
def cloud() -> Iterator[GoogleCloud]:
    with google_cloud() as cloud:
        yield cloud


def _runner(**options: Any) -> RunnerConfig:
    return RunnerConfig.model_validate({"name": "dataflow", "workers": 4, "options": {**OPTIONS, **options}})


def _job(folder: Path, endpoint: str, **calls: Any) -> Path:
    """A job file for three photographs, whose folders are mounted on every worker."""
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(photo(n))
    return write_job(
        folder,
        source={"files": f"file://{folder}/*.jpg"},
        model={
            "url": "https://clarifai.com/u/a/models/m",
            "endpoint": endpoint,
            "allow_plaintext": True,
            "method": "segment_anything",
            "arguments": {"image": "$content"},
        },
        calls=calls,
        output={"uri": f"file://{folder}/out"},
        runner=_runner().model_dump(),
    )


@dataclasses.dataclass(frozen=True)
class Launched:
    """The results of a launch: the command's result, the Job message, the pipeline that it names, all uploads."""

    folder: Path
    ran: Ran
    job: Mapping[str, Any]
    pipeline: beam_runner_api_pb2.Pipeline
    uploads: Mapping[str, bytes]

    @property
    def run_record(self) -> Mapping[str, Any]:
        (record,) = (self.folder / "out" / "_runs").glob("*/run.json")
        return json.loads(record.read_text())


@pytest.fixture(scope="module")
def launched(
    server: EmbeddedServer, cloud: GoogleCloud, tmp_path_factory: pytest.TempPathFactory
) -> Launched:
    """A flex template, launched with the flags that Google's launcher sets, on a machine with a service account."""
    folder = tmp_path_factory.mktemp("launched")
    template = "gs://bucket/staging/template_launches/1/job_object"
    flags = {
        "job_file": _job(folder, server.endpoint),
        "job_name": "nightly",
        "machine_type": "n1-standard-4",
        "project": OPTIONS["project"],
        "region": OPTIONS["region"],
        "runner": "DataflowRunner",
        "sdk_container_image": "worker:2",
        "service_account_email": "launcher@pro-ject.iam.gserviceaccount.com",
        "staging_location": "gs://bucket/staging",
        "temp_location": "gs://bucket/tmp",
        "template_location": template,
    }
    done = subprocess.run(
        [sys.executable, str(LAUNCH), *(f"--{name}={value}" for name, value in flags.items())],
        env={**os.environ, **cloud.environment, "CLARIFAI_PAT": KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(cloud.objects[template])
    uploads = {path: data for path, data in cloud.objects.items() if "nightly" in path or path == template}
    ran = Ran(done.returncode, done.stdout, done.stderr, 0.0)
    return Launched(folder, ran, job, cloud.pipeline_of(job), uploads)


def test_options_fix_the_fleet_and_name_the_image() -> None:
    """With autoscaling the workers' parts of a rate limit would add up to more than the limit."""
    options = pipeline_options(_runner())
    assert options.view_as(GoogleCloudOptions).project == "pro-ject"
    workers = options.view_as(WorkerOptions)
    assert (workers.num_workers, workers.max_num_workers, workers.autoscaling_algorithm) == (4, 4, "NONE")
    assert workers.sdk_container_image == "worker:1"
    where = "project pro-ject, region europe-west4, image worker:1"
    assert describe(_runner()) == f"dataflow: 4 n1-standard-2 machines in {where}"


def test_a_launchers_flags_change_the_fleet_that_divides_a_rate_limit(tmp_path: Path) -> None:
    """Four machines of eight vCPUs are 32 processes."""
    job = load_job(_job(tmp_path, "http://10.9.9.9:1", calls_per_second=15))
    job = with_flags(job, ["--worker_machine_type=n1-standard-8"])
    with pytest.raises(ConfigError, match="15 cannot be divided among 32 worker processes"):
        prepare(job, "http://10.9.9.9:1", run_id=new_run_id())


def test_the_job_is_a_batch_of_a_fixed_fleet_on_runner_v2(launched: Launched) -> None:
    """The launcher's flags win over the job file."""
    environment = launched.job["environment"]
    (pool,) = environment["workerPools"]
    assert launched.job["type"] == "JOB_TYPE_BATCH"
    assert (pool["numWorkers"], pool["machineType"]) == (4, "n1-standard-4")
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_NONE", "maxNumWorkers": 4}
    assert environment["serviceAccountEmail"] == "launcher@pro-ject.iam.gserviceaccount.com"
    assert {"use_runner_v2", "use_portable_job_submission", "beam_fn_api"} <= set(environment["experiments"])


def test_every_step_runs_in_the_worker_image_one_process_a_vcpu(launched: Launched) -> None:
    """A rate limit is divided by this number of processes."""
    (pool,) = launched.job["environment"]["workerPools"]
    (image,) = pool["sdkHarnessContainerImages"]
    assert (image["containerImage"], image["useSingleCorePerContainer"]) == ("worker:2", True)
    assert pool["workerHarnessContainerImage"] == "worker:2"
    payloads = [environment.payload for environment in launched.pipeline.components.environments.values()]
    assert payloads
    assert all(b"worker:2" in payload for payload in payloads)


def test_the_uploaded_pipeline_has_every_step_of_a_job(launched: Launched) -> None:
    """Dataflow reads it from the bucket; the Job message names it."""
    labels = {transform.unique_name for transform in launched.pipeline.components.transforms.values()}
    assert {"ListSource", "Inference", "Commit"} <= labels


def test_nothing_uploaded_holds_the_key_or_content(launched: Launched) -> None:
    """Dataflow shows a job's options to everybody who may see the project."""
    content = (launched.folder / "0.jpg").read_bytes()[:200]
    for path, data in launched.uploads.items():
        assert KEY.encode() not in data, path
        assert content not in data, path


def test_workers_get_their_code_from_the_image_alone(launched: Launched) -> None:
    """No pickled main session, which Dataflow's runner would add unless told not to."""
    names = {path.rpartition("/")[2] for path in launched.uploads}
    assert names == {"job_object", "pipeline.pb", "submission_environment_dependencies.txt"}


def test_a_template_fills_the_tables_when_its_job_runs(launched: Launched, cloud: GoogleCloud) -> None:
    """Its launcher has ended by then, and must have left the run open."""
    assert launched.ran.json["inputs"] == 0
    assert "nothing ran yet" in launched.ran.err
    assert launched.run_record["state"] == "running"

    assert cloud.run(launched.job) == "DONE"

    assert launched.run_record["state"] == "committed"
    assert len({row["input_id"] for row in rows(launched.folder / "out", "predictions")}) == 3
    assert not list((launched.folder / "out" / "_runs" / "locks").iterdir())


def test_a_submitted_job_is_followed_to_its_end(
    server: EmbeddedServer, cloud: GoogleCloud, tmp_path: Path
) -> None:
    """Created, polled and summed up as if Dataflow had run it."""
    job = _job(tmp_path, server.endpoint)
    endpoint = f"--dataflow_endpoint={cloud.endpoint}"
    ran = run_cli("run", job, "--json", "--", endpoint, cwd=tmp_path, env=cloud.environment)
    assert ran.code == 0, ran.err
    assert (ran.json["inputs"], ran.json["predictions"]) == (3, 3)
    assert [job["currentState"] for job in cloud.jobs.values()] == ["JOB_STATE_DONE"]
