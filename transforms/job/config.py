"""The job file as frozen models: every key, its type, its default and its meaning.

Only shape and combination are checked here, with no access to any store or endpoint; `job_file` reads the file and
turns what these models refuse into messages, the preflight checks the rest.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from .model_keys import DeploymentConfig, ModelConfig, NodepoolConfig, StreamConfig
from .section import Section
from .source_keys import ColumnsConfig, SourceConfig, SourceImageConfig, SourceTimeoutConfig
from .stop_keys import PricesConfig, StopConfig
from .units import Duration, Size, Texts, size

__all__ = [
    "CallsConfig",
    "ColumnsConfig",
    "DeploymentConfig",
    "JobConfig",
    "ModelConfig",
    "NodepoolConfig",
    "OutputConfig",
    "PricesConfig",
    "RunnerConfig",
    "SourceConfig",
    "SourceImageConfig",
    "SourceTimeoutConfig",
    "StopConfig",
    "StreamConfig",
]


class CallsConfig(Section):
    """How hard one worker process may press on the endpoint."""

    batch_size: int = Field(
        32,
        ge=1,
        le=2048,
        description="Most inputs in one call: up to 128, embeddings of kind openai up to 2,048.",
    )
    batch_bytes: Size = Field(size("32MB"), description="Most bytes of content in one call.")
    in_flight: int = Field(16, ge=1, le=4096, description="Calls under way at once in one worker process.")
    in_flight_bytes: Size = Field(size("256MB"), description="Bytes of content under way at once.")
    timeout: Duration = Field(60.0, description="Deadline of one call.")
    retry_for: Duration = Field(600.0, description="Time budget of one batch, from its first attempt.")
    calls_per_second: float | None = Field(
        None, gt=0, description="Most calls started in any one second, all workers together."
    )
    inputs_per_second: float | None = Field(
        None, gt=0, description="Most inputs sent in any one second, all workers together."
    )
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Most tokens of prompts and answers in any minute, all workers together."
    )
    limiter: str | None = Field(
        None,
        description="redis://HOST:PORT/DB of a limiter for a fleet of changing size; default: fixed parts.",
    )

    @model_validator(mode="after")
    def _batch_fits_in_flight(self) -> CallsConfig:
        if self.batch_bytes > self.in_flight_bytes:
            raise ValueError(
                f"batch_bytes={int(self.batch_bytes)} is above in_flight_bytes={int(self.in_flight_bytes)}, so no full "
                "batch could ever leave; lower batch_bytes or raise in_flight_bytes"
            )
        return self


class OutputConfig(Section):
    """Where the tables go and what they hold."""

    uri: str = Field(min_length=1, description="Directory of the tables, any fsspec URL.")
    masks: Literal["rle", "png", "both", "none"] = Field("rle", description="How masks are stored.")
    raw: bool = Field(False, description="Keep each Output message, serialized, in predictions.raw.")
    pieces: bool = Field(
        False, description="Keep a row for each piece of a streamed text beside the joined text."
    )
    partition_by: Texts = Field((), description="Hive partitions: kept columns, `date` or `model`.")
    file_bytes: Size = Field(size("128MB"), description="Size that table files aim for.")
    part_seconds: Duration = Field(
        60.0,
        description="Finished rows are gathered for so long into a part of the tables; durable they are within 2 s.",
    )
    storage: dict[str, Any] = Field(
        {},
        description="fsspec options of the output's store; {env: NAME} or {file: PATH} for a value, as in "
        "source.storage.",
    )

    @field_validator("partition_by")
    @classmethod
    def _names_of_folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if set(name) & set("/=\0") or value.count(name) > 1:
                raise ValueError(
                    f"partition_by names {name!r} twice, or it is no name of a folder (no / and no =)"
                )
        return value


class RunnerConfig(Section):
    """Where the job runs."""

    name: Literal["direct", "flink", "spark", "dataflow", "prism"] = "direct"
    workers: int = Field(1, ge=1, description="Worker processes; on a cluster the parallelism.")
    options: dict[str, Any] = Field({}, description="Beam pipeline options, passed on.")


class JobConfig(Section):
    """A whole job file."""

    job: Literal["bulk-inference", "scheduled-labeling", "lake-enrichment"] = Field(
        "bulk-inference",
        description="scheduled-labeling: a source that holds nothing new, or nothing at all, is no fault; "
        "lake-enrichment: predictions carry all columns of the source.table unless `keep` names some, but for its "
        "content and for columns whose names the table has itself; `plan` lists both.",
    )
    source: SourceConfig
    model: ModelConfig
    calls: CallsConfig = CallsConfig()
    output: OutputConfig
    on_change: Literal["refuse", "redo", "keep", "keep_both"] = Field(
        "refuse",
        description="What happens to inputs that are in `predictions` when the model, its version, the method or an "
        "argument is another one: refuse (exit 2, and how many would be paid again), redo (do them again; the new rows "
        "replace the old ones), keep (leave them as they are), keep_both (do them again, beside the old rows).",
    )
    stop: StopConfig = StopConfig()
    runner: RunnerConfig = RunnerConfig()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> JobConfig:
        if self.job == "lake-enrichment" and not self.source.table:
            raise ValueError(
                "job: lake-enrichment enriches a table; add source.table, or write job: bulk-inference"
            )
        return self

    @model_validator(mode="after")
    def _calls_are_as_the_api_takes_them(self) -> JobConfig:
        if self.calls.batch_size > 128 and self.model.kind == "clarifai":
            raise ValueError(
                f"calls.batch_size={self.calls.batch_size} is more than the 128 inputs that a call of kind clarifai "
                "takes; lower it"
            )
        return self

    @model_validator(mode="after")
    def _each_worker_has_a_part_of_the_budget(self) -> JobConfig:
        if self.stop.inputs is not None and self.stop.inputs < self.runner.workers:
            raise ValueError(
                f"stop.inputs={self.stop.inputs} is divided among runner.workers={self.runner.workers}, so that each "
                "would have less than one input to send; raise stop.inputs or lower runner.workers"
            )
        return self

    @model_validator(mode="after")
    def _partitions_are_kept(self) -> JobConfig:
        for name in self.output.partition_by:
            if name not in ("date", "model", *self.source.columns.kept) and self.job != "lake-enrichment":
                raise ValueError(
                    f"output.partition_by names {name!r}, which is neither `date`, `model` nor a column in "
                    "source.columns.keep; add it to keep"
                )
        return self
