"""`bulkinfer plan`: checks a job, counts its source, estimates calls and time; sends and writes nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from bulkinfer.transforms.calls.limits.tokens import answer_limit
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, PricesConfig
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.kept.types import is_json, source_of
from bulkinfer.transforms.storage.exclusive import may_create_new
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.difference import compare
from bulkinfer.transforms.tables.vanished import refuse_change

from ..runners.checks import check_runner
from ..runners.options import describe, pipeline_options
from .lake_enrichment import left_out, with_all_columns
from .preflight import check_output_of, new_run_id, open_endpoint, prepare

__all__ = ["Plan", "plan_job"]

#: Assumed duration of a call; segmentation and short generations take about this long.
_ASSUMED_CALL_S = 1.0
_BYTES_A_TOKEN = 4  #: of English text, for most tokenizers


@dataclasses.dataclass(frozen=True)
class Kept:
    """A column that the predictions table gets from the source: its name and type there, and where it comes from."""

    name: str
    type: str
    column: str

    @classmethod
    def of(cls, field: Any) -> Kept:
        """Describe one field of a source's kept columns."""
        return cls(field.name, "json" if is_json(field) else str(field.type), source_of(field))

    def __str__(self) -> str:
        kind = "JSON text, as its rows hold values of several types" if self.type == "json" else self.type
        renamed = f", the source's {self.column}" if self.column != self.name else ""
        return f"{self.name}: {kind}{renamed}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        inputs: references that the source holds.
        bytes: size of those that the next run sends; None where the store does not tell it.
        new: inputs in no table yet, which the next run sends.
        changed: inputs that an earlier run did, with other content or for another job, which the next run sends.
        touched: of `changed`, inputs with another time or etag, whose content the run compares before it sends them.
        outdated: of `changed`, inputs in `predictions` by a job with another model, version, method or arguments.
        done: inputs in `predictions`, which it leaves out.
        failed: inputs in `errors`, which it leaves out unless asked by --retry-failed.
        unreadable: rows and files that name no input, each an `errors` row.
        gone: inputs in `predictions` that the source names no more; None with a limit.
        vanished: what happens to their rows: keep or drop.
        exact: false where archives are too many or too large to be looked at all: the figures are estimates then.
        calls: calls of the next run, without retries.
        commits: how one commit of a run is told from another of the same run.
        keep: the columns that the predictions table gets from the source.
        snapshot: what of a Delta or an Iceberg table it reads; "" of any other source.
        may_read: what the references of the manifest may name.
        left_out: columns of the table that a job that keeps all does not keep, and why.
        tokens: estimated tokens of prompts and answers, see `estimate_tokens`; None where it cannot be told.
        cost: what `stop.prices` add up to for that; None without prices.
        seconds: estimated time of the calls: the longer of what the limits allow and `assumed_call_seconds` a call
            at the calls in flight.
    """

    model: str
    model_version: str
    method: str
    endpoint: str
    inputs: int
    bytes: int | None
    new: int
    changed: int
    touched: int
    outdated: int
    done: int
    failed: int
    unreadable: int
    gone: int | None
    exact: bool
    calls: int
    seconds: float
    assumed_call_seconds: float
    output: str
    runner: str
    commits: str
    vanished: str = "keep"
    snapshot: str = ""
    may_read: str = "any reference"
    tokens: int | None = None
    cost: float | None = None
    keep: tuple[Kept, ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def _fate(self) -> str:
        if self.vanished == "keep":
            return ""
        many = self.gone and self.gone > self.done
        return ": more than half, so `run` asks for --allow-vanish" if many else ": their rows are dropped"

    def to_json(self) -> dict[str, Any]:
        """Return all figures by name."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """Format the plan for a terminal, one line a figure."""
        size = f"{self.bytes:,} bytes" if self.bytes is not None else "of unknown size"
        version = f", version {self.model_version}" if self.model_version else ""
        about = "" if self.exact else "about "
        return "\n".join(
            [
                f"model     {self.model}{version}",
                f"method    {self.method}",
                f"endpoint  {self.endpoint}",
                f"inputs    {about}{self.inputs}: {self.done} done, {self.failed} failed before, {self.new} new, "
                f"{self.changed} changed",
                *(
                    [f"touched   {self.touched} of them by time or etag alone: compared first"]
                    if self.touched
                    else []
                ),
                *(
                    [f"another job's answers: {self.outdated}, done again by on_change"]
                    if self.outdated
                    else []
                ),
                *([f"unread    {self.unreadable} rows or files name no input"] if self.unreadable else []),
                *(
                    [f"gone      {self.gone} in `predictions` are named no more{self._fate}"]
                    if self.gone
                    else []
                ),
                *([f"reads     {self.snapshot}"] if self.snapshot else []),
                *([f"may read  {self.may_read}"] if self.may_read != "any reference" else []),
                f"to do     {about}{self.new + self.changed}, {size}",
                f"calls     {about}{self.calls}",
                f"time      about {self.seconds:.0f} s, at {self.assumed_call_seconds:g} s a call",
                *([f"tokens    about {self.tokens:,}"] if self.tokens is not None else []),
                *([f"cost      about {self.cost:,.6g}"] if self.cost is not None else []),
                f"output    {self.output}",
                f"commits   {self.commits}",
                *(f"keep      {kept}" for kept in self.keep),
                *(f"left out  {name}: {reason}" for name, reason in self.left_out.items()),
                f"runner    {self.runner}",
                "everything checked; nothing was sent or written",
            ]
        )


def plan_job(file: JobFile, *, limit: int | None = None) -> Plan:
    """Check a job and estimate its calls and time.

    Raises:
        JobError: the job could not run.
    """
    keeps_all = file.config.job == "lake-enrichment" and not file.config.source.columns.keep
    if keeps_all:
        file = with_all_columns(file)
    config = file.config
    check_runner(config)
    with open_endpoint(config.model) as address:
        job = prepare(file, address, run_id=new_run_id(), limit=limit)
        check_output_of(job, write=False)
        pipeline_options(config.runner)
        completed = CompletedSpec.of(
            job.output,
            source_storage=config.source.storage,
            allowed=job.source.allowed,
            revalidate=config.source.revalidate,
            on_change=config.on_change,
            max_bytes=int(config.source.max_bytes),
            file_timeout=config.source.timeout.file,
        )
        completed.warn_of_lost()
        found = compare(job.source, completed)
        refuse_change(found, completed, job.output)
        # A streaming method takes one input a call, whatever the batch size says.
        endpoint = job.call.endpoint
        batch = min(config.calls.batch_size, endpoint.limits.inputs or config.calls.batch_size)
        calls = math.ceil(found.todo / batch)
        if found.bytes is not None and endpoint.needs.content:
            calls = max(calls, math.ceil(found.bytes / int(config.calls.batch_bytes)))
        tokens = estimate_tokens(config.model, job.source.media_type, found.bytes, found.todo)
        return Plan(
            model=endpoint.identity,
            model_version=endpoint.version,
            method=endpoint.signature,
            endpoint=endpoint.address,
            **dataclasses.asdict(found),
            calls=calls,
            seconds=estimate_seconds(job.call.calls, job.call.workers, calls, found.todo, sum(tokens or ())),
            assumed_call_seconds=_ASSUMED_CALL_S,
            output=config.output.uri,
            runner=describe(config.runner),
            tokens=None if tokens is None else sum(tokens),
            cost=estimate_cost(config.stop.prices, calls, found.todo, tokens),
            commits=_commits(job.output.store()),
            vanished=config.source.vanished,
            snapshot=job.source.snapshot,
            may_read=str(job.source.allowed),
            keep=tuple(Kept.of(field) for field in job.source.keep_schema),
            left_out=left_out(config.source, job.source.schema.names) if keeps_all else {},
        )


def _commits(store: Store) -> str:
    if may_create_new(store.protocol):
        return "decided by the store, by a conditional create; by timed claims where the start finds that it cannot"
    return "decided by timed claims, as the store has no conditional create"


def estimate_seconds(limits: CallsConfig, workers: int, calls: int, inputs: int, tokens: int = 0) -> float:
    """Estimate seconds: the longer of what rate limits allow and what the calls in flight take."""
    estimates = [math.ceil(calls / (limits.in_flight * workers)) * _ASSUMED_CALL_S]
    if limits.calls_per_second:
        estimates.append(calls / limits.calls_per_second)
    if limits.inputs_per_second:
        estimates.append(inputs / limits.inputs_per_second)
    if limits.tokens_per_minute:
        estimates.append(tokens / limits.tokens_per_minute * 60)
    return round(max(estimates), 1)


def estimate_tokens(
    model: ModelConfig, media: str | None, nbytes: int | None, inputs: int
) -> tuple[int, int] | None:
    """Estimate tokens of prompts, a quarter of their bytes, and of answers, as many as an argument allows.

    Args:
        nbytes: of the contents; None where it is not known.

    Returns:
        Both; None where the contents are no text, or their size is not known.
    """
    if media != "text" or nbytes is None:
        return None
    constant = sum(
        len(value.encode())
        for value in model.arguments.values()
        if isinstance(value, str) and value[:1] != "$"
    )
    most = answer_limit(model.arguments) or 0
    return (nbytes + inputs * constant) // _BYTES_A_TOKEN, inputs * most


def estimate_cost(
    prices: PricesConfig | None, calls: int, inputs: int, tokens: tuple[int, int] | None
) -> float | None:
    """Estimate the cost; None without prices, or where they are of tokens that cannot be estimated."""
    if prices is None or (tokens is None and (prices.prompt_tokens or prices.completion_tokens)):
        return None
    prompt, completion = tokens or (0, 0)
    return prices.cost(calls=calls, inputs=inputs, prompt_tokens=prompt, completion_tokens=completion)
