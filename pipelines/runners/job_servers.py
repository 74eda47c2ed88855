"""Beam's Flink, Spark and Prism runners with a job server that Ctrl-C and threads do not trouble.

Beam's own ones hand their job server a SIGINT handler: it kills the job server before the job has heard of
the interrupt, so that the cluster goes on sending, and it can be set in the main thread only. And they leave their job
server behind when the launcher is killed.
"""

from __future__ import annotations

import atexit
import collections
import logging
import shutil
import subprocess
import tempfile
import threading

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.portability import (
    flink_runner,
    job_server,
    portable_runner,
    prism_runner,
    spark_runner,
)
from bulkinfer.transforms.errors import RunnerError

__all__ = ["FlinkRunner", "PrismRunner", "SparkRunner"]

logger = logging.getLogger(__name__)
#: Waits for the end of its input, which its launcher holds, then kills the process that it was given.
_GUARD = """trap '' INT TERM HUP; read -r _; kill -9 "$0" """
_STOP_SECONDS = 5
#: A pipeline of many arguments is a large message; a busy machine may answer pings late.
_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_timeout_ms", 600_000),
]


class FlinkRunner(flink_runner.FlinkRunner):
    """Beam's FlinkRunner; interrupts are for the job, not for its job server."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _owned("flink", super().default_job_server(options))


class SparkRunner(spark_runner.SparkRunner):
    """Beam's SparkRunner; interrupts are for the job, not for its job server."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _owned("spark", super().default_job_server(options))


class PrismRunner(prism_runner.PrismRunner):
    """Beam's PrismRunner; interrupts are for the job, not for its Prism."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A Prism of this process, which ends with it."""
        fix = "name a Prism for this machine and Beam's version in runner.options.prism_location"
        return _Owned("prism", prism_runner.PrismJobServer(options), fix)

    def create_job_service_handle(
        self, job_service: object, options: PipelineOptions
    ) -> portable_runner.JobServiceHandle:
        """What submits a job, however long the job takes."""
        return _Handle(job_service, options, retain_unknown_options=True)


class _Handle(portable_runner.JobServiceHandle):
    def run(self, preparation_id: str) -> object:
        # Beam's timeout of requests, 300 s, would end the streams of a running job as well: Prism, unlike Flink and
        # Spark, knows a job by its preparation's id, so that they are opened with it.
        self.timeout = None
        return super().run(preparation_id)


class _Owned(job_server.JobServer):
    """A job server as a process that no Ctrl-C reaches and that does not outlive its launcher, however that one ends.

    Args:
        runner: its name in job files.
        inner: knows the command.
        fix: what to do when the command does not start.
    """

    def __init__(self, runner: str, inner: job_server.SubprocessJobServer, fix: str) -> None:
        self._runner, self._inner, self._fix = runner, inner, fix

    def start(self) -> object:
        # Beam's own names of its parts: where artifacts are staged, what ends with the job server.
        self._inner._local_temp_root = tempfile.mkdtemp(prefix="beam-temp")
        command, endpoint = self._inner.subprocess_cmd_and_endpoint()
        try:
            # In a session of its own, away from a terminal's Ctrl-C: Go programs lift a block that they inherit.
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
                start_new_session=True,
            )
        except OSError as error:
            self._remove_files()
            raise self._unstarted(command[0], str(error.strerror)) from error
        # Left alone, Prism notices a killed launcher when it next logs, and a Java job server never does.
        guard = ["sh", "-c", _GUARD, str(self._process.pid)]
        self._guard = subprocess.Popen(
            guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        atexit.register(self.stop)
        self._said: collections.deque[str] = collections.deque(maxlen=1)
        log = threading.Thread(target=self._log, name=f"{self._runner}-log", daemon=True)
        log.start()
        channel = grpc.insecure_channel(endpoint, options=_CHANNEL)
        ready = grpc.channel_ready_future(channel)
        while True:
            try:
                ready.result(timeout=0.2)
            except grpc.FutureTimeoutError:
                if self._process.poll() is None:
                    continue
                channel.close()
                self.stop()
                log.join()
                raise self._unstarted(command[0], "".join(self._said)) from None
            return beam_job_api_pb2_grpc.JobServiceStub(channel)

    def stop(self) -> None:
        atexit.unregister(self.stop)
        self._guard.kill()  # first: the job server's number may be another's when it has ended
        self._guard.communicate()
        self._process.terminate()  # Spark removes its temporary files; else it holds nothing that is not in the output
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._remove_files()

    def _remove_files(self) -> None:
        shutil.rmtree(self._inner._local_temp_root, ignore_errors=True)

    def _log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said.append(line.strip())
                logger.info("%s: %s", self._runner, line.rstrip())

    def _unstarted(self, binary: object, why: str) -> RunnerError:
        return RunnerError(f"runner {self._runner}: {binary} does not start ({why}); {self._fix}")


def _owned(runner: str, server: job_server.JobServer) -> job_server.JobServer:
    """The job server as a process of ours, where it is to be one at all."""
    inner = getattr(server, "_job_server", None)  # of a StopOnExitJobServer
    if isinstance(inner, job_server.SubprocessJobServer):
        return _Owned(
            runner, inner, "-v shows what it says; it needs Java 11 or 17, and its job server's jar"
        )
    return server
