"""The query that a run ends with tells something, whatever the tables hold."""

from __future__ import annotations

import pytest
from bulkinfer.pipelines.terminal.query import telling_query
from bulkinfer.transforms.tables.commit.commit import commit_run
from support.tables import failure, make_spec, prediction, stage


@pytest.mark.parametrize("partition_by", [(), ("city",)])
@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        (
            [prediction("a", city="x", masks=2), prediction("b", masks=1), failure("c")],
            [("a", 2, 16), ("b", 1, 16)],
        ),
        (
            [prediction("a", text="hello"), prediction("b", city="x", text="hallo")],
            [("a", "hello"), ("b", "hallo")],
        ),
        ([failure("a"), failure("b")], [("empty", 2, "a is empty")]),
    ],
)
def test_it_asks_for_what_the_tables_hold_whichever_run_wrote_them(tmp_path, partition_by, rows, answer):
    duckdb = pytest.importorskip("duckdb")
    for number, each in enumerate((rows, [])):  # the second run has nothing to do
        run_id = f"20260131T120000Z-00000{number}"
        spec = make_spec(str(tmp_path), run_id, partition_by=partition_by)
        stage(spec, [each] if each else [])
        commit_run(spec.store(), run_id)

    query = telling_query(spec.store(), str(tmp_path))

    assert sorted(duckdb.sql(query).fetchall()) == answer


def test_there_is_none_where_no_table_has_rows(tmp_path):
    spec = make_spec(str(tmp_path))
    assert telling_query(spec.store(), str(tmp_path)) == ""
    stage(spec, [])
    commit_run(spec.store(), spec.run_id)
    assert telling_query(spec.store(), str(tmp_path)) == ""
