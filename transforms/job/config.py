"""The job file as frozen models: every key, its type, its default and its meaning.

Only shape and combination are checked here, with no access to any store or endpoint; `job_file` reads the file and
turns what these models refuse into messages, the preflight checks the rest.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from .units import Duration, Size, size

__all__ = [
    "CallsConfig",
    "ColumnsConfig",
    "DeploymentConfig",
    "JobConfig",
    "ModelConfig",
    "NodepoolConfig",
    "OutputConfig",
    "RunnerConfig",
    "SourceConfig",
    "SourceImageConfig",
    "SourceTimeoutConfig",
    "StopConfig",
    "StreamConfig",
]

MediaType = Literal["image", "text", "video", "audio"]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=False
    )


class ColumnsConfig(_Section):
    """Which columns of a manifest or table mean what."""

    uri: str | None = Field(None, description="Column with the reference, any fsspec URL or path.")
    content: str | None = Field(None, description="Column with the content itself: text or bytes.")
    id: str | None = Field(None, description="Column with the input's id; default: the uri.")
    version: str | None = Field(None, description="Column with the content's version, such as an etag.")
    keep: tuple[str, ...] | dict[str, str] = Field(
        (),
        description="Columns copied into the predictions table: a list, or {gold: label} to keep `label` as `gold`.",
    )

    @property
    def kept(self) -> dict[str, str]:
        """Each kept column's name in the predictions table, and the column that it is a copy of."""
        return self.keep if isinstance(self.keep, dict) else {name: name for name in self.keep}

    @model_validator(mode="after")
    def _one_content(self) -> ColumnsConfig:
        if self.uri and self.content:
            raise ValueError(
                f"uri={self.uri!r} and content={self.content!r} both say where the content is; keep one of them"
            )
        if self.content and not self.id:
            raise ValueError(
                f"content={self.content!r} needs an id column as well, because there is no uri to name an input by; "
                "add id: COLUMN"
            )
        return self


class SourceTimeoutConfig(_Section):
    """How long a file of a remote store may keep the others waiting."""

    idle: Duration = Field(
        30.0, description="An HTTP server that sends no byte for so long is given up and asked again."
    )
    file: Duration = Field(
        300.0, description="A file that is not read by then, further attempts included, becomes an error row."
    )


class SourceImageConfig(_Section):
    """What is asked of pictures, and done to them, before they are sent."""

    orientation: Literal["keep", "apply"] = Field(
        "keep",
        description="apply: pictures are turned upright by their EXIF orientation and sent so; boxes and masks are "
        "those of the upright picture.",
    )
    max_pixels: Size | None = Field(
        size("85M"), description="A larger picture becomes an error row; null for no limit."
    )


class SourceConfig(_Section):
    """What the job reads: exactly one of files, manifest, table."""

    files: tuple[str, ...] | None = Field(
        None, description="A pattern or a list of patterns, any fsspec URL."
    )
    manifest: str | None = Field(
        None, description="A CSV, TSV, JSONL or Parquet file, or a pattern; one row an input."
    )
    table: str | None = Field(None, description="A Parquet dataset; Hive partitions are understood.")
    media: MediaType | None = Field(None, description="What the content is; by default told from the suffix.")
    columns: ColumnsConfig = Field(ColumnsConfig(), description="Columns of a manifest or table.")
    max_bytes: Size = Field(
        size("128MB"), description="A larger content becomes an error row and is not fetched."
    )
    image: SourceImageConfig = Field(
        SourceImageConfig(), description="What is asked of pictures, and done to them, before they are sent."
    )
    timeout: SourceTimeoutConfig = Field(
        SourceTimeoutConfig(), description="How long reading a remote file may take."
    )
    deduplicate: Literal["none", "content"] = Field(
        "none",
        description="content: inputs with identical content are sent and paid once; each gets its rows.",
    )
    revalidate: bool = Field(
        True,
        description="Ask the store for the version of finished inputs again, to find those that changed.",
    )
    storage: dict[str, Any] = Field({}, description="fsspec options of the source's store.")

    @field_validator("files", mode="before")
    @classmethod
    def _one_pattern_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> SourceConfig:
        named = [key for key in ("files", "manifest", "table") if getattr(self, key)]
        if len(named) != 1:
            given = " and ".join(named) or "none of them"
            raise ValueError(f"exactly one of files, manifest, table must be given, found {given}")
        if self.files and self.columns != ColumnsConfig():
            raise ValueError(
                "columns belong to a manifest or a table, but this source is files; remove columns"
            )
        if not self.files and not (self.columns.uri or self.columns.content):
            raise ValueError(
                "a manifest or table needs columns: {uri: COLUMN} or columns: {content: COLUMN, id: COLUMN}"
            )
        return self


class DeploymentConfig(_Section):
    """A dedicated deployment."""

    id: str = Field(min_length=1)
    user_id: str = Field(min_length=1)


