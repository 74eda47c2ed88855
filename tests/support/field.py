"""Starts what cluster tests need: Flink with two TaskManagers of two slots, a local Spark with a pool, and S3."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import s3fs

from .cluster import Cluster, aws_environment, cluster
from .jobs import Ran, run_cli
from .s3_server import s3_storage
from .spark_cluster import spark_pool

__all__ = ["KEY", "MODEL", "PATIENCE", "Field", "playing_field"]

MODEL = "https://clarifai.com/bulkinfer/tests/models/any"
#: The API key: in the environment of workers and launcher, and nowhere else.
KEY = "pat-cluster-test-b6c1e7d4f0"
#: Seconds until a job counts as hanging; a busy machine may slow it down by minutes.
PATIENCE = 600


@dataclasses.dataclass
class Field:
    """The running services that a job on the cluster uses.

    Attributes:
        cluster: Flink with its TaskManagers and pools.
        spark: options of a local Spark master with its pool.
        folder: for job files.
    """

    cluster: Cluster
    spark: Mapping[str, Any]
    folder: Path

    @property
    def storage(self) -> dict[str, Any]:
        """fsspec options of the shared store."""
        return s3_storage(self.cluster.s3)

    def filesystem(self) -> s3fs.S3FileSystem:
        """The shared store, without a listings cache."""
        return s3fs.S3FileSystem(**self.storage, use_listings_cache=False, skip_instance_cache=True)

    def runner(self, name: str, workers: int = 4) -> dict[str, Any]:
        """Make a job file's `runner` for direct, flink, or spark with its local master."""
        options = {"flink": self.cluster.flink_options(), "spark": dict(self.spark)}.get(name, {})
        return {"name": name, "workers": workers, "options": options}

    def texts(self, count: int) -> dict[str, Any]:
        """Make a job file's `source`: so many short texts in one manifest, with ids from `i000000`."""
        path, filesystem = f"inputs/texts-{count}.jsonl", self.filesystem()
        if not filesystem.exists(path):
            lines = (json.dumps({"id": f"i{n:06d}", "body": f"text {n:06d}"}) + "\n" for n in range(count))
            filesystem.pipe(path, "".join(lines).encode())
        columns = {"content": "body", "id": "id"}
        return {"manifest": f"s3://{path}", "media": "text", "columns": columns, "storage": self.storage}

    def run(self, name: str, sections: Mapping[str, Any], *flags: str, timeout: float = PATIENCE) -> Ran:
        """Write a job file and run it as a user does."""
        return run_cli("run", self.write(name, sections), "--json", *flags, cwd=self.folder, timeout=timeout)

    def write(self, name: str, sections: Mapping[str, Any]) -> Path:
        """Write a job file whose output is `s3://out/NAME`."""
        output = {"uri": f"s3://out/{name}", "storage": self.storage, **sections.get("output", {})}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({**sections, "output": output}))
        return path

    def rows(self, name: str, table: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Read all rows of a job's table, sorted."""
        filesystem = self.filesystem()
        if not filesystem.exists(f"out/{name}/{table}"):
            return []
        read: pa.Table = ds.dataset(
            f"out/{name}/{table}", filesystem=filesystem, partitioning="hive"
        ).to_table()
        keys = [
            key
            for key in ("input_id", "frame_index", "output_index", "region_index")
            if key in read.column_names
        ]
        read = read.sort_by([(key, "ascending") for key in keys])
        return read.drop_columns([column for column in without if column in read.column_names]).to_pylist()


@contextlib.contextmanager
def playing_field(logs: Path, folder: Path) -> Iterator[Field]:
    """Start all services, and stop them at the end; the logs stay.

    Args:
        logs: folder for logs and temporary files.
        folder: for job files.
    """
    environment = {"CLARIFAI_PAT": KEY}
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(cluster(logs, spare=3, pool_env=environment))
        spark = stack.enter_context(spark_pool(logs, pool_env={**environment, **aws_environment(up.s3)}))
        made = Field(up, spark, folder)
        for bucket in ("out", "inputs"):
            made.filesystem().call_s3("create_bucket", Bucket=bucket)
        yield made
