"""Work in passes: a worker that is done ends a pass, and what was not begun is handed back and lost to nobody."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import fsspec
import pytest
from apache_beam.testing.util import assert_that, equal_to
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Content, Reference
from bulkinfer.transforms.runs.chunks import MAX_CHUNK, evenly, from_chunk, to_chunk
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import WorkPass, WorkPassSpec
from bulkinfer.transforms.sources.read_references import ListSource, OpenUnits
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from hypothesis import given
from hypothesis import strategies as st
from support.bad_days import Job, until
from support.fault_server import FaultServer, running
from support.paths import TESTS

FAST = {"poll_s": 0.02, "grace_s": 0.1}


@pytest.fixture
def spec(tmp_path: Path) -> WorkPassSpec:
    return WorkPassSpec(ControlSpec(str(tmp_path / "out"), {}, "run-1"), 1)


def over_within(one: WorkPass, seconds: float = 5.0) -> bool:
    """Whether the pass ends in that time."""
    deadline = time.monotonic() + seconds
    while not one.over and time.monotonic() < deadline:
        time.sleep(0.01)
    return one.over


def test_the_first_that_is_done_ends_the_pass_for_all(spec: WorkPassSpec) -> None:
    fast, slow = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    fast.begin()
    slow.begin()
    assert not over_within(slow, 0.3)

    fast.end()

    assert over_within(slow)


def test_others_go_on_for_a_while(spec: WorkPassSpec) -> None:
    """What they do by then is not worth a pass."""
    fast, slow = WorkPass(spec, **FAST), WorkPass(spec, poll_s=0.02, grace_s=0.6)
    slow.begin()
    fast.begin()
    fast.end()

    assert not over_within(slow, 0.3)
    assert over_within(slow)


def test_a_process_with_a_further_bundle_is_not_done(spec: WorkPassSpec) -> None:
    busy, other = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    other.begin()
    busy.begin()
    busy.begin()
    busy.end()

    assert not over_within(other, 0.5)


def test_a_bundle_that_failed_ends_nothing(spec: WorkPassSpec) -> None:
    failed, other = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    other.begin()
    failed.begin()
    failed.end(done=False)

    assert not over_within(other, 0.5)


def test_each_pass_ends_by_itself(spec: WorkPassSpec) -> None:
    first = WorkPass(spec, **FAST)
    first.begin()
    first.end()
    waiting = WorkPass(spec, **FAST)
    waiting.begin()
    assert over_within(waiting)

    second = WorkPass(WorkPassSpec(spec.run, 2), **FAST)
    second.begin()
    assert not over_within(second, 0.3)


def test_a_worker_that_comes_late_hears_of_it_too(spec: WorkPassSpec) -> None:
    fast = WorkPass(spec, **FAST)
    fast.begin()
    fast.end()
    late = WorkPass(spec, **FAST)
    late.begin()
    assert over_within(late)


def test_no_watcher_outlives_its_bundles(spec: WorkPassSpec) -> None:
    alone = WorkPass(WorkPassSpec(spec.run, 77), **FAST)
    alone.begin()
    assert any(thread.name == "bulkinfer-pass-77" for thread in threading.enumerate())
    alone.end(done=False)
    until(lambda: not any(thread.name == "bulkinfer-pass-77" for thread in threading.enumerate()))


def test_a_bundle_that_follows_at_once_is_seen_by_the_others(spec: WorkPassSpec) -> None:
    """Each has a claim of its own, although the first one's watcher has not ended yet."""
    one = WorkPass(spec, **FAST)
    for _ in range(3):
        one.begin()
        one.end(done=False)
    one.begin()
    until(lambda: len(one.store.files(spec.folder)) == 4)


def test_the_last_pass_is_played_to_its_end(spec: WorkPassSpec) -> None:
    last = WorkPassSpec(spec.run, 3, last=True)
    fast, slow = WorkPass(last, **FAST), WorkPass(last, **FAST)
    slow.begin()
    fast.begin()
    fast.end()

    assert not over_within(slow, 0.5)


@given(st.integers(1, 300), st.integers(1, 20))
def test_what_is_handed_back_is_cut_evenly(count: int, parts: int) -> None:
    references = [Reference(str(number), None, "text") for number in range(count)]
    cut = evenly(references, parts)

    assert list(itertools.chain.from_iterable(cut)) == references
    assert len(cut) == min(parts, count)
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


def ids_and_units(source: SourceSpec, over: WorkPassSpec, ids: list[str], left: list[list[str]]) -> None:
    """Open a source's units with a pass that is over; check what comes, and what is handed back."""
    WorkPass.shared(over).over = True

    def names(unit: object) -> list[str]:
        if isinstance(unit, bytes):
            return [reference.input_id for reference in from_chunk(unit)]
        return [str(unit)]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        units = (pipeline | ListSource(source)).units
        result = units | OpenUnits(source, work_pass=over, parts=2)
        assert_that(result.references | beam.Map(lambda one: one.input_id), equal_to(ids))
        assert_that(result.left | beam.Map(names), equal_to(left), label="left")


def test_chunks_are_handed_back_in_parts(tmp_path: Path, spec: WorkPassSpec) -> None:
    """So that a few large ones go to all workers."""
    WorkPass.shared(spec).over = True
    source = inspect_source(SourceConfig(files=f"{TESTS}/support/*.py", media="text"))
    many = [Reference(str(number), f"{number}.txt", "text") for number in range(10)]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        units = pipeline | beam.Create([to_chunk(many)]) | OpenUnits(source, work_pass=spec, parts=4)
        sizes = units.left | beam.Map(lambda unit: len(list(from_chunk(unit))))
        assert_that(units.references, equal_to([]))
        assert_that(sizes, equal_to([2, 3, 2, 3]), label="left")


