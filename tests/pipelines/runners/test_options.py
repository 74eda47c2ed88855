"""The job file's `runner` section: the Beam options made of it, and the messages when something is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.pipelines.runners.checks import check_runner, explained
from bulkinfer.pipelines.runners.flags import parse_flags
from bulkinfer.pipelines.runners.options import (
    describe,
    merged_options,
    pipeline_options,
    with_flags,
    workers_of,
)
from bulkinfer.transforms.errors import ConfigError, RunnerError, StoreError
from bulkinfer.transforms.job.config import JobConfig, RunnerConfig
from bulkinfer.transforms.job.job_file import load_job
from support.http_server import http_server
from support.jobs import run_cli, write_job

REMOTE = {
    "flink_master": "10.1.2.3:8081",
    "environment_config": "localhost:50000",
    "job_endpoint": "10.1.2.3:8099",
}

DATAFLOW = {"project": "p", "region": "r", "temp_location": "gs://b/tmp", "sdk_container_image": "worker:1"}


def _runner(name: str = "direct", workers: int = 1, **options: Any) -> RunnerConfig:
    return RunnerConfig.model_validate({"name": name, "workers": workers, "options": options})


def _job(runner: RunnerConfig, **sections: Any) -> JobConfig:
    job: dict[str, Any] = {
        "source": {"files": "s3://b/*.jpg"},
        "model": {"url": "https://clarifai.com/u/a/models/m"},
        "output": {"uri": "s3://b/out"},
        "runner": runner.model_dump(),
    }
    return JobConfig.model_validate({**job, **sections})


def test_one_local_worker_is_the_engine_in_this_process() -> None:
    """It is not Beam's DirectRunner, which would first download another runner without a timeout."""
    options = pipeline_options(_runner())
    assert "DirectRunner" not in options.get_all_options()["runner"]
    assert options.get_all_options()["direct_num_workers"] == 1
    assert workers_of(_runner()).shared_memory


def test_several_local_workers_are_processes() -> None:
    """Threads would share one interpreter."""
    options = pipeline_options(_runner(workers=3)).get_all_options()
    assert (options["direct_num_workers"], options["direct_running_mode"]) == (3, "multi_processing")
    assert workers_of(_runner(workers=3)).processes == 3
    assert not workers_of(_runner(workers=3)).shared_memory


def test_a_cluster_gets_a_process_for_each_slot() -> None:
    """Batches of Flink are forced, and environments outlive a stage."""
    options = merged_options(_runner("flink", 4, **REMOTE))
    assert options["parallelism"] == 4
    assert options["sdk_worker_parallelism"] == 4
    assert options["environment_type"] == "EXTERNAL"
    assert options["execution_mode_for_batch"] == "BATCH_FORCED"
    assert options["environment_cache_millis"] == 60_000
    assert options["load_balance_bundles"] is True
    assert workers_of(_runner("flink", 4, **REMOTE)).remote
    assert not workers_of(_runner("spark", 4)).remote


@pytest.mark.parametrize(
    ("machine", "processes"),
    [
        ("n1-standard-8", 32),
        ("e2-highcpu-16", 64),
        ("custom-6-20480", 24),
        ("n2-custom-4-8192-ext", 16),
        ("c3-standard-4-lssd", 16),
    ],
)
def test_dataflow_has_a_process_a_core(machine: str, processes: int) -> None:
    """Both names of Beam's option for the machine type are understood."""
    for option in ("machine_type", "worker_machine_type"):
        workers = workers_of(_runner("dataflow", 4, **{option: machine}))
        assert (workers.processes, workers.fixed) == (processes, True)


@pytest.mark.parametrize(
    ("runner", "remote", "processes"),
    [
        (_runner("spark", 4), False, 1),
        (_runner("spark", 4, environment_config="localhost:1"), False, 4),
        (_runner("spark", 4, use_loopback_process_worker=True), False, 4),
        (_runner("flink", 4), False, 1),
        (_runner("flink", 4, flink_master="localhost:8081", environment_type="LOOPBACK"), False, 1),
        (_runner("spark", 4, spark_submit_uber_jar=True, spark_rest_url="http://m:6066"), True, 4),
        (_runner("spark", 4, spark_master_url="local-cluster[2,1,1024]"), True, 4),
    ],
)
def test_where_workers_are_is_what_beam_makes_of_the_options(
    runner: RunnerConfig, remote: bool, processes: int
) -> None:
    """Workers of a local master without an environment are threads of this process, and share its limiter."""
    workers = workers_of(runner)
    assert (workers.remote, workers.processes) == (remote, processes)
    assert workers.shared_memory is (processes == 1)


