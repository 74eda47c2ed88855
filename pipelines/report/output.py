"""What a person names as an output: its directory, or the job file that fills it; and what its runs tell about it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.job.config import JobConfig, SourceConfig
from bulkinfer.transforms.job.job_file import fill_in, load_job
from bulkinfer.transforms.runs.job_text import without_secrets
from bulkinfer.transforms.runs.parts import RUNS, TABLES
from bulkinfer.transforms.runs.record import RunRecord, list_runs
from bulkinfer.transforms.storage.references import shown
from bulkinfer.transforms.storage.store import Store
from pydantic import ValidationError

from .tables import Table

__all__ = ["Output", "open_output", "output_of"]

_HIDDEN = "***"


@dataclasses.dataclass(frozen=True)
class Output:
    """An output with what reading it takes.

    Attributes:
        store: its directory.
        runs: those that are committed, in the order of their starts.
        tables: by name.
        source: where its inputs lie, as far as it is known; without the secrets that no record holds.
        folder: relative paths of the source mean files there.
    """

    store: Store
    runs: Sequence[RunRecord]
    tables: Mapping[str, Table]
    source: SourceConfig | None
    folder: str

    @property
    def latest(self) -> RunRecord:
        """The run that was started last."""
        return self.runs[-1]

    @property
    def name(self) -> str:
        """Its directory, without secrets."""
        return shown(self.store.uri)

    def retry_command(self) -> str:
        """The command that tries what failed again."""
        record = self.latest
        words = ["bulkinfer", "run", record.job_file or "JOB.yaml", *_overrides(record), "--retry-failed"]
        return shlex.join(words)


def open_output(named: str) -> Output:
    """Open an output.

    Args:
        named: a directory, any fsspec URL, or the path of a job file.

    Raises:
        ConfigError: the job file is at fault.
        StoreError: no run has written there, or it cannot be read.
    """
    if named.endswith((".yaml", ".yml")) and Path(named).is_file():
        return output_of(load_job(named).config)
    return _opened(Store(named), None)


def output_of(job: JobConfig) -> Output:
    """Open the output of a job, whose file also says how its stores are reached.

    Raises:
        StoreError: no run has written there, or it cannot be read.
    """
    return _opened(Store(job.output.uri, job.output.storage), job.source)


def _opened(store: Store, source: SourceConfig | None) -> Output:
    runs = [run for run in list_runs(store) if run.committed and not run.upkeep]
    if not runs:
        raise StoreError(
            f"{shown(store.uri)} holds no finished run ({RUNS}/*/run.json); name the directory that output.uri names, "
            "or the job file"
        )
    tables = {name: Table(store, name) for name in TABLES}
    folder = str(Path.cwd())
    if source is None:
        source, folder = _recorded(runs)
    return Output(store, runs, tables, source, folder)


def _recorded(runs: Sequence[RunRecord]) -> tuple[SourceConfig | None, str]:
    """The source as the latest record that names one tells it."""
    for run in reversed(runs):
        section = run.job.get("source")
        if isinstance(section, Mapping):
            try:
                return SourceConfig.model_validate(fill_in(_readable(section), run.job_file)), run.folder
            except (
                ValidationError,
                ConfigError,
            ):  # a variable that is not set here, or a newer version's key
                return None, run.folder
    return None, runs[-1].folder


def _readable(value: Any) -> Any:
    """What a record tells, without the values that it hides."""
    if isinstance(value, Mapping):
        return {key: _readable(inner) for key, inner in value.items() if inner != _HIDDEN}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value


def _overrides(record: RunRecord) -> Iterator[str]:
    """The --set options that make the run's job of its file, where the file is here."""
    try:
        before = dict(_leaves(without_secrets(load_job(record.job_file).record)))
    except ConfigError:
        return
    for path, value in _leaves(record.job):
        if before.get(path) != value and _HIDDEN not in str(value):
            yield from ("--set", f"{path}={value if isinstance(value, str) else json.dumps(value)}")


def _leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