def texts(path: Path, count: int) -> SourceSpec:
    """A manifest that holds its content, and its source."""
    lines = "".join(json.dumps({"id": f"i{n}", "body": f"text {n}"}) + "\n" for n in range(count)).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    columns = {"content": "body", "id": "id"}
    return inspect_source(SourceConfig(manifest=str(path), media="text", columns=columns))


def test_pieces_of_a_manifest_are_handed_back_unread(tmp_path: Path, spec: WorkPassSpec) -> None:
    """Content that the source holds does not cross the shuffle for it."""
    source = texts(tmp_path / "many.jsonl", 40)

    ids_and_units(source, spec, [], [[str(split)] for split in source.scan.splits])


def test_what_only_one_worker_can_read_is_handed_back_whole_or_not_at_all(
    tmp_path: Path, spec: WorkPassSpec
) -> None:
    source = texts(tmp_path / "many.jsonl.gz", 40)
    assert len(source.scan.splits) == 1

    ids_and_units(source, spec, [], [[str(source.scan.splits[0])]])


def test_a_cluster_spreads_the_content_of_a_compressed_manifest(tmp_path: Path) -> None:
    """It is read by one worker; in chunks it goes to all of them."""
    source = texts(tmp_path / "many.jsonl.gz", 400)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        listed = pipeline | ListSource(source, spread_compressed=True)
        assert_that(
            listed.units | beam.Map(lambda unit: type(unit).__name__) | beam.Distinct(),
            equal_to(["bytes"]),
            label="chunks",
        )
        opened = listed.units | OpenUnits(source)
        inputs = opened.references | beam.Map(lambda one: (one.input_id, one.inline))
        assert_that(inputs, equal_to([(f"i{n}", f"text {n}") for n in range(400)]))


def test_the_rest_of_a_chunk_that_is_begun_is_handed_back(tmp_path: Path, spec: WorkPassSpec) -> None:
    """In the middle of a chunk of many, and its neighbours behind it."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3 * MAX_CHUNK):
        (folder / f"{number:04d}.txt").write_text("x")
    source = inspect_source(SourceConfig(files=f"{folder}/*.txt"))

    def count(reference: Reference) -> Reference:
        one = WorkPass.shared(spec)
        one.over = one.over or reference.input_id.endswith("0400.txt")
        return reference

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        result = (pipeline | ListSource(source)).units | OpenUnits(source, work_pass=spec, parts=4)
        begun = result.references | beam.Map(count)
        left = result.left | beam.FlatMap(from_chunk)
        ids = (begun, left) | beam.Flatten() | beam.Map(lambda reference: reference.input_id)
        assert_that(ids, equal_to([f"{folder}/{number:04d}.txt" for number in range(3 * MAX_CHUNK)]))
        few = left | beam.combiners.Count.Globally() | beam.Map(lambda inputs: inputs > MAX_CHUNK)
        assert_that(few, equal_to([True]), label="some")


def test_content_that_was_fetched_ahead_is_handed_back(tmp_path: Path, spec: WorkPassSpec) -> None:
    """The pass ends while the first is on its way further; a store that is no local disk is read ahead."""
    store = fsspec.filesystem("memory")
    references = []
    for number in range(200):
        store.pipe(f"/ahead/{number}.txt", b"x")
        references.append(Reference(str(number), f"memory://ahead/{number}.txt", "text"))

    def end(content: Content) -> str:
        WorkPass.shared(spec).over = True
        return content.reference.input_id

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        loaded = pipeline | beam.Create(references, reshuffle=False) | LoadContent(work_pass=spec)
        begun = loaded.contents | beam.Map(end)
        left = (
            loaded.left | beam.FlatMap(from_chunk) | "Ids" >> beam.Map(lambda reference: reference.input_id)
        )
        together = (begun, left) | beam.Flatten()
        assert_that(together, equal_to([str(number) for number in range(200)]))
        few = begun | beam.combiners.Count.Globally() | beam.Map(lambda inputs: inputs < 20)
        assert_that(few, equal_to([True]), label="few")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running() as one:
        yield one


def test_a_slow_worker_does_less_and_every_input_is_done_once(server: FaultServer, tmp_path: Path) -> None:
    """One of two workers gets its answers ten times later; without passes it would do half of all inputs."""
    job = Job(tmp_path, server, count=480, batch=1, in_flight=4)
    job.serve(base_ms=40, first_peer_times=10, places=64)

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 3, ran.err
    job.check()
    assert set(job.sent().values()) == {1}
    slow, fast = server.stats()["peers"].values()
    assert slow + fast == 480
    assert slow < 0.75 * 240


def test_a_compressed_manifest_stays_with_the_worker_that_reads_it(
    server: FaultServer, tmp_path: Path
) -> None:
    """Although the other one, which has nothing to do, ends the pass at once: its content would cross memory."""
    job = Job(tmp_path, server, count=480, batch=4, in_flight=4, base_ms=50)
    manifest = tmp_path / "refs.jsonl"
    (tmp_path / "refs.jsonl.gz").write_bytes(gzip.compress(manifest.read_bytes()))
    columns = {"content": "body", "id": "id"}
    job.write(source={"manifest": "refs.jsonl.gz", "media": "text", "columns": columns})

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 3, ran.err
    job.check()
    assert len(server.stats()["peers"]) == 1