def test_prism_has_one_worker_in_this_process_unless_its_environment_says_otherwise() -> None:
    """So it has the whole rate limit, and shares our disk and memory."""
    here = workers_of(_runner("prism", job_endpoint="localhost:8073"))
    assert (here.processes, here.remote, here.shared_memory) == (1, False, True)
    elsewhere = workers_of(_runner("prism", job_endpoint="10.1.2.3:8073", environment_type="DOCKER"))
    assert (elsewhere.processes, elsewhere.remote, elsewhere.shared_memory) == (1, True, False)


@pytest.mark.parametrize(
    ("script", "why"), [("", "Exec format error"), ("#!/bin/sh\necho no such flag\nexit 3\n", "no such flag")]
)
def test_a_prism_that_does_not_start_is_named_with_what_it_said(
    tmp_path: Path, script: str, why: str
) -> None:
    """For example a binary that was built for another machine."""
    from bulkinfer.pipelines.runners.job_servers import PrismRunner

    binary = tmp_path / "prism"
    binary.write_text(script)
    server = PrismRunner().default_job_server(pipeline_options(_runner("prism", prism_location=str(binary))))
    with pytest.raises(RunnerError, match=rf"runner prism: {binary} does not start \({why}\); name a Prism"):
        server.start()


def test_options_of_the_file_beat_defaults_and_flags_beat_both(tmp_path: Path) -> None:
    """Later sources of options override earlier ones."""
    sections = _job(_runner("flink", 4, **REMOTE, environment_cache_millis=16)).model_dump(
        include={"source": {"files"}, "model": {"url"}, "runner": True}
    )
    job = load_job(write_job(tmp_path, **sections))
    assert merged_options(job.config.runner)["environment_cache_millis"] == 16
    assert with_flags(job, []) is job
    flagged = with_flags(job, ["--environment_cache_millis=32"]).config.runner
    assert merged_options(flagged)["environment_cache_millis"] == "32"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("flink", "parallelism"),
        ("direct", "direct_num_workers"),
        ("direct", "direct_running_mode"),
        ("dataflow", "num_workers"),
    ],
)
def test_only_runner_workers_sets_the_number_of_workers(name: str, option: str) -> None:
    """A larger fleet than `workers` says would go beyond its rate limit."""
    with pytest.raises(RunnerError, match=rf"{option} is decided by runner\.workers; remove it here"):
        merged_options(_runner(name, 2, **{option: 8}))


def test_a_spark_cluster_runs_as_many_tasks_as_there_are_workers() -> None:
    """By itself it runs one on each of its cores, and together they would exceed a rate limit."""
    master = {"spark_master_url": "spark://10.1.2.3:7077", "environment_config": "localhost:50000"}
    properties = ["-Dspark.cores.max=3", "-Dspark.default.parallelism=3"]
    assert merged_options(_runner("spark", 3, **master))["job_server_jvm_properties"] == properties
    for own in ("-Xmx4g", ["-Xmx4g"]):
        given = _runner("spark", 3, **master, job_server_jvm_properties=own)
        assert merged_options(given)["job_server_jvm_properties"] == [*properties, "-Xmx4g"]
    with pytest.raises(RunnerError, match=r"property spark\.cores\.max in .* is decided by runner\.workers"):
        merged_options(_runner("spark", 3, **master, job_server_jvm_properties="-Dspark.cores.max=9"))
    assert "job_server_jvm_properties" not in merged_options(_runner("spark", 3))


@pytest.mark.parametrize(
    ("runner", "fixed"),
    [
        (_runner("spark", 4, spark_master_url="spark://h:7077"), True),
        (_runner("spark", 4, job_endpoint="h:8099"), False),
        (_runner("spark", 4, spark_submit_uber_jar=True, spark_master_url="spark://h:7077"), False),
        (_runner("flink", 4, **REMOTE), True),
        (_runner("dataflow", 4), True),
        (_runner("dataflow", 4, max_num_workers=50), False),
        (
            _runner("dataflow", 4, machine_type="a2-highgpu-1g"),
            False,
        ),  # 12 vCPUs, which its name does not tell
    ],
)
def test_who_may_get_more_workers_than_the_job_says_is_known(runner: RunnerConfig, fixed: bool) -> None:
    """A limit cannot be divided among a number of workers that may grow."""
    assert workers_of(runner).fixed is fixed


