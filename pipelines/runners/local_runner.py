"""Beam's local runner with worker processes that ignore SIGINT, SIGTERM and SIGHUP.

Ctrl-C goes to every process of a terminal's group, and a service manager's SIGTERM to every process of the service. The
launcher handles them and lets the workers finish their calls; a worker that they ended would lose its calls in flight.
Beam starts its workers through a shell, which undoes a blocked signal but not an ignored one. A worker whose launcher
dies ends with the connection to it.
"""

from __future__ import annotations

import logging
import shlex
import sys

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability import fn_api_runner
from apache_beam.runners.runner import PipelineResult

__all__ = ["LocalRunner"]


class LocalRunner(fn_api_runner.FnApiRunner):
    """Runs a pipeline in this process, or in worker processes of this machine."""

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: PipelineOptions
    ) -> PipelineResult:
        """Run a pipeline; its workers ignore SIGINT, SIGTERM and SIGHUP, and log as this process does."""
        level = logging.getLogger().getEffectiveLevel()
        worker = f"exec {shlex.quote(sys.executable)} -m bulkinfer.pipelines.runners.local_worker {level}"
        worker += " 1>&2"  # what a callable of the job's prints is no result
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = f"trap '' INT TERM HUP; {worker}".encode()
        return super().run_via_runner_api(pipeline_proto, options)
