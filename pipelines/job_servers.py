"""Beam's Flink, Spark and Prism runners with a job server that Ctrl-C and threads do not trouble.

Beam's own ones hand their job server a SIGINT handler: it kills the job server before the job has heard of
the interrupt, so that the cluster goes on sending, and it can be set in the main thread only.
"""

from __future__ import annotations

import atexit
import collections
import logging
import subprocess
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


class FlinkRunner(flink_runner.FlinkRunner):
    """Beam's FlinkRunner; interrupts are for the job, not for its job server."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _quiet(super().default_job_server(options))


class SparkRunner(spark_runner.SparkRunner):
    """Beam's SparkRunner; interrupts are for the job, not for its job server."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A job server of this process, which ends with it."""
        return _quiet(super().default_job_server(options))


class PrismRunner(prism_runner.PrismRunner):
    """Beam's PrismRunner; interrupts are for the job, not for its Prism."""

    def default_job_server(self, options: PipelineOptions) -> job_server.JobServer:
        """A Prism of this process, which ends with it."""
        return _Prism(options)

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


class _Prism(prism_runner.PrismJobServer):
    """Prism as a process that no Ctrl-C reaches and that does not outlive its launcher, however that one ends.

    Left alone, it notices a killed launcher when it next logs; without a job it logs nothing.
    """

    def start(self) -> object:
        command, endpoint = self.subprocess_cmd_and_endpoint()
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
            raise _unstarted(command[0], str(error.strerror)) from error
        guard = ["sh", "-c", _GUARD, str(self._process.pid)]
        self._guard = subprocess.Popen(
            guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        atexit.register(self.stop)
        self._said: collections.deque[str] = collections.deque(maxlen=1)
        log = threading.Thread(target=self._log, name="prism-log", daemon=True)
        log.start()
        channel = grpc.insecure_channel(endpoint)
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
                raise _unstarted(command[0], "".join(self._said)) from None
            return beam_job_api_pb2_grpc.JobServiceStub(channel)

    def stop(self) -> None:
        atexit.unregister(self.stop)
        self._guard.kill()  # first: Prism's number may be another's when it has ended
        self._guard.communicate()
        self._process.kill()  # it holds nothing that is not in the output
        self._process.wait()

    def _log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said.append(line.strip())
                logger.info("prism: %s", line.rstrip())


def _unstarted(binary: object, why: str) -> RunnerError:
    return RunnerError(
        f"runner prism: {binary} does not start ({why}); name a Prism for this machine and Beam's version in "
        "runner.options.prism_location"
    )


class _EndsWithUs(job_server.JobServer):
    def __init__(self, inner: job_server.JobServer) -> None:
        self._inner = inner

    def start(self) -> object:
        service = self._inner.start()
        atexit.register(self._inner.stop)
        return service

    def stop(self) -> None:
        atexit.unregister(self._inner.stop)
        self._inner.stop()


def _quiet(server: job_server.JobServer) -> job_server.JobServer:
    if isinstance(server, job_server.StopOnExitJobServer):
        return _EndsWithUs(server._job_server)
    return server
