"""`_runs/RUN_ID/run.json`: what a run did, for people, for its own commit and for later runs.

The record is all that a commit needs besides the parts, so that a run can be committed by another process, on
another machine, long after its own has died. It holds no secrets.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import logging
import platform
import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..kept.types import from_text, to_text
from ..storage.exclusive import may_create_new
from ..storage.store import Store
from .job_text import without_secrets
from .parts import FORMAT, RUNS, OutputSpec, run_directory

__all__ = [
    "HISTORY",
    "RunRecord",
    "begin_run",
    "history_text",
    "list_runs",
    "read_run",
    "record_outcome",
    "write_run",
]

logger = logging.getLogger(__name__)

HISTORY = f"{RUNS}/history.json"
#: What was read last: a run asks some ten times, and parsing a year of records takes 30 ms.
_histories: dict[str, tuple[bytes, list[RunRecord]]] = {}


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A run as its record tells it.

    Attributes:
        run_id: of the run.
        sequence: its number among the runs at this output; clocks may differ between machines, so the run_id
            does not tell which of two runs is the later one.
        state: running | committed.
        started_at: ISO 8601, UTC.
        finished_at: when its tables became visible; "" before.
        fingerprint: of the job: model, version, method, arguments.
        model_url: the model that is called.
        model_version: its version.
        method: of the model.
        arguments: digest of what else it was asked, see `OutputSpec`.
        beside: rows of the same inputs that jobs with another fingerprint wrote stay.
        layout: what all runs at one output must share, see `OutputSpec.layout`.
        keep: Arrow schema of the kept columns, serialized, in base64.
        file_bytes: size that table files aim for.
        lists_all: see `OutputSpec`.
        creates_new: its store creates a file only where there is none, which decides between two who commit it.
        counts: inputs, predictions, errors, masks, rows and files, replaced, and the workers' counters.
        parts: ids of the parts that were committed.
        invalid_parts: parts that were found broken, with the reason; their inputs are done again.
        files: table files with rows that its commit added.
        removed: table files of earlier runs that its commit removed.
        job: the job file without secrets.
        snapshot: what of a Delta or an Iceberg table it read; "" of any other source.
        job_file: its path; "" where a pipeline of one's own wrote the tables.
        folder: in which the job was started: relative paths mean files there.
        outcome: new, changed, gone, dropped, skipped and remaining inputs, and the cost, as the run's summary tells
            them; empty where the run was committed by a later one.
        versions: of the tool and of what decides how the tables are written.
        upkeep: "" for a run of a job; else what this one did to the output: compact.
        folded_into: the run of `compact` whose index holds what this one did.
        jobs: of a run of `compact`, the fingerprint of each file that it answers for.
    """

    run_id: str
    sequence: int
    state: str = "running"
    started_at: str = ""
    finished_at: str = ""
    fingerprint: str = ""
    model_url: str = ""
    model_version: str = ""
    method: str = ""
    arguments: str = ""
    beside: bool = False
    layout: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: str = ""
    file_bytes: int = 128_000_000
    lists_all: bool = False
    creates_new: bool = False
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    parts: tuple[str, ...] = ()
    invalid_parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    job: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    snapshot: str = ""
    job_file: str = ""
    folder: str = ""
    outcome: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    upkeep: str = ""
    folded_into: str = ""
    jobs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def committed(self) -> bool:
        """True when the run's tables are visible, and all of them."""
        return self.state == "committed"

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Hive partitions of predictions and masks."""
        return tuple(self.layout.get("partition_by", ()))

    @property
    def keep_schema(self) -> Any:
        """Arrow schema of the kept columns, or None."""
        return from_text(self.keep)

    @property
    def path(self) -> str:
        """Where the record lies in the output."""
        return _path(self.run_id)


def begin_run(
    store: Store,
    spec: OutputSpec,
    job: Mapping[str, Any] | None = None,
    job_file: str = "",
    snapshot: str = "",
) -> RunRecord:
    """Write the record of a run that starts; a record that is there already is left as it is, and returned.

    Args:
        job: the job file's values; secrets are taken out before it is written.
        job_file: its path.
        snapshot: of a lake's table, which it reads.
    """
    found = read_run(store, spec.run_id)
    if found is not None:
        return found
    record = RunRecord(
        run_id=spec.run_id,
        sequence=1 + max((run.sequence for run in list_runs(store)), default=0),
        started_at=_now(),
        fingerprint=spec.fingerprint,
        model_url=spec.model_url,
        model_version=spec.model_version,
        method=spec.method,
        arguments=spec.arguments,
        beside=spec.beside,
        layout=spec.layout(),
        keep=to_text(spec.keep_schema),
        file_bytes=spec.file_bytes,
        lists_all=spec.lists_all,
        creates_new=_can_create_new(store, run_directory(spec.run_id)),
        job=without_secrets(job or {}),
        snapshot=snapshot,
        job_file=str(Path(job_file).absolute()) if job_file else "",
        folder=str(Path.cwd()) if job_file else "",
        versions=_versions(),
    )
    if not record.creates_new:
        write_run(store, record)
    elif not store.create_new(record.path, _to_json(record)):
        return read_run(store, spec.run_id) or record
    return record


def record_outcome(store: Store, run_id: str, outcome: Mapping[str, float | None]) -> None:
    """Add to the record of a run what its tables do not tell: how the source differed from what was done.

    Raises:
        StoreError: the record cannot be read or written.
    """
    record = read_run(store, run_id)
    if record is not None and record.committed:
        write_run(store, dataclasses.replace(record, outcome=outcome))


def write_run(store: Store, record: RunRecord) -> None:
    """Write a record in place of an older one."""
    store.write(record.path, _to_json(record))


def _to_json(record: RunRecord) -> bytes:
    return json.dumps(_values(record), indent=1, sort_keys=True, default=str).encode()


def _values(record: RunRecord) -> dict[str, Any]:
    return {"format": FORMAT, **dataclasses.asdict(record)}


def read_run(store: Store, run_id: str) -> RunRecord | None:
    """The record in a run's own directory, or None when there is none.

    Raises:
        StoreError: the record is broken, or of a newer version of this tool.
    """
    place = store.url(_path(run_id))
    try:
        return _parsed(json.loads(store.read(_path(run_id))), place)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{place} is no run record of bulkinfer ({type(error).__name__}: {error}); move its directory "
            "out of _runs, or set another output.uri"
        ) from error


def _parsed(values: Mapping[str, Any], place: str) -> RunRecord:
    if values["format"] > FORMAT:
        raise StoreError(
            f"{place} was written by a newer version of bulkinfer (format {values['format']}, this one "
            f"reads {FORMAT}); upgrade bulkinfer, or set another output.uri"
        )
    known = {field.name for field in dataclasses.fields(RunRecord)}
    kept = {name: value for name, value in values.items() if name in known}
    lists = {name: tuple(kept.get(name, ())) for name in ("parts", "files", "removed")}
    return RunRecord(**{**kept, **lists, "sequence": int(kept["sequence"])})


def history_text(runs: Sequence[RunRecord]) -> bytes:
    """The records of runs whose directories `compact` removes, as `_runs/history.json`."""
    return json.dumps([_values(run) for run in runs], sort_keys=True, default=str).encode()


def _history(store: Store) -> list[RunRecord]:
    try:
        text = store.read(HISTORY)
        read = _histories.get(store.uri)
        if read is None or read[0] != text:
            found = [_parsed(values, store.url(HISTORY)) for values in json.loads(text)]
            read = _histories[store.uri] = text, found
        return read[1]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{store.url(HISTORY)} is no history of runs ({type(error).__name__}: {error}); restore it, or move the "
            "whole output away and start anew"
        ) from error


def list_runs(store: Store) -> list[RunRecord]:
    """The records of all runs at this output, in the order in which they were started.

    Raises:
        StoreError: a record is broken, or of a newer version of this tool.
    """
    names = [path.rpartition("/")[2] for path in store.directories(RUNS)]
    folded = _history(store)
    # Whoever removes a directory that is folded may be at it, so the history counts.
    known = {"locks", *(run.run_id for run in folded)}
    names = [name for name in names if name not in known]
    # One small read a run: a job that runs daily has hundreds after a year.
    with ThreadPoolExecutor(max_workers=1 if store.is_local else 16) as pool:
        found = list(pool.map(lambda name: read_run(store, name), names))
    for name, record in zip(names, found, strict=True):
        if record is None:
            logger.warning("ignored: %s has no run.json", store.url(run_directory(name)))
    return sorted([*folded, *filter(None, found)], key=lambda run: (run.sequence, run.run_id))


def _can_create_new(store: Store, directory: str) -> bool:
    """Whether the store refuses to create what exists, told by trying: some of a kind that can do not."""
    if not may_create_new(store.protocol):
        return False
    probe = f"{directory}/probe-{secrets.token_hex(4)}"
    store.write(probe, b"the first")
    try:
        return not store.create_new(probe, b"the second")
    except StoreError:
        return False
    finally:
        store.remove(probe)


def _path(run_id: str) -> str:
    return f"{run_directory(run_id)}/run.json"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("bulkinfer", *_requirements()):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _requirements() -> list[str]:
    """The packages that this one needs, without those of its extras."""
    try:
        found = importlib.metadata.requires("bulkinfer") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in found if "extra ==" not in text]
