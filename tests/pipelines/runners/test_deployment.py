"""The files in `configs/` that deploy a job to a cluster or schedule it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from apache_beam.version import __version__ as beam_version
from google.cloud.dataflow_v1beta3 import ParameterType, TemplateMetadata
from support.jobs import run_cli, write_job
from support.paths import CONFIGS

NEEDED = {
    "BUCKET": "b",
    "MODEL_URL": "https://clarifai.com/u/a/models/m",
    "ENDPOINT": "http://10.9.9.9:1",
    "FLINK_MASTER": "10.9.9.9:8081",
    "FLINK_JOB_SERVER_JAR": "/nowhere/server.jar",
    "SPARK_MASTER": "spark://10.9.9.9:7077",
    "SPARK_JOB_SERVER_JAR": "/nowhere/server.jar",
    "WORKER_POOL": "localhost:50000",
    "LIMITER": "redis://10.9.9.9:6379/0",
    "PROJECT": "p",
    "REGION": "r",
    "WORKER_IMAGE": "i",
}


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch", CONFIGS / "launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["docker", "dataflow"])
def test_images_have_the_beam_and_the_extras_that_we_have(name: str) -> None:
    """A worker of another Beam would be refused at the job's start."""
    text = (CONFIGS / name / "Dockerfile").read_text()
    assert re.findall(r"ARG BEAM=(\S+)", text) == [beam_version]
    project = (CONFIGS.parent / "pyproject.toml").read_text()
    extras = re.findall(r"^(\w+) = \[", project.partition("[project.optional-dependencies]")[2], re.MULTILINE)
    for named in re.findall(r"\$\{wheel\}\[([\w,]+)\]", text):
        assert set(named.split(",")) <= set(extras)
    assert not re.search(r"^(ARG|ENV)\s+CLARIFAI_(PAT|SESSION)", text, re.MULTILINE)


def test_the_flex_template_takes_what_its_entry_point_takes(launch: ModuleType, tmp_path: Path) -> None:
    """Its parameters become flags of launch.py, or Beam options."""
    template = json.loads((CONFIGS / "dataflow" / "metadata.json").read_text())
    names = [parameter["name"] for parameter in template["parameters"]]
    job = write_job(tmp_path)
    flags = {"job_file": str(job), "set": "stop.inputs=3", "sdk_container_image": "image"}
    assert sorted(flags) == sorted(names)
    launcher_adds = ["--runner=DataflowRunner", "--project=p", "--region=r", "--temp_location=gs://b/tmp"]

    command = launch.command([*(f"--{name}={flags[name]}" for name in names), *launcher_adds], tmp_path)

    own, beam = command[: command.index("--")], command[command.index("--") + 1 :]
    assert own[:1] + own[2:] == ["run", "--json", "--set", "stop.inputs=3"]
    assert beam == ["--sdk_container_image=image", *launcher_adds[1:]]


def test_the_flex_templates_metadata_is_what_google_defines() -> None:
    """Field names and types of parameters as Dataflow's own API has them."""
    text = (CONFIGS / "dataflow" / "metadata.json").read_text()
    template = TemplateMetadata.from_json(text, ignore_unknown_fields=False)
    for parameter in template.parameters:
        assert parameter.name
        assert parameter.label
        assert parameter.help_text
        assert parameter.param_type != ParameterType.DEFAULT


