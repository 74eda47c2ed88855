"""`bulkinfer runs`: what each run at an output did, the first one first."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from bulkinfer.transforms.runs.record import RunRecord

__all__ = ["RunLine", "lines_of"]

_HEAD = ("run", "started", "job", "model version", "inputs", "errors", "calls", "tokens", "seconds", "state")
_COUNTED = ("inputs", "predictions", "errors", "masks", "calls", "retries")
_TOLD = ("new", "changed", "gone", "dropped", "skipped", "remaining", "cost")


@dataclasses.dataclass(frozen=True)
class RunLine:
    """One run.

    Attributes:
        run_id: of the run.
        state: committed, or running: alive, or killed and to be committed by the next start.
        started_at: ISO 8601, UTC.
        finished_at: when its tables became visible; "" before.
        seconds: between these two; None before.
        job: its kind.
        model: that was called.
        model_version: the version that answered.
        method: of the model.
        arguments: digest of what else it was asked.
        inputs: that it put into a table.
        predictions: of these, those that succeeded.
        errors: of these, the others.
        masks: rows of `masks` that it wrote.
        new, changed, gone, dropped, skipped, remaining: as its summary told; None where a later start committed it.
        calls: that it sent, retries included.
        retries: of these, calls that sent inputs again.
        cost: by `stop.prices`; None without prices.
        tokens: of prompts and completions; they stay when a later run replaces the answers.
    """

    run_id: str
    state: str
    started_at: str
    finished_at: str
    seconds: float | None
    job: str
    model: str
    model_version: str
    method: str
    arguments: str
    inputs: int
    predictions: int
    errors: int
    masks: int
    new: int | None
    changed: int | None
    gone: int | None
    dropped: int | None
    skipped: int | None
    remaining: int | None
    cost: float | None
    calls: int
    retries: int
    tokens: int

    @classmethod
    def of(cls, run: RunRecord) -> RunLine:
        """Read a run's record."""
        counts: Mapping[str, Any] = run.counts
        named: dict[str, Any] = {name: counts.get(name, 0) for name in _COUNTED}
        named |= {name: run.outcome.get(name) for name in _TOLD}
        seconds = None
        if run.finished_at:
            times = [datetime.datetime.fromisoformat(one) for one in (run.started_at, run.finished_at)]
            seconds = (times[1] - times[0]).total_seconds()
        return cls(
            run_id=run.run_id,
            state=run.state,
            started_at=run.started_at,
            finished_at=run.finished_at,
            seconds=seconds,
            job=str(run.job.get("job", "bulk-inference")),
            model=run.model_url,
            model_version=run.model_version,
            method=run.method or str((run.job.get("model") or {}).get("method", "")),
            arguments=run.arguments,
            **named,
            tokens=counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0),
        )

    def to_json(self) -> dict[str, Any]:
        """All figures by name."""
        return dataclasses.asdict(self)

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures that a terminal shows."""
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        counts = map(str, (self.inputs, self.errors, self.calls, self.tokens))
        return (self.run_id, self.started_at, self.job, self.model_version, *counts, seconds, self.state)


def lines_of(runs: list[RunLine]) -> str:
    """A line a run, below a line of heads, as columns."""
    rows = [_HEAD, *(run.cells for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    right = range(_HEAD.index("inputs"), _HEAD.index("state"))
    return "\n".join(
        "  ".join(
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )
