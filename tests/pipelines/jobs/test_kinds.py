"""The kinds of job, and the summary that a run prints."""

from __future__ import annotations

import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
from support.jobs import rows, run_cli, write_job

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


def classify(endpoint):
    return {"url": MODEL, "endpoint": endpoint, "method": "classify"}


def test_an_empty_source_is_no_fault_of_a_scheduled_job(tmp_path, endpoint):
    job = write_job(
        tmp_path, job="scheduled-labeling", source={"files": "new/*.txt"}, model=classify(endpoint)
    )

    first = run_cli("run", job, "--json", cwd=tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.txt").write_text("Something has come in the meantime.")
    second = run_cli("run", job, "--json", cwd=tmp_path)

    assert (first.code, first.json["inputs"]) == (0, 0), first.err
    assert (second.code, second.json["predictions"]) == (0, 1), second.err


def test_an_enriched_table_keeps_its_own_columns(tmp_path, endpoint):
    for month in (1, 2):
        folder = tmp_path / "lake" / f"month={month}"
        folder.mkdir(parents=True)
        records = [{"key": f"k{month}{n}", "body": "A sentence of the lake.", "likes": n} for n in range(2)]
        pq.write_table(pa.Table.from_pylist(records), folder / "part.parquet")
    job = write_job(
        tmp_path,
        job="lake-enrichment",
        source={"table": "lake", "media": "text", "columns": {"content": "body", "id": "key"}},
        model=classify(endpoint),
    )

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "out", "predictions")
    assert [(row["input_id"], row["likes"], row["month"]) for row in found] == [
        ("k10", 0, 1),
        ("k11", 1, 1),
        ("k20", 0, 2),
        ("k21", 1, 2),
    ]
    assert "body" not in found[0]


def test_the_query_that_a_run_prints_can_be_pasted(tmp_path, endpoint):
    (tmp_path / "a.txt").write_text("This is a text about nothing in particular.")
    job = write_job(tmp_path, source={"files": "*.txt"}, model=classify(endpoint))

    ran = run_cli("run", job, cwd=tmp_path)

    query = next(line for line in ran.out.splitlines() if "import duckdb" in line)
    pasted = subprocess.run(
        query.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "English" in pasted.stdout
