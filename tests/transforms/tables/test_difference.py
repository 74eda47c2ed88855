"""What `plan` tells of a job whose output exists: what is new, changed, failed before, done and gone."""

from __future__ import annotations

import dataclasses

import pytest
from bulkinfer.transforms.content.versions import local_version
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.sources.source import inspect_source
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.difference import Difference, compare
from support.tables import failure, make_spec, prediction, stage


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "texts").mkdir()
    for name in "abcd":
        (tmp_path / "texts" / f"{name}.txt").write_text(f"text {name}")
    return tmp_path


def outcome(folder, name, make=prediction):
    file = folder / "texts" / f"{name}.txt"
    return make(str(file), version=local_version(file.stat()))


def looked_at(folder, **changes):
    source = inspect_source(SourceConfig(files=[f"{folder}/texts/*.txt"]), limit=changes.pop("limit", None))
    output = make_spec(str(folder / "out"), "20260131T120009Z-000009", **changes)
    return compare(source, CompletedSpec.of(output))


def test_of_a_new_output_everything_is_new(folder):
    assert looked_at(folder) == Difference(inputs=4, new=4, bytes=4 * len("text a"))


def test_each_input_is_counted_for_what_a_run_would_do(folder):
    output = make_spec(str(folder / "out"))
    gone, errors_gone = prediction("/gone/x.txt"), failure("/gone/y.txt")
    done = [outcome(folder, "a"), outcome(folder, "b"), outcome(folder, "c", failure), gone, errors_gone]
    stage(output, [done])
    commit_run(output.store(), output.run_id)
    (folder / "texts" / "b.txt").write_text("text b, longer")
    expected = Difference(
        inputs=4, new=1, changed=1, done=1, failed=1, gone=1, bytes=len("text d" + "text b, longer")
    )

    assert looked_at(folder) == expected
    assert looked_at(folder, limit=1) == Difference(inputs=1, done=1, gone=None)
    other_job = looked_at(folder, fingerprint="two")
    assert (other_job.new, other_job.changed, other_job.done) == (1, 3, 0)


def test_what_a_killed_run_made_durable_is_done(folder):
    output = make_spec(str(folder / "out"))
    stage(output, [[outcome(folder, "a")], [outcome(folder, "b")]])  # and no commit

    found = looked_at(folder)

    assert (found.new, found.done) == (2, 2)


def test_rows_that_name_no_input_are_told_apart(folder):
    (folder / "refs.csv").write_text('uri\ntexts/a.txt\n""\ntexts/a.txt\n')
    source = inspect_source(SourceConfig(manifest=str(folder / "refs.csv"), columns={"uri": "uri"}))
    output = make_spec(str(folder / "out"))
    stage(output, [[prediction("other")]])
    commit_run(output.store(), output.run_id)

    found = compare(source, CompletedSpec.of(dataclasses.replace(output, run_id="next")))

    assert (found.inputs, found.new, found.unreadable, found.gone, found.bytes) == (3, 1, 2, 1, None)