def test_flags_are_read_as_beam_reads_them() -> None:
    """With or without an equals sign, repeated or bare."""
    flags = ["--a=1", "--b", "2", "--c", "--d=x", "--d", "y"]
    assert parse_flags(flags) == {"a": "1", "b": "2", "c": True, "d": ["x", "y"]}
    with pytest.raises(RunnerError, match="'oops' after -- is no Beam option; write --NAME=VALUE"):
        parse_flags(["oops"])


def test_an_unknown_option_of_the_local_runner_is_refused() -> None:
    """Beam would discard it with a warning."""
    with pytest.raises(
        RunnerError, match=r"runner\.options\.direct_workers is no option of Beam's .*; remove it, or look"
    ):
        pipeline_options(_runner(direct_workers=3))


@pytest.mark.parametrize("name", ["flink_mater", "environment-confg"])
def test_a_misspelt_option_is_named_on_every_runner(name: str) -> None:
    """Beam would discard it with a warning, and run the job on a cluster inside the launcher."""
    near = {"flink_mater": "flink_master", "environment-confg": "environment_config"}[name]
    with pytest.raises(
        RunnerError, match=rf"runner\.options\.{name} is no option of Beam's .*; write {near}"
    ):
        pipeline_options(_runner("flink", 2, job_endpoint="h:1", **{name: "h:1"}))


def test_options_of_java_runners_pass() -> None:
    """Beam's Python does not know them."""
    own = {"savepoint_path": "s3://b/s", "max_bundle_size": 4000}
    options = pipeline_options(_runner("flink", 2, job_endpoint="h:1", **own))
    assert options.get_all_options(retain_unknown_options=True)["max_bundle_size"] == "4000"


