"""Beam's Flink, Spark and Prism runners with a job server that survives Ctrl-C and ends with its launcher.

Beam's own runners install a SIGINT handler for their job server: it kills the job server before the job can react to
the interrupt, so that the cluster goes on sending, and it can be set in the main thread only. And they leave their job
server running when the launcher is killed.
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
#: Waits until its input ends, which its launcher holds open, then kills the given process.
_GUARD = """trap '' INT TERM HUP; read -r _; kill -9 "$0" """
_STOP_SECONDS = 5
#: A pipeline may be a large message; a busy machine may answer pings late.
_CHANNEL = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_timeout_ms", 600_000),
]


class FlinkRunner(flink_runner.FlinkRunner):
    """Beam's FlinkRunner with a job server that ignores interrupts, which are for the job."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _owned("flink", super().default_job_server(options))


class SparkRunner(spark_runner.SparkRunner):
    """Beam's SparkRunner with a job server that ignores interrupts, which are for the job."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _owned("spark", super().default_job_server(options))


class PrismRunner(prism_runner.PrismRunner):
    """Beam's PrismRunner with a Prism that ignores interrupts, which are for the job."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A Prism that this process starts, and that ends with it."""
        fix = "name a Prism for this machine and Beam's version in runner.options.prism_location"
        return _Owned("prism", prism_runner.PrismJobServer(options), fix)

    def create_job_service_handle(
        self, job_service: object, options: PipelineOptions
    ) -> portable_runner.JobServiceHandle:
        """A client that submits a job, however long the job takes."""
        return _Handle(job_service, options, retain_unknown_options=True)


class _Handle(portable_runner.JobServiceHandle):
    def run(self, preparation_id: str) -> object:
        # Beam's request timeout, 300 s, would also end the streams of a running job, which are opened with it because
        # Prism, unlike Flink and Spark, knows a job by its preparation's id.
        self.timeout = None
        return super().run(preparation_id)


class _Owned(job_server.JobServer):
    """A job server process that no Ctrl-C reaches and that never outlives its launcher.

    Args:
        runner: its name in job files.
        inner: Beam's job server, which knows the command to start.
        fix: advice for the error message when the command does not start.
    """

    def __init__(self, runner: str, inner: job_server.SubprocessJobServer, fix: str) -> None:
        self._runner, self._inner, self._fix = runner, inner, fix

    def start(self) -> object:
        # Beam stages artifacts there; its own start would set it.
        self._inner._local_temp_root = tempfile.mkdtemp(prefix="beam-temp")
        command, endpoint = self._inner.subprocess_cmd_and_endpoint()
        try:
            # In a session of its own, away from a terminal's Ctrl-C: Go programs undo an inherited signal block.
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
        # Without the guard Prism notices a killed launcher when it next logs, and a Java job server never.
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
        self._guard.kill()  # first: an ended job server's process id may be reused
        self._guard.communicate()
        self._process.terminate()  # politely, so that Spark removes its temporary files
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
    """Wrap a job server that is a subprocess; one that runs already is returned as it is."""
    inner = getattr(server, "_job_server", None)  # of a StopOnExitJobServer
    if isinstance(inner, job_server.SubprocessJobServer):
        return _Owned(
            runner, inner, "-v shows what it says; it needs Java 11 or 17, and its job server's jar"
        )
    return server
