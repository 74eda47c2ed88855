"""Finds workers that run other versions than the launcher, before anything is sent."""

from __future__ import annotations

import dataclasses
import sys
from importlib import metadata

from ..errors import RunnerError

__all__ = ["Versions"]


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
