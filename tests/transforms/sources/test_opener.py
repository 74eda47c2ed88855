"""Units are opened by lists; when the pass over the work ends, what was not begun is handed back and lost to nobody."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.runs.chunks import MAX_CHUNK, from_chunk, to_chunk
from bulkinfer.transforms.sources.opener import Left, Opener
from bulkinfer.transforms.sources.pieces import PieceReader, first_pieces
from bulkinfer.transforms.sources.read_references import ListSource, OpenUnits
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source


def texts(path: Path, count: int) -> SourceSpec:
    """A manifest that holds its content, and its source."""
    lines = "".join(json.dumps({"id": f"i{n}", "body": f"text {n}"}) + "\n" for n in range(count)).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    columns = {"content": "body", "id": "id"}
    return inspect_source(SourceConfig(manifest=str(path), media="text", columns=columns))


def files(folder: Path, count: int) -> SourceSpec:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.txt").write_text("x")
    return inspect_source(SourceConfig(files=f"{folder}/*.txt"))


def opened(
    source: SourceSpec, units: list[Any], over: Callable[[], bool] = bool, **options: int
) -> tuple[list[list[Reference]], list[Any]]:
    """Lists of references, and units that are handed back."""
    opener = Opener(source, **options)
    opener.begin(over)
    found = [item for unit in units for item in opener.open(unit)]
    lists = [item for item in found if isinstance(item, list)]
    return lists, [item.unit for item in found if isinstance(item, Left)]


def names(references: Any) -> list[str]:
    return [reference.input_id for reference in references]


def test_chunks_are_handed_back_in_parts(tmp_path: Path) -> None:
    """So that a few large ones go to all workers."""
    many = [Reference(str(number), f"{number}.txt", "text") for number in range(10)]
    source = files(tmp_path / "in", 1)

    lists, left = opened(source, [to_chunk(many)], lambda: True, parts=4)

    assert lists == []
    assert [len(list(from_chunk(unit))) for unit in left] == [2, 3, 2, 3]
    assert [one for unit in left for one in from_chunk(unit)] == many


def test_the_rest_of_a_chunk_that_is_begun_is_handed_back(tmp_path: Path) -> None:
    many = [Reference(str(number), f"{number}.txt", "text") for number in range(10)]
    asked = iter([False, False, True])

    lists, left = opened(files(tmp_path / "in", 1), [to_chunk(many)], lambda: next(asked), step=3, parts=2)

    assert [names(some) for some in lists] == [["0", "1", "2"], ["3", "4", "5"]]
    assert [names(from_chunk(unit)) for unit in left] == [["6", "7"], ["8", "9"]]


def test_lists_are_no_longer_than_a_step(tmp_path: Path) -> None:
    source = texts(tmp_path / "many.jsonl", 40)

    lists, left = opened(source, first_pieces(source), step=7)

    assert max(map(len, lists)) <= 7
    assert [name for some in lists for name in names(some)] == [f"i{n}" for n in range(40)]
    assert left == []


def test_pieces_of_a_manifest_are_handed_back_unread(tmp_path: Path) -> None:
    """Content that the source holds does not cross a shuffle for it."""
    source = texts(tmp_path / "many.jsonl", 40)
    assert opened(source, first_pieces(source), lambda: True) == ([], list(source.scan.splits))


def test_a_piece_that_only_one_worker_can_read_is_done_to_its_end_once_it_is_begun(tmp_path: Path) -> None:
    source = texts(tmp_path / "many.jsonl.gz", 40)
    (unit,) = source.scan.splits
    assert opened(source, [unit], lambda: True) == ([], [unit])

    asked = iter([False])
    lists, left = opened(source, [unit], lambda: next(asked, True), step=10)

    assert sum(map(len, lists)) == 40
    assert left == []


def test_a_bounded_piece_hands_its_rest_back_as_chunks(tmp_path: Path) -> None:
    source = texts(tmp_path / "many.jsonl", 8 * MAX_CHUNK)
    unit = max(source.scan.splits, key=lambda split: split.rows)
    asked = iter([False, False])

    lists, left = opened(source, [unit], lambda: next(asked, True), step=5)

    whole = [one for item in PieceReader(source, None).read(unit) for one in item]  # type: ignore[union-attr]
    assert [*lists[0], *(one for chunk in left for one in from_chunk(chunk))] == whole
    assert len(lists) == 1


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
