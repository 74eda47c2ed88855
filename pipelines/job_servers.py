"""Beam's Flink and Spark runners with a job server that Ctrl-C and threads do not trouble.

Beam's own ones hand their job server a SIGINT handler: it kills the job server before the job has heard of
the interrupt, so that the cluster goes on sending, and it can be set in the main thread only.
"""

from __future__ import annotations

import atexit

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import flink_runner, job_server, spark_runner

__all__ = ["FlinkRunner", "SparkRunner"]


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
