"""What a job asks before it sends anything: whether it would pay again, and which inputs its source names no more."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from ..errors import ConfigError
from ..runs.parts import OutputSpec
from ..runs.record import RunRecord, list_runs
from ..sources.source import SourceSpec
from .completed import CompletedSpec
from .difference import Difference, Look
from .input_index import Pairs

__all__ = ["before_sending", "refuse_change"]

logger = logging.getLogger(__name__)


def before_sending(
    source: SourceSpec,
    completed: CompletedSpec,
    output: OutputSpec,
    *,
    drop: bool = False,
    allow: bool = False,
) -> Pairs:
    """Refuse to replace another job's answers, and find the inputs whose rows the run drops; it writes nothing.

    It lists the source once, where there are answers of another job, or rows that may have to go.

    Args:
        drop: rows of inputs that the source names no more go.
        allow: even if that is more than half of them.

    Returns:
        The hashed ids of the inputs whose rows are to go; shape (n, 2).

    Raises:
        ConfigError: inputs of the source would be paid again, or more than half of them vanished at once.
        SourceError: the source cannot be listed or read.
        StoreError: an index of an earlier run cannot be read.
    """
    asks = completed.on_change == "refuse" and completed.select == "todo" and bool(_others(output))
    asks = asks and completed.load().outdated > 0  # else they were all done again, once
    # A limit cuts the listing short, and who looks at failed inputs alone has no eye for the others.
    drops = drop and source.limit is None and completed.select != "failed"
    none = np.empty((0, 2), np.uint64)
    if not asks and not drops:
        return none
    # The rows of all jobs go, so the indexes of all of them are looked at.
    spec = dataclasses.replace(completed, revalidate=False, on_change="refuse" if asks else "redo")
    look = Look.at(source, spec, whole=drops)
    if asks:
        refuse_change(look.found, completed, output)
    return _vanished(look, output, allow=allow) if drops else none


def _vanished(look: Look, output: OutputSpec, *, allow: bool) -> Pairs:
    ids, known = look.index.present(look.named), len(look.index.present())
    if len(ids) and look.hiding:
        logger.warning(
            "nothing is dropped: %d inputs in %s are named no more, but %d rows or files of the source cannot be read, "
            "and may name them",
            len(ids),
            output.uri,
            look.hiding,
        )
        return ids[:0]
    if 2 * len(ids) > known and not allow:
        raise ConfigError(
            f"source.vanished: {len(ids)} of {known} inputs in {output.uri} are named by the source no more, which is "
            "more than half, so nothing was sent or dropped; look whether all of the source is there, or run once with "
            "--allow-vanish"
        )
    return ids


def refuse_change(found: Difference, completed: CompletedSpec, output: OutputSpec) -> None:
    """Do what `check_change` does, where the source is compared already.

    Raises:
        ConfigError: inputs of the source would be paid again.
    """
    if completed.on_change != "refuse" or not found.outdated:
        return
    about = "" if found.exact else "about "
    latest = _others(output)[-1]
    raise ConfigError(
        f"on_change: {about}{found.outdated} inputs of the source are in {output.uri}/predictions with another "
        f"{_what_differs(latest, output)} (run {latest.run_id}), and would be paid again; write on_change: redo to do "
        "them again, keep to leave them as they are, or keep_both to have both"
    )


def _others(output: OutputSpec) -> list[RunRecord]:
    """The runs that asked something else than this job does, and have answers."""
    return [
        run
        for run in list_runs(output.store())
        if run.committed and run.fingerprint != output.fingerprint and run.counts.get("predictions")
    ]


def _what_differs(run: RunRecord, output: OutputSpec) -> str:
    if run.model_url != output.model_url:
        return f"model: {run.model_url} then, {output.model_url} now"
    if run.model_version != output.model_version:
        return f"model version: {run.model_version or 'none'} then, {output.model_version or 'none'} now"
    if run.method and run.method != output.method:
        return f"method: {run.method} then, {output.method} now"
    return "method or arguments" if not run.method else "set of arguments"