class NodepoolConfig(_Section):
    """A dedicated nodepool of a compute cluster."""

    id: str = Field(min_length=1)
    compute_cluster_id: str = Field(min_length=1)
    user_id: str = Field(min_length=1)


class StreamConfig(_Section):
    """How content is cut for a method whose argument streams."""

    piece_bytes: Size | None = Field(None, description="Bytes of one piece.")
    piece_seconds: Duration | None = Field(None, description="Length of one piece of audio.")

    @model_validator(mode="after")
    def _one_way(self) -> StreamConfig:
        if self.piece_bytes and self.piece_seconds:
            raise ValueError("piece_bytes and piece_seconds both say where to cut; keep one of them")
        return self


class ModelConfig(_Section):
    """Which model, where, and how its method is called."""

    url: str | None = Field(None, description="https://clarifai.com/USER/APP/models/MODEL[/versions/VERSION]")
    user_id: str | None = Field(None, description="Owner of the model, in place of url.")
    app_id: str | None = Field(None, description="App of the model, in place of url.")
    model_id: str | None = Field(None, description="Id of the model, in place of url.")
    version_id: str | None = Field(None, description="Version of the model; latest by default.")
    endpoint: str | None = Field(
        None,
        description="Address of the API; default $CLARIFAI_API_BASE, else the public API; `embedded` starts our own.",
    )
    allow_plaintext: bool = Field(
        False, description="Allow sending the key unencrypted to a host that is not this one."
    )
    deployment: DeploymentConfig | None = Field(None, description="Dedicated deployment to send to.")
    nodepool: NodepoolConfig | None = Field(None, description="Dedicated nodepool to send to.")
    method: str = Field("predict", min_length=1, description="Name of the model's method.")
    arguments: dict[str, Any] = Field(
        {},
        description="The method's parameters by name: $content, $uri, $column.NAME, {template: ...}, constants, and "
        "lists and mappings with these inside, which a parameter of text gets as JSON.",
    )
    stream: StreamConfig = Field(StreamConfig(), description="How content is cut for a streaming argument.")

    @model_validator(mode="after")
    def _named_once(self) -> ModelConfig:
        ids = [key for key in ("user_id", "app_id", "model_id") if getattr(self, key)]
        if self.url and ids:
            raise ValueError(f"url and {', '.join(ids)} both name the model; keep one of them")
        if ids and len(ids) < 3:
            missing = [key for key in ("user_id", "app_id", "model_id") if key not in ids]
            raise ValueError(f"a model named by ids also needs {', '.join(missing)}")
        if not self.url and not ids and self.endpoint != "embedded":
            raise ValueError("no model is named; add url, or user_id with app_id and model_id")
        if self.deployment and self.nodepool:
            raise ValueError("deployment and nodepool both say where to send; keep one of them")
        return self


class CallsConfig(_Section):
    """How hard one worker process may press on the endpoint."""

    batch_size: int = Field(32, ge=1, le=128, description="Most inputs in one call.")
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


class OutputConfig(_Section):
    """Where the tables go and what they hold."""

    uri: str = Field(min_length=1, description="Directory of the tables, any fsspec URL.")
    masks: Literal["rle", "png", "both", "none"] = Field("rle", description="How masks are stored.")
    raw: bool = Field(False, description="Keep each Output message, serialized, in predictions.raw.")
    pieces: bool = Field(
        False, description="Keep a row for each piece of a streamed text beside the joined text."
    )
    partition_by: tuple[str, ...] = Field((), description="Hive partitions: kept columns, `date` or `model`.")
    file_bytes: Size = Field(size("128MB"), description="Size that table files aim for.")
    part_seconds: Duration = Field(
        60.0, description="Finished rows are durable at the latest after this time."
    )
    storage: dict[str, Any] = Field({}, description="fsspec options of the output's store.")

    @field_validator("partition_by", mode="before")
    @classmethod
    def _one_column_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("partition_by")
    @classmethod
    def _names_of_folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if set(name) & set("/=\0") or value.count(name) > 1:
                raise ValueError(
                    f"partition_by names {name!r} twice, or it is no name of a folder (no / and no =)"
                )
        return value


class StopConfig(_Section):
    """When a job that goes wrong, or costs too much, stops by itself."""

    error_ratio: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Stop when this share of at least 100 finished inputs failed; 1 never stops.",
    )
    inputs: int | None = Field(
        None, ge=1, description="Send no more inputs than this, retries included: a budget."
    )


class RunnerConfig(_Section):
    """Where the job runs."""

    name: Literal["direct", "flink", "spark", "dataflow", "prism"] = "direct"
    workers: int = Field(1, ge=1, description="Worker processes; on a cluster the parallelism.")
    options: dict[str, Any] = Field({}, description="Beam pipeline options, passed on.")


class JobConfig(_Section):
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
