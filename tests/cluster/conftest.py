"""One cluster for all of its tests, started from nothing and stopped at the end; logs stay in
`.cluster/logs`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import s3fs
from bulkinfer.pipelines.embedded_server import EmbeddedServer, serve
from support.cluster import Cluster, aws_environment, cluster, spark_pool
from support.cluster_downloads import CACHE
from support.fault_server import FaultServer, running
from support.jobs import Ran, run_cli
from support.s3_server import s3_storage
from support.services import orderly_end

MODEL = "https://clarifai.com/bulkinfer/tests/models/any"
#: Lives in the environment of the workers and of the launcher, and must appear nowhere else.
KEY = "pat-cluster-test-b6c1e7d4f0"


@dataclasses.dataclass
class Field:
    """Everything that a test on the cluster needs.

    Attributes:
        cluster: Flink with its TaskManagers and pools.
        spark: options of a local Spark master with its pool.
        folder: job files go here.
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
        """A job file's `runner` for direct, flink or spark."""
        options = {"flink": self.cluster.flink_options(), "spark": dict(self.spark)}.get(name, {})
        return {"name": name, "workers": workers, "options": options}

    def run(self, name: str, sections: Mapping[str, Any], *flags: str, timeout: float = 240) -> Ran:
        """Write a job file and run it as a user does."""
        return run_cli("run", self.write(name, sections), "--json", *flags, cwd=self.folder, timeout=timeout)

    def write(self, name: str, sections: Mapping[str, Any]) -> Path:
        """Write a job file whose output is `s3://out/NAME`."""
        output = {"uri": f"s3://out/{name}", "storage": self.storage, **sections.get("output", {})}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({**sections, "output": output}))
        return path

    def rows(self, name: str, table: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """All rows of a job's table, sorted."""
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of all cluster tests, and keep them in `.cluster/report.jsonl`, one line a test."""
    lines = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            said = [line for line in report.capstdout.splitlines() if line.strip()]
            if report.when == "call" and "cluster" in report.keywords and (report.user_properties or said):
                test = report.nodeid.rpartition("::")[2]
                figures = {"test": test, "outcome": outcome, "seconds": round(report.duration, 1)}
                lines.append({**figures, **dict(report.user_properties), **({"said": said} if said else {})})
    if lines:
        written = [json.dumps(line) for line in lines]
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "report.jsonl").write_text("".join(f"{line}\n" for line in written))
        terminalreporter.section("figures of the cluster")
        for line in written:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _orderly() -> Iterator[None]:
    with orderly_end():
        yield


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Flink with two TaskManagers of two slots, a local Spark with a pool, and S3."""
    environment = {"CLARIFAI_PAT": KEY}
    logs = CACHE / "logs"
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(cluster(logs, pool_env=environment))
        spark = stack.enter_context(spark_pool(logs, pool_env={**environment, **aws_environment(up.s3)}))
        made = Field(up, spark, tmp_path_factory.mktemp("jobs"))
        for bucket in ("out", "inputs"):
            made.filesystem().call_s3("create_bucket", Bucket=bucket)
        yield made


@pytest.fixture(scope="session")
def embedded(field: Field) -> Iterator[EmbeddedServer]:
    """Our own model server, where all hosts reach it."""
    with serve(host=field.cluster.here.ip) as server:
        yield server


@pytest.fixture(scope="session")
def faults(field: Field) -> Iterator[FaultServer]:
    """A server with latency and places, where all hosts reach it."""
    with running(host=field.cluster.here.ip) as server:
        yield server


@pytest.fixture(autouse=True)
def _the_key(monkeypatch: pytest.MonkeyPatch, _no_credentials_of_ours: None) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", KEY)
    assert os.environ["CLARIFAI_PAT"] == KEY
