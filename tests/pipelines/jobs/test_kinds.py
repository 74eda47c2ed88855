"""The kinds of job, and the summary that a run prints."""

from __future__ import annotations

import json
import subprocess

import deltalake
import pyarrow as pa
import pyarrow.dataset as ds
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


def test_a_delta_table_is_enriched_at_the_version_that_the_run_records(tmp_path, endpoint):
    for key, body in (("k1", "A sentence of the lake."), ("k2", "Noch ein Satz.")):
        table = pa.table({"key": [key], "body": [body], "likes": [1]})
        deltalake.write_deltalake(tmp_path / "lake", table, mode="append")
    job = write_job(
        tmp_path,
        job="lake-enrichment",
        source={"table": "lake", "media": "text", "columns": {"content": "body", "id": "key"}},
        model=classify(endpoint),
    )

    plan = run_cli("plan", job, cwd=tmp_path)
    first = run_cli("run", job, "--set", "source.snapshot=0", "--json", cwd=tmp_path)
    second = run_cli("run", job, "--json", cwd=tmp_path)

    assert "\nreads     version 1 of Delta" in plan.out
    assert (first.json["predictions"], second.json["predictions"], second.json["skipped"]) == (1, 1, 1)
    assert [(row["input_id"], row["likes"]) for row in rows(tmp_path / "out", "predictions")] == [
        ("k1", 1),
        ("k2", 1),
    ]
    records = sorted((tmp_path / "out" / "_runs").glob("*/run.json"))
    assert [json.loads(path.read_text())["snapshot"] for path in records] == [
        "version 0 of Delta",
        "version 1 of Delta",
    ]


def test_a_lake_that_changes_from_night_to_night_stays_one_table(tmp_path, endpoint):
    def write(name, **columns):
        (tmp_path / "lake").mkdir(exist_ok=True)
        table = {"key": [name], "body": ["A sentence of the lake."], "label": ["gold"], **columns}
        pq.write_table(pa.table(table), tmp_path / "lake" / f"{name}.parquet")

    columns = {"content": "body", "id": "key"}
    source = {"table": "lake", "media": "text", "columns": columns}
    job = write_job(tmp_path, job="lake-enrichment", source=source, model=classify(endpoint))
    write("a", likes=[1], taken=pa.array([1_769_904_000_123_456_789], pa.timestamp("ns")))

    first = run_cli("run", job, "--json", cwd=tmp_path)
    write("b", likes=[1.5], late=["x"])
    plan = run_cli("plan", job, "--json", cwd=tmp_path).json
    second = run_cli("run", job, "--json", cwd=tmp_path)

    assert [(one["name"], one["type"]) for one in plan["keep"]] == [
        ("key", "string"),
        ("likes", "double"),
        ("taken", "timestamp[ns]"),
        ("late", "string"),
    ]
    assert plan["left_out"].keys() == {"body", "label"}
    assert "list the ones to keep as {my_label: label, ...}" in plan["left_out"]["label"]
    assert (first.code, second.code, second.json["skipped"]) == (0, 0, 1), first.err + second.err
    found = ds.dataset(tmp_path / "out" / "predictions").to_table().sort_by("input_id")
    assert found.column("likes").to_pylist() == [1.0, 1.5]
    assert found.column("taken").cast(pa.int64()).to_pylist() == [1_769_904_000_123_456_789, None]
    assert found.column("late").to_pylist() == [None, "x"]

    columns["keep"] = {"gold": "label", "likes": "likes", "taken": "taken", "late": "late", "key": "key"}
    job = write_job(tmp_path, job="lake-enrichment", source=source, model=classify(endpoint))
    planned = run_cli("plan", job, cwd=tmp_path)
    assert "keep      gold: string, the source's label" in planned.out


def test_the_query_that_a_run_prints_can_be_pasted(tmp_path, endpoint):
    (tmp_path / "a.txt").write_text("This is a text about nothing in particular.")
    job = write_job(tmp_path, source={"files": "*.txt"}, model=classify(endpoint))

    ran = run_cli("run", job, cwd=tmp_path)

    query = next(line for line in ran.out.splitlines() if "import duckdb" in line)
    pasted = subprocess.run(
        query.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "English" in pasted.stdout