def _launched(folder: Path, *flags: str, text: str) -> subprocess.CompletedProcess[str]:
    """Classify one text through launch.py, started as Airflow's Beam operator does."""
    (folder / "in").mkdir()
    (folder / "in" / "a.txt").write_text(text)
    source = {"files": f"{folder}/in/*.txt"}
    model = {"endpoint": "embedded", "method": "classify"}
    job = write_job(folder, source=source, model=model, output={"uri": str(folder / "elsewhere")})
    given = ["--runner=FlinkRunner", f"--job_file={job}", f"--set=output.uri={folder / 'out'}", *flags]
    return subprocess.run(
        [sys.executable, str(CONFIGS / "launch.py"), *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_launch_runs_a_job(tmp_path: Path) -> None:
    done = _launched(tmp_path, text="This is an English sentence.")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"] == 1
    assert (tmp_path / "out" / "predictions").is_dir()


@pytest.mark.parametrize(("flags", "code"), [([], 3), (["--errors_are_fine"], 0)])
def test_launch_ends_well_with_failed_inputs_when_told_to(
    tmp_path: Path, flags: list[str], code: int
) -> None:
    done = _launched(tmp_path, *flags, text="")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["errors"] == 1


def test_launch_tells_every_other_fault_even_so(tmp_path: Path) -> None:
    done = _launched(tmp_path, "--errors_are_fine", "--set=calls.batch_size=0", text="a")
    assert done.returncode == 2
    assert "batch_size" in done.stderr


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("flink", r"runner\.options\.flink_job_server_jar: there is no file /nowhere/server\.jar"),
        ("spark", r"runner\.options\.spark_job_server_jar: there is no file /nowhere/server\.jar"),
        ("dataflow", r"apache-beam\[gcp\]|no Redis answers"),
    ],
)
def test_cluster_jobs_are_valid_up_to_what_this_machine_lacks(
    name: str, missing: str, tmp_path: Path
) -> None:
    """`make cluster-test` runs those of Flink and Spark."""
    ran = run_cli("plan", CONFIGS / "cluster" / f"{name}.yaml", cwd=tmp_path, env=NEEDED)
    assert ran.code == 2
    assert re.search(missing, ran.err), ran.err


def _arguments_of(manifest: dict[str, Any]) -> list[str]:
    container = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    return [*container["command"], *container["args"]]


def test_schedules_start_commands_that_exist(tmp_path: Path) -> None:
    """cron and Kubernetes start `bulkinfer run JOB --json`; the job file is looked for."""
    cron = (CONFIGS / "scheduling" / "crontab").read_text()
    line = next(line for line in cron.splitlines() if line[:1].isdigit())
    typed = re.search(r"bulkinfer (run .*?) >>", line)
    assert typed is not None
    cronjob = yaml.safe_load((CONFIGS / "scheduling" / "cronjob.yaml").read_text())
    for arguments in (typed.group(1).split(), _arguments_of(cronjob)[1:]):
        assert (
            "--errors-are-fine" in arguments
        )  # a file that is broken for good would raise an alarm each night
        ran = run_cli(*arguments, cwd=tmp_path)
        assert ran.code == 2
        assert Path(arguments[1]).name in ran.err


def test_the_cron_job_keeps_runs_apart_and_its_key_in_a_file() -> None:
    """It does not repeat a finished job either, nor cut off calls in flight."""
    cronjob = yaml.safe_load((CONFIGS / "scheduling" / "cronjob.yaml").read_text())
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
    job = cronjob["spec"]["jobTemplate"]["spec"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 120
    container = job["template"]["spec"]["containers"][0]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "CLARIFAI_PAT_FILE": "/secrets/pat"
    }
    assert "/secrets" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_airflow_dag_starts_launch_py_with_a_job_of_ours(launch: ModuleType) -> None:
    """The DAG is parsed and not run, because Airflow is no dependency of the tests."""
    tree = ast.parse((CONFIGS / "scheduling" / "airflow_dag.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    operator = next(call for call in calls if getattr(call.func, "id", "") == "BeamRunPythonPipelineOperator")
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in operator.keywords}
    assert (CONFIGS.parent / given["py_file"]).is_file()
    assert (CONFIGS.parent / given["pipeline_options"]["job_file"]).is_file()
    # As the operator writes flags: True is one without a value.
    flags = [f"--{k}" if v is True else f"--{k}={v}" for k, v in given["pipeline_options"].items()]
    known, for_beam = launch.parse(flags)
    assert known.errors_are_fine
    assert "{{" not in given["pipeline_options"]["set"]  # a new output each night would send everything again
    assert for_beam == []