@pytest.mark.parametrize(
    "options",
    [
        {"s3_secret_access_key": "x"},
        {"environment_type": "PROCESS", "environment_config": {"env": {"CLARIFAI_PAT": "x"}}},
        {"labels": "key-in-a-file"},
    ],
)
def test_no_option_holds_a_secret(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An option is refused by its name, and by a value that holds the key."""
    (tmp_path / "pat").write_text("key-in-a-file")
    monkeypatch.delenv("CLARIFAI_PAT", raising=False)
    monkeypatch.setenv("CLARIFAI_PAT_FILE", str(tmp_path / "pat"))
    with pytest.raises(RunnerError, match=r"holds (your key|a secret), and Beam shows") as caught:
        merged_options(_runner("flink", 2, **options))
    assert "key-in-a-file" not in str(caught.value)


def test_only_runner_name_sets_the_runner() -> None:
    """A Beam option for it is refused."""
    with pytest.raises(
        RunnerError, match=r"the Beam option runner is decided by runner\.name; remove it here"
    ):
        pipeline_options(_runner(runner="DirectRunner"))


def test_a_dry_run_is_refused_because_most_runners_would_send_everything() -> None:
    """Beam ignores options that a runner does not know."""
    with pytest.raises(
        RunnerError, match="the Beam option dry_run is decided by the command: `bulkinfer plan`"
    ):
        merged_options(_runner(dry_run="True"))


def test_false_reaches_beam_where_its_own_default_is_true() -> None:
    """Without the flag, workers would get public addresses, and Dataflow would get our main module."""
    options = pipeline_options(_runner("dataflow", use_public_ips=False)).get_all_options()
    assert (options["use_public_ips"], options["save_main_session"]) == (False, False)


def test_a_dataflow_fleet_of_no_number_is_refused() -> None:
    """It is refused before Beam's parser would end the process."""
    with pytest.raises(
        RunnerError, match=r"runner\.options\.max_num_workers is many; write how many machines"
    ):
        workers_of(_runner("dataflow", 4, max_num_workers="many"))


@pytest.mark.parametrize("flags", [[], ["--labels=key-abc123"]])
def test_a_key_never_becomes_a_pipeline_option(monkeypatch: pytest.MonkeyPatch, flags: list[str]) -> None:
    """Beam shows its options in logs and consoles."""
    monkeypatch.setenv("CLARIFAI_PAT", "key-abc123")
    options = parse_flags(flags) if flags else {"environment_options": "pat=key-abc123"}
    with pytest.raises(RunnerError, match=r"holds your key.*in their own environment") as caught:
        merged_options(_runner("flink", 2, **options))
    assert "abc123" not in str(caught.value)


@pytest.mark.parametrize(
    ("runner", "sections", "message"),
    [
        (
            _runner("flink", flink_master="[local]"),
            {},
            r"runner flink: no job server; get it with `mvn dependency:copy",
        ),
        (
            _runner("spark", spark_job_server_jar="/no/such.jar"),
            {},
            r"runner\.options\.spark_job_server_jar: there is no file /no/such\.jar; correct the path",
        ),
        (
            _runner("flink", job_endpoint="h:1"),
            {},
            r"runner flink: the workers' environment is missing.*add runner\.options\.environment_config",
        ),
        (
            _runner("flink", job_endpoint="h:1", environment_type="DOCKER"),
            {},
            r"the workers' environment is missing.*environment_config: IMAGE, built from configs/docker/Dockerfile",
        ),
        (
            _runner("flink", job_endpoint="h:1", environment_config="http://pool"),
            {},
            r"runner\.options\.environment_config: 'http://pool' is no address of a worker pool; write HOST:PORT",
        ),
        (
            _runner("spark", job_endpoint="h:1", environment_type="EXTERNAL"),
            {},
            r"runner\.options\.environment_config: '' is no address of a worker pool; write HOST:PORT",
        ),
        (
            _runner("flink", job_endpoint="10.1.2.3:1", environment_type="LOOPBACK"),
            {},
            r"environment_type: LOOPBACK makes workers of this process, which 10\.1\.2\.3:1 does not reach; write EXT",
        ),
        (
            _runner("flink", **REMOTE),
            {"output": {"uri": "out/here"}},
            r"output\.uri: out/here is a path on this machine.*use an object store, or file:///.*out/here",
        ),
        (
            _runner("flink", **REMOTE),
            {"source": {"files": "/data/*.jpg"}},
            r"source\.files: /data/\*\.jpg is a path on this machine",
        ),
        (
            _runner("flink", **REMOTE),
            {"source": {"files": "zip://*.jpg::photos/*.zip"}},
            r"source\.files: photos/\*\.zip is a path on this machine",
        ),
        (
            _runner(workers=2),
            {"output": {"uri": "memory://out"}},
            r"output\.uri: memory://out is the memory of one process, but the job runs in several",
        ),
        (
            _runner("flink", **REMOTE),
            {"model": {"endpoint": "embedded"}},
            r"model\.endpoint: embedded is on this machine's loopback.*bulkinfer serve --host ADDRESS",
        ),
        (
            _runner("flink", **REMOTE),
            {"model": {"url": "https://clarifai.com/u/a/models/m", "endpoint": "http://127.0.0.1:9001"}},
            r"model\.endpoint: http://127\.0\.0\.1:9001 is on this machine's loopback",
        ),
        (_runner("dataflow"), {}, r"runner dataflow: runner\.options\.project is missing"),
        (
            _runner("dataflow", **{**DATAFLOW, "temp_location": "/tmp/beam"}),
            {},
            r"runner dataflow: runner\.options\.temp_location is /tmp/beam, for which.*write gs://BUCKET/FOLDER",
        ),
        (
            _runner("prism"),
            {},
            r"runner prism: Beam would download Prism now.*`go install github\.com/apache/beam/sdks/v2/go/cmd/prism@v"
            r"[\d.]+`.*runner\.options\.prism_location",
        ),
        (
            _runner("prism", prism_location="/no/prism"),
            {},
            r"runner\.options\.prism_location: there is no file /no/prism; correct the path",
        ),
        (
            _runner("prism", 2, job_endpoint="localhost:8073"),
            {},
            r"runner\.workers is 2, but Prism gives all of a job to one worker; set runner\.workers to 1",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_fix(
    runner: RunnerConfig,
    sections: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each message names the missing thing and the fix."""
    monkeypatch.setenv("HOME", str(tmp_path))  # no job server of an earlier day
    with pytest.raises(RunnerError, match=message):
        check_runner(_job(runner, **sections))


@pytest.mark.parametrize(
    "options",
    [
        {"environment_config": '{"url": "h:1"}', "environment_type": "EXTERNAL"},
        {"environment_config": "[::1]:50000"},
        {"environment_type": "DOCKER", "sdk_container_image": "image"},
    ],
)
def test_every_form_of_an_environment_is_taken(options: dict[str, Any]) -> None:
    """All forms that Beam accepts pass."""
    check_runner(_job(_runner("flink", job_endpoint="10.1.2.3:8099", **options)))


def test_an_endpoint_of_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """$CLARIFAI_API_BASE is the default of model.endpoint."""
    monkeypatch.setenv("CLARIFAI_API_BASE", "http://localhost:9001")
    with pytest.raises(RunnerError, match="http://localhost:9001 is on this machine's loopback"):
        check_runner(_job(_runner("flink", **REMOTE)))


def test_secrets_in_storage_options_that_leave_this_machine_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The job still runs: its author may own the cluster."""
    secret = {"uri": "s3://b/out", "storage": {"s3": {"secret": "hidden-7"}}}
    check_runner(_job(_runner(), output=secret))
    check_runner(_job(_runner("flink", **REMOTE), output={**secret, "storage": {"anon": True}}))
    assert not caplog.records
    check_runner(_job(_runner("flink", **REMOTE), output=secret))
    assert "output.storage holds secrets, and they travel with the job" in caplog.text
    assert "hidden-7" not in caplog.text


def test_a_mounted_folder_is_named_as_a_file_url() -> None:
    """That is how a job says that all workers see it."""
    check_runner(_job(_runner("flink", **REMOTE), output={"uri": "file:///mnt/lake/out"}))


def test_the_clients_of_google_cloud_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam's runner submits through Google's own client of Dataflow."""
    check_runner(_job(_runner("dataflow", **DATAFLOW)))
    monkeypatch.setitem(sys.modules, "google.cloud.dataflow", None)
    with pytest.raises(
        RunnerError, match=r"Beam's Google Cloud parts are missing; pip install 'apache-beam\[gcp\]'"
    ):
        check_runner(_job(_runner("dataflow", **DATAFLOW)))


def test_a_limiter_that_only_the_workers_reach_is_told_and_not_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A launcher outside of their network would otherwise start no job."""
    output = {"uri": "s3://lake/out"}
    calls = {"calls_per_second": 15, "limiter": "redis://limits.invalid:6379/0"}
    check_runner(_job(_runner("flink", **REMOTE), output=output, calls=calls))
    assert "no Redis answers at redis://limits.invalid:6379/0" in caplog.text

    with pytest.raises(StoreError, match=r"no Redis answers at redis://limits\.invalid"):
        check_runner(_job(_runner(), output=output, calls=calls))


def test_a_limiter_on_loopback_is_refused_for_remote_workers() -> None:
    """Each host would have its own."""
    calls = {"calls_per_second": 15, "limiter": "redis://localhost:6379/0"}
    with pytest.raises(ConfigError, match=r"calls\.limiter: .* is a loopback address"):
        check_runner(_job(_runner("flink", **REMOTE), output={"uri": "s3://lake/out"}, calls=calls))


def test_java_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The job server is a Java program."""
    jar = tmp_path / "server.jar"
    jar.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunnerError, match="its job server needs Java and there is no `java` on the PATH"):
        check_runner(_job(_runner("spark", spark_job_server_jar=str(jar))))


def test_a_cluster_that_is_away_or_too_small_is_named(tmp_path: Path) -> None:
    """The check asks the JobManager's REST API."""
    jar = tmp_path / "server.jar"
    jar.touch()
    options = {"flink_job_server_jar": str(jar), "environment_config": "localhost:50000"}
    with pytest.raises(
        RunnerError, match=r"runner\.options\.flink_master: no Flink answers at http://127\.0\.0\.1:9"
    ):
        check_runner(_job(_runner("flink", flink_master="127.0.0.1:9", **options)))
    with http_server() as server:
        server.files["overview"] = b'{"slots-total": 2, "taskmanagers": 1}'
        master = server.url.removeprefix("http://").rstrip("/")
        with pytest.raises(
            RunnerError, match=r"runner\.workers is 4, but the Flink cluster at .* has 2 slots"
        ):
            check_runner(_job(_runner("flink", 4, flink_master=master, **options)))


def test_a_master_that_starts_task_managers_for_a_job_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As Flink does on Kubernetes and YARN."""
    jar = tmp_path / "server.jar"
    jar.touch()
    options = {"flink_job_server_jar": str(jar), "environment_config": "localhost:50000"}
    with http_server() as server:
        server.files["overview"] = b'{"slots-total": 0, "slots-available": 0, "taskmanagers": 0}'
        runner = _runner("flink", 4, flink_master=server.url.removeprefix("http://").rstrip("/"), **options)
        check_runner(_job(runner))
        assert pipeline_options(runner).get_all_options()["sdk_worker_parallelism"] == "4"
    assert "has no task manager yet" in caplog.text


@pytest.mark.parametrize("master", ["127.0.0.1:rest", "http://127.0.0.1:x"])
def test_a_master_that_is_no_address_is_named(master: str, tmp_path: Path) -> None:
    jar = tmp_path / "server.jar"
    jar.touch()
    options = {"flink_job_server_jar": str(jar), "environment_config": "localhost:50000"}
    with pytest.raises(RunnerError, match=r"flink_master: no Flink answers at .*REST API"):
        check_runner(_job(_runner("flink", flink_master=master, **options)))


def test_slots_that_others_hold_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Flink itself lets the job wait for them without a message."""
    jar = tmp_path / "server.jar"
    jar.touch()
    options = {"flink_job_server_jar": str(jar), "environment_config": "localhost:50000"}
    with http_server() as server:
        server.files["overview"] = b'{"slots-total": 4, "slots-available": 1, "taskmanagers": 2}'
        job = _job(
            _runner("flink", 4, flink_master=server.url.removeprefix("http://").rstrip("/"), **options)
        )
        check_runner(job)
        check_runner(job)
    assert caplog.text.count("1 of the Flink cluster's 4 slots are free; the job waits") == 1


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ModuleNotFoundError: No module named 'bulkinfer'", "the workers cannot import bulkinfer; install"),
        ("finishConnect(..) failed: Connection refused", "a task cannot reach its worker pool; start one"),
        (
            "JobMasterException: TaskManager with id host3-2 is no longer reachable.",
            "the cluster lost the task manager host3-2; run the same command again",
        ),
        (
            "NoResourceAvailableException: Could not",
            "the cluster has too few free slots; lower runner.workers",
        ),
        (
            "StatusRuntimeException: CANCELLED: client cancelled",
            "a worker process ended; run the same command",
        ),
        ("java.net.ConnectException: Connection refused", "the cluster's master does not answer any more"),
        (
            "Dataflow pipeline failed. State: CANCELLED, Error:\nNone",
            "Dataflow ended the job as CANCELLED; its page in the Cloud console tells why",
        ),
    ],
)
def test_what_runners_say_is_explained(said: str, meaning: str) -> None:
    """The messages are those of real runners."""
    error = explained(said)
    assert error is not None
    assert re.search(re.escape(meaning), str(error))
    assert explained("ValueError: something of our own") is None


def test_plan_names_what_runs_where() -> None:
    """`plan` describes the runner in one line."""
    assert describe(_runner()) == "direct: in this process"
    assert describe(_runner(workers=2)) == "direct: 2 worker processes on this machine"
    named = describe(_runner("flink", 4, flink_master="jm:8081", environment_config="localhost:50000"))
    assert named == "flink: 4 worker processes in EXTERNAL localhost:50000, master jm:8081"
    assert describe(_runner("spark", 2)) == "spark: in this process, master local[2]"
    assert (
        describe(_runner("prism", prism_location="/opt/prism"))
        == "prism: in this process, distributed by /opt/prism"
    )


def test_flags_reach_the_job_and_the_command_to_go_on_with(tmp_path: Path) -> None:
    """Flags come last in the command, behind added options."""
    (tmp_path / "a.txt").write_text("This is an English sentence.")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    model = {"endpoint": "embedded", "method": "classify"}
    write_job(tmp_path, source={"files": "*.txt"}, model=model)
    refused = run_cli("run", "job.yaml", "--", "--direct_num_workers=2", cwd=tmp_path)
    assert refused.code == 2
    assert "direct_num_workers is decided by runner.workers" in refused.err
    ran = run_cli("run", "job.yaml", "--set", "output.uri=my tables", "--", "--job_name=x", cwd=tmp_path)
    assert ran.code == 3, ran.err
    assert "bulkinfer run job.yaml --set 'output.uri=my tables' --retry-failed -- --job_name=x" in ran.out


def test_a_runner_that_cannot_run_ends_with_2(tmp_path: Path) -> None:
    """Nothing has been sent then."""
    source = {"files": "s3://bucket/*.jpg"}
    write_job(
        tmp_path, source=source, model={"url": "https://clarifai.com/u/a/models/m"}, runner={"name": "prism"}
    )
    ran = run_cli("run", "job.yaml", cwd=tmp_path)
    assert ran.code == 2
    assert "runner prism: Beam would download Prism now" in ran.err
