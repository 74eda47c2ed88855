"""ReadReferences in a pipeline: every row or file once, whatever the workers."""

from __future__ import annotations

import collections
import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.runs.versions import Versions
from bulkinfer.transforms.sources.read_references import OpenUnits, ReadReferences
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from support.s3_server import s3_server


class OnlyEven:
    """Stands for what earlier runs finished."""

    def remaining(self, references: list[Reference], _: object = None) -> list[Reference]:
        return [reference for reference in references if int(reference.input_id) % 2 == 0]

    def flush(self) -> None:
        """Nothing was found out."""


def check(spec: SourceSpec, ids: list[str], failures: list[str] | None = None, **arguments: Any) -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadReferences(spec, **arguments)
        found = read.references | beam.Map(lambda reference: reference.input_id)
        failed = read.failures | "Types" >> beam.Map(lambda failure: failure.error_type)
        assert_that(found, equal_to(ids))
        assert_that(failed, equal_to(failures or []), label="failures")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for folder in range(3):
        (tmp_path / f"f{folder}").mkdir()
        for name in range(10):
            (tmp_path / f"f{folder}" / f"{name}.jpg").write_bytes(b"x")
    return tmp_path


def test_files_of_all_folders_are_read_once(photos: Path) -> None:
    spec = inspect_source(SourceConfig(files=[f"{photos}/**/*.jpg", f"{photos}/f1/*"]))
    check(spec, [f"{photos}/f{folder}/{name}.jpg" for folder in range(3) for name in range(10)])


def test_a_limit_takes_the_first_in_the_order_of_the_source(photos: Path) -> None:
    spec = inspect_source(SourceConfig(files=f"{photos}/*/*.jpg"), limit=12)
    expected = [f"{photos}/f0/{name}.jpg" for name in range(10)] + [
        f"{photos}/f1/{name}.jpg" for name in range(2)
    ]
    check(spec, expected)


def test_a_file_of_another_media_type_is_a_failure(photos: Path) -> None:
    spec = inspect_source(SourceConfig(files=f"{photos}/f0/*"))
    (photos / "f0" / "late.txt").write_text("x")
    check(spec, [f"{photos}/f0/{name}.jpg" for name in range(10)], ["other_media"])


def test_a_manifest_in_pieces_is_read_once_and_what_is_done_is_left_out(tmp_path: Path) -> None:
    table = pa.table({"id": list(range(1000)), "uri": [f"{i}.jpg" for i in range(1000)]})
    pq.write_table(table, tmp_path / "refs.parquet", row_group_size=100)
    source = SourceConfig(manifest=f"{tmp_path}/refs.parquet", columns={"uri": "uri", "id": "id"})
    check(inspect_source(source), [str(i) for i in range(0, 1000, 2)], completed=OnlyEven())


def test_a_manifest_with_a_limit_counts_broken_lines(tmp_path: Path) -> None:
    (tmp_path / "refs.jsonl").write_text('{"uri": "a.jpg"}\n{"uri": \n{"uri": "b.jpg"}\n{"uri": "c.jpg"}\n')
    spec = inspect_source(SourceConfig(manifest=f"{tmp_path}/refs.jsonl", columns={"uri": "uri"}), limit=3)
    check(spec, ["a.jpg", "b.jpg"], ["broken_line"])


def test_inline_content_is_read_behind_the_shuffle(tmp_path: Path) -> None:
    rows = [json.dumps({"id": i, "text": "x" * 1000}) for i in range(1000)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    spec = inspect_source(
        SourceConfig(manifest=f"{tmp_path}/t.jsonl", columns={"content": "text", "id": "id"})
    )
    sizes = [split.rows for split in spec.scan.splits]
    assert sum(sizes) == 1000
    assert len(sizes) >= 32  # so that few rows spread over all workers too
    assert max(sizes) <= 256
    check(spec, [str(i) for i in range(1000)])


def test_members_of_a_zip_file_on_s3_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("x/a.png", b"a")
        archive.writestr("b.png", b"b")
    with s3_server("photos") as server:
        server.filesystem().put(str(tmp_path / "p.zip"), "photos/p.zip")
        spec = inspect_source(SourceConfig(files="zip://**/*.png::s3://photos/p.zip", storage=server.storage))
        check(spec, ["zip://x/a.png::s3://photos/p.zip", "zip://b.png::s3://photos/p.zip"])


@pytest.mark.parametrize("count", [20, 3000])
def test_inputs_spread_evenly_over_workers(tmp_path: Path, count: int) -> None:
    (tmp_path / "refs.csv").write_text("uri\n" + "".join(f"{i}.jpg\n" for i in range(count)))
    spec = inspect_source(SourceConfig(manifest=f"{tmp_path}/refs.csv", columns={"uri": "uri"}))
    out = tmp_path / "out"
    out.mkdir()

    class Tell(beam.DoFn):
        def start_bundle(self) -> None:
            self.seen: list[str] = []

        def process(self, reference: Reference) -> None:
            self.seen.append(reference.input_id)

        def finish_bundle(self) -> None:
            import os

            with (out / str(os.getpid())).open("a") as stream:
                stream.write("".join(f"{name}\n" for name in self.seen))

    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    with beam.Pipeline(runner="FnApiRunner", options=options) as pipeline:
        (pipeline | ReadReferences(spec)).references | beam.ParDo(Tell())

    parts = {file.name: file.read_text().split() for file in out.iterdir()}
    seen = collections.Counter(name for part in parts.values() for name in part)
    assert seen == collections.Counter(f"{i}.jpg" for i in range(count))
    assert len(parts) == 2
    assert max(map(len, parts.values())) <= 1.3 * count / 2


def test_a_worker_of_another_version_fails_the_job_with_our_error(photos: Path) -> None:
    opening = OpenUnits(inspect_source(SourceConfig(files=f"{photos}/**/*.jpg")))
    opening.launcher = dataclasses.replace(Versions.here(), bulkinfer="99.0")
    with pytest.raises(Exception, match=r"and this launcher 99\.0"):  # noqa: SIM117
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            pipeline | beam.Create([b"a chunk"]) | opening
