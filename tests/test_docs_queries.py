"""Every query of the docs runs as it stands, on every shape that an output may have."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from bulkinfer.pipelines.report.output import open_output
from bulkinfer.pipelines.report.report import write_report
from bulkinfer.transforms.exports.export import ExportOptions, export
from bulkinfer.transforms.runs.parts import TABLES
from bulkinfer.transforms.tables.commit.commit import commit_run
from support.paths import ROOT
from support.tables import failure, make_spec, prediction, stage

QUERIES = [
    block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if ".parquet" in block
]
WHERE = re.findall(r'--where "([^"]+)"', (ROOT / "docs" / "exports.md").read_text(encoding="utf-8"))
ROWS = {
    "masks": [
        prediction("a", city="Bern", masks=2),
        prediction("b", city="La Paz/BO", masks=1),
        failure("c"),
    ],
    "no masks": [prediction("a", city="Bern"), prediction("b", city=None)],
    "failures": [failure("a"), failure("b")],
    "nothing": [],
}
PARTITIONS = [(), ("city",), ("date", "city")]
#: What two nights found, one after the other; the first shapes are those of a single night.
NIGHTS = [(rows,) for rows in ROWS] + [("no masks", "masks"), ("failures", "no masks"), ("masks", "failures")]


def filled(folder: Path, nights: tuple[str, ...], partition_by: tuple[str, ...]) -> None:
    """An output of so many runs at `out`, which is also seen at `out/photos`, as the README has it."""
    for number, rows in enumerate(nights):
        spec = make_spec(
            str(folder / "out"), f"2026013{number}T120000Z-00000{number}", partition_by=partition_by
        )
        stage(spec, [ROWS[rows]] if ROWS[rows] else [])
        commit_run(spec.store(), spec.run_id)
    (folder / "out" / "photos").symlink_to(".")


@pytest.mark.parametrize("partition_by", PARTITIONS, ids=",".join)
@pytest.mark.parametrize("nights", NIGHTS, ids=", ".join)
def test_every_table_can_be_read_and_joined_on_every_shape_of_output(tmp_path, nights, partition_by):
    duckdb = pytest.importorskip("duckdb")
    filled(tmp_path, nights, partition_by)
    tables = {name: f"'{tmp_path}/out/{name}/**/*.parquet'" for name in TABLES}

    for name, files in tables.items():
        read = duckdb.sql(f"SELECT * FROM {files}")
        if name != "errors":
            assert set(partition_by) <= set(read.columns)
    joined = ["input_id", "output_index", *partition_by]
    duckdb.sql(f"SELECT * FROM {tables['predictions']} JOIN {tables['masks']} USING ({', '.join(joined)})")


@pytest.mark.parametrize(
    ("nights", "partition_by"), [*zip(NIGHTS, itertools.cycle(reversed(PARTITIONS)), strict=False)], ids=str
)
def test_the_queries_of_the_docs_run_as_they_stand(tmp_path, nights, partition_by, monkeypatch):
    filled(tmp_path, nights, partition_by)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert len(QUERIES) >= 3
    for code in QUERIES:
        if "load_dataset" in code and nights[-1] != "masks":
            with pytest.raises(ValueError, match="no data"):
                exec(code, {})
        else:
            exec(code, {})
    for where in WHERE:
        export(open_output("out").store, "jsonl", "exported", ExportOptions(where=where, dry_run=True))
    write_report(open_output("out"), None, sample=2, start=0)
