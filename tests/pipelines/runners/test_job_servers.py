"""Job servers end with their launcher, also when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

JAVA = """#!{python}
import os, pathlib, time
pathlib.Path({pid!r}).write_text(str(os.getpid()))
time.sleep(60)
"""
LAUNCHER = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from bulkinfer.pipelines.runners import job_servers
runner = getattr(job_servers, sys.argv[1])()
runner.default_job_server(PipelineOptions(sys.argv[2:])).start()
"""


@pytest.mark.parametrize(("runner", "option"), [("FlinkRunner", "flink"), ("SparkRunner", "spark")])
def test_a_java_job_server_ends_with_a_launcher_that_is_killed(
    tmp_path: Path, runner: str, option: str
) -> None:
    """By itself a Java job server does not notice that its launcher is gone."""
    java, pid = tmp_path / "java", tmp_path / "pid"
    java.write_text(JAVA.format(python=sys.executable, pid=str(pid)))
    java.chmod(0o755)
    options = [f"--job_server_java_launcher={java}", f"--{option}_job_server_jar={java}"]
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, runner, *options]) as launcher:
        _until(lambda: pid.exists() and pid.read_text())
        time.sleep(0.5)  # until the guard runs
        launcher.kill()
    _until(lambda: not _alive(int(pid.read_text())))


def test_a_java_that_does_not_start_is_named(tmp_path: Path) -> None:
    """The message quotes its last output."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from bulkinfer.pipelines.runners.job_servers import FlinkRunner
    from bulkinfer.transforms.errors import RunnerError

    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'no such version'\nexit 1\n")
    java.chmod(0o755)
    options = PipelineOptions([f"--job_server_java_launcher={java}", f"--flink_job_server_jar={java}"])
    with pytest.raises(RunnerError, match=r"runner flink: .*java does not start \(no such version\)"):
        FlinkRunner().default_job_server(options).start()


def _until(condition: object, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
