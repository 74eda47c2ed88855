"""Finds workers that run other versions than the launcher, before anything is sent."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import apache_beam as beam

from ..errors import RunnerError

__all__ = ["SameVersions", "Versions"]


@dataclasses.dataclass(frozen=True)
class Versions:
    """What must be alike in the launcher and in every worker: pickles and tables depend on it."""

    bulkinfer: str
    apache_beam: str
    python: str

    @classmethod
    def here(cls) -> Versions:
        """Those of this process."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(metadata.version("bulkinfer"), metadata.version("apache-beam"), python)

    def check(self, worker: Versions, host: str) -> None:
        """Compare with those of a worker.

        Raises:
            RunnerError: one differs.
        """
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(worker, field.name)
            if ours != theirs:
                name = field.name.replace("_", "-")
                raise RunnerError(
                    f"the worker on {host} has {name} {theirs} and this launcher {ours}; install {name} "
                    f"{ours} in the workers' environment, or start the job with theirs"
                )


@dataclasses.dataclass
class SameVersions(beam.PTransform):
    """Hands its elements on unchanged, in workers that have the launcher's versions; fails the job in
    others."""

    launcher: Versions = dataclasses.field(default_factory=Versions.here)

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """Compare once in each worker."""
        return elements | "Compare" >> beam.ParDo(_CompareFn(self.launcher))


class _CompareFn(beam.DoFn):
    def __init__(self, launcher: Versions) -> None:
        self._launcher = launcher

    def setup(self) -> None:
        self._launcher.check(Versions.here(), platform.node())

    def process(self, element: Any) -> Iterator[Any]:
        yield element
