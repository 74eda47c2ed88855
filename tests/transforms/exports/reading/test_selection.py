"""Regions come with their rows, whatever order the files of the tables have, and one answer's alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.exports.reading import joined
from bulkinfer.transforms.exports.reading.selection import Selection
from bulkinfer.transforms.storage.store import Store
from support.exports import RING, SOLID, output_of, picture


def many(count: int) -> list[Any]:
    return [
        picture(
            f"{number:03d}.jpg",
            *[(f"l{at}", 0.5, (0, 0, 1, 1) if at == 1 else SOLID) for at in range(number % 4)],
        )
        for number in range(count)
    ]


def shuffle(store: Store, table: str) -> None:
    """Write a table's rows in another order, over two files."""
    for entry in store.find(table):
        path = Path(store.full_path(entry.path))
        rows = pq.read_table(path)
        order = sorted(range(rows.num_rows), key=lambda at: (at * 7919) % max(1, rows.num_rows))
        mixed = rows.take(pa.array(order))
        half = mixed.num_rows // 2
        pq.write_table(mixed.slice(0, half), path)
        pq.write_table(mixed.slice(half), path.with_name(f"a-{path.name}"))


def seen(store: Store, where: str | None = None) -> dict[str, list[tuple[int, str | None, bool]]]:
    return {
        picture.input_id: [(one.position, one.label, one.rle is not None) for one in regions]
        for picture, regions, _ in Selection(store, where).items()
    }


@pytest.mark.parametrize("per_file", [32_768, 5])
def test_masks_in_another_order_find_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_file: int
) -> None:
    store = output_of(tmp_path, many(60))
    before = seen(store)
    assert before["003.jpg"] == [(0, "l0", True), (1, "l1", False), (2, "l2", True)]
    shuffle(store, "masks")
    monkeypatch.setattr(joined, "_MASKS", per_file)
    assert seen(store) == before
    where = "input_id > '030'"
    assert seen(store, where) == {name: found for name, found in before.items() if name > "030"}


def test_two_answers_to_one_input_keep_their_own_masks(tmp_path: Path) -> None:
    first = output_of(tmp_path / "1", [picture("a.jpg", ("cat", 0.5, SOLID))])
    second = output_of(
        tmp_path / "2", [picture("a.jpg", ("dog", 0.5, RING))], run_id="20260102T000000Z-000002"
    )
    for table in ("predictions", "masks"):
        (entry,) = second.find(table)
        Path(first.full_path(f"{table}/z.parquet")).write_bytes(second.read(entry.path))
    found = [[one.label for one in regions] for _, regions, _ in Selection(first).items()]
    assert sorted(found) == [["cat"], ["dog"]]


def test_partitions_are_columns(tmp_path: Path) -> None:
    store = output_of(tmp_path, many(4), partition_by=("city",))
    rows = [row for batch in Selection(store).batches("predictions") for row in batch.to_pylist()]
    assert {row["city"] for row in rows} == {"Bern"}
    assert len(seen(store, "city = 'Bern'")) == 4
    assert not seen(store, "city = 'Thun'")


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    store = output_of(tmp_path, many(4))
    (entry,) = store.find("masks")
    Path(store.full_path(entry.path)).write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match="masks"):
        seen(store)


def test_facts(tmp_path: Path) -> None:
    facts = Selection(output_of(tmp_path, many(8))).facts
    assert (facts.rows, facts.masks, facts.sized, facts.unsized) == (8, 8, 8, "")
    assert facts.regions == {"l0": 6, "l1": 4, "l2": 2}
    assert facts.media == {"image": 8}
