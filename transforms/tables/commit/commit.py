"""Makes the staged parts of a run visible exactly once; safe to kill at any point and to run again.

The protocol is in `docs/design/commits.md`; what finishes a run that was killed is in `recovery`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import logging
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from ...errors import StoreError
from ...runs.claims import ClaimFile
from ...runs.parts import commit_path, run_directory
from ...runs.record import RunRecord, read_run, write_run
from ...storage.files import swap_directory
from ...storage.store import Store
from .claim import committing
from .plan import make_plan
from .steps import CommitPlan, Step, read_plan

__all__ = ["CommitResult", "commit_run", "result_of"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CommitResult:
    """The figures of a committed run.

    Attributes:
        run_id: the run.
        inputs: inputs that it finished, in predictions or errors.
        predictions: inputs that succeeded.
        errors: inputs that did not.
        masks: rows of the masks table.
        calls: calls that its workers made, as counted in their parts.
        retries: of these, calls that sent inputs again.
        files: files that it added.
        replaced_rows: older rows of the same inputs that it dropped.
        invalid_parts: broken staged parts by id, with the reason; the next run does their inputs again.
        counts: all of the above and the workers' other counters.
    """

    run_id: str
    inputs: int = 0
    predictions: int = 0
    errors: int = 0
    masks: int = 0
    calls: int = 0
    retries: int = 0
    files: int = 0
    replaced_rows: int = 0
    invalid_parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)


def result_of(record: RunRecord) -> CommitResult:
    """Read a committed run's result from its record."""
    names = {field.name for field in dataclasses.fields(CommitResult)}
    known = {name: value for name, value in record.counts.items() if name in names}
    return CommitResult(record.run_id, **known, invalid_parts=record.invalid_parts, counts=record.counts)


def commit_run(store: Store, run_id: str, *, complete: bool = False) -> CommitResult:
    """Make all durable parts of a run visible; does nothing when the run is committed already.

    While another process commits the run, this one waits, and then returns that one's result.

    Args:
        store: of the output.
        run_id: of a run that has a record.
        complete: the run went through its whole source.

    Raises:
        OutputInUseError: another living process commits the run and does not finish.
        StoreError: the store fails; what was durable stays so, and the next start commits it.
    """
    while True:
        record = _record(store, run_id)
        if record.committed:
            return result_of(record)
        with contextlib.nullcontext() if record.creates_new else committing(store, run_id) as claim:
            try:
                result = _commit(store, run_id, claim, complete=complete)
            except StoreError:
                lapsed = claim is not None and claim.lapsed
                if not lapsed and not _is_committed(store, run_id):
                    raise
                result = None  # the other process may have moved or cleaned the missing files
        if result is not None:
            return result
        logger.warning("another process took over the commit: run=%s", run_id)


def _record(store: Store, run_id: str) -> RunRecord:
    record = read_run(store, run_id)
    if record is None:
        raise StoreError(
            f"{store.url(run_directory(run_id))}/run.json is missing, so the run cannot be committed; "
            "restore it, or start the job again"
        )
    return record


def _is_committed(store: Store, run_id: str) -> bool:
    try:
        return _record(store, run_id).committed
    except StoreError:
        return False  # the fault that led here is the more useful one


def _commit(store: Store, run_id: str, claim: ClaimFile | None, *, complete: bool) -> CommitResult | None:
    """Commit a run, under a claim where the store needs one; None when another process has taken over."""
    record = _record(store, run_id)
    if record.committed:  # by the previous holder of the claim
        return result_of(record)
    plan = _planned(store, run_id)
    if plan is None:
        plan = _plan_under(claim, store, record, complete) if claim else _plan_first(store, record, complete)
    if plan is None:
        return None
    _publish(store, plan)
    _clean(store, run_id)
    record = dataclasses.replace(
        record,
        state="committed",
        finished_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        counts=plan.counts,
        parts=plan.parts,
        invalid_parts=plan.invalid_parts,
        keep=plan.keep or record.keep,
        files=plan.added,
        removed=plan.removed,
        jobs=plan.jobs,
    )
    if not _is_committed(store, run_id):  # else the other may have written more into it since
        write_run(store, record)
    result = result_of(record)
    logger.info(
        "commit: run=%s parts=%d inputs=%d errors=%d files=%d",
        run_id,
        len(plan.parts),
        result.inputs,
        result.errors,
        result.files,
    )
    return result


def _plan_first(store: Store, record: RunRecord, complete: bool) -> CommitPlan | None:
    """Plan a commit; of all who plan at once the plan of the first to write it down is carried out by each."""
    ready = _ready(record.run_id)
    try:
        plan = make_plan(store, record, ready, complete=complete)
    except (StoreError, FileNotFoundError):
        if not store.exists(commit_path(record.run_id)):
            raise
        plan = None  # another is moving the files by its plan
    if plan is None or not store.create_new(commit_path(record.run_id), plan.to_json()):
        store.remove_tree(ready)
    return _planned(store, record.run_id)


def _ready(run_id: str) -> str:
    pa.default_memory_pool().release_unused()  # merging files needs the memory that workers of this process freed
    return f"{run_directory(run_id)}/ready-{secrets.token_hex(3)}"


def _plan_under(claim: ClaimFile, store: Store, record: RunRecord, complete: bool) -> CommitPlan | None:
    """Plan a commit under a claim; None when another process has taken it over."""
    ready = _ready(record.run_id)
    plan = make_plan(store, record, ready, complete=complete)
    if plan is None or claim.lapsed or store.exists(commit_path(record.run_id)):
        store.remove_tree(ready)
        return None
    store.write(commit_path(record.run_id), plan.to_json())
    return _planned(store, record.run_id) or plan


def _planned(store: Store, run_id: str) -> CommitPlan | None:
    try:
        return read_plan(store.read(commit_path(run_id)), store.url(commit_path(run_id)))
    except FileNotFoundError:
        return None


def _publish(store: Store, plan: CommitPlan) -> None:
    # A rename takes microseconds; a copy inside an object store takes one or more network requests.
    with ThreadPoolExecutor(max_workers=1 if store.can_rename else 16) as pool:
        for _, steps in itertools.groupby(plan.steps, key=lambda step: step.stage):
            list(pool.map(lambda step: _carry_out(store, step), list(steps)))


def _carry_out(store: Store, step: Step) -> None:
    """Do one step; a step that is done already is recognised by its result and skipped."""
    if step.tree:
        if step.source is None:
            store.remove_tree(step.target)
        else:
            with store.telling("write", step.target):
                swap_directory(Path(store.full_path(step.source)), Path(store.full_path(step.target)))
        return
    if step.source is None:
        store.remove(step.target)
        return
    if not step.replaces and not store.can_rename:
        target = store.info(step.target)
        if target is not None and target.size == step.size:
            return
    if store.exists(step.source):
        try:
            if store.can_rename:
                store.move(step.source, step.target)
            else:
                store.copy(step.source, step.target)
        except StoreError:
            # Another committer of the same plan, one that stalled and was taken for dead, may have done this step.
            if store.exists(step.source) or not store.exists(step.target):
                raise
    elif not store.exists(step.target):
        raise StoreError(
            f"{store.url(step.source)} is gone, though it was to become {step.target}; restore it, or delete "
            "the run's directory and start the job again"
        )


def _clean(store: Store, run_id: str) -> None:
    directory = run_directory(run_id)
    for path in store.directories(directory):
        name = path.rpartition("/")[2]
        if name in ("staging", "parts", "passes") or name.startswith("ready-"):
            store.remove_tree(path)
