"""Which inputs are shown: each choice is what its query names, page after page."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import numpy as np
import pytest
from bulkinfer.pipelines.report import tables
from bulkinfer.pipelines.report.history import known_before
from bulkinfer.pipelines.report.pictures.choices import Choice, choose
from bulkinfer.pipelines.report.tables import Table
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.storage.store import Store
from support.outputs import RUN, mask, prediction, region, write_output, write_record

LATER = "20260201T120000Z-000002"


def chosen(folder: Path, count: int = 4, start: int = 0, labels: tuple[str, ...] = ()) -> dict[str, Choice]:
    store = Store(str(folder))
    runs = list_runs(store)
    found = choose(
        Table(store, "predictions"),
        Table(store, "masks"),
        count=count,
        start=start,
        labels=labels,
        latest=runs[-1].run_id,
        known=known_before(store, runs),
    )
    return {choice.key: choice for choice in found}


@pytest.mark.parametrize("seed", range(5))
def test_a_choice_is_what_its_query_names(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(tables, "_BATCH_ROWS", chance.choice([1, 6, 1000]))
    rows, masks = [], []
    for number in range(40):
        name, index = f"in/{number // 2}", number % 2
        regions = [
            region(one, score=chance.choice([None, 0.1, 0.2, float("nan")]))
            for one in range(chance.randrange(4))
        ]
        score = chance.choice([None, None, 0.15, 0.3])
        rows.append(prediction(name, output_index=index, regions=regions, score=score))
        for one in regions:
            pixels = np.zeros((4, 4), bool)
            pixels.flat[: chance.randrange(17)] = True
            masks.append(mask(name, one["region_index"], pixels, output_index=index))
    chance.shuffle(rows)
    chance.shuffle(masks)
    write_output(tmp_path, rows, masks, group_rows=chance.choice([1, 9, 100]))

    for start in (0, 3):
        found = chosen(tmp_path, 5, start)
        assert set(found) == {"random", "least_sure", "largest", "most_regions"}
        for choice in found.values():
            assert list(choice.keys) == duckdb.sql(choice.sql).fetchall(), choice.key


def test_every_label_is_seen_before_one_is_seen_twice(tmp_path: Path) -> None:
    rows = [prediction(f"cat {number}", label="cat") for number in range(20)]
    rows += [prediction("dog", regions=[region(0, label="dog"), region(1, label="cat")])]
    write_output(tmp_path, rows)

    keys = [name for name, _ in chosen(tmp_path, 8, labels=("cat", "dog", "cow"))["labels"].keys]
    assert keys[1] == "dog"
    assert len(keys) == 3


def test_new_inputs_are_told_from_those_that_are_done_again(tmp_path: Path) -> None:
    rows = [prediction("old"), prediction("again", run_id=LATER), prediction("new", run_id=LATER)]
    write_output(tmp_path, rows, runs=())
    write_record(tmp_path, RUN, ["old", "again"])
    write_record(tmp_path, LATER, ["again", "new"], sequence=2)

    found = chosen(tmp_path)
    assert found["new"].keys == (("new", 0),)
    assert found["again"].keys == (("again", 0),)


def test_of_a_first_run_nothing_is_new(tmp_path: Path) -> None:
    write_output(tmp_path, [prediction("a")])

    assert set(chosen(tmp_path)) == {"random"}


def test_no_inputs_are_chosen_where_none_are_asked_for(tmp_path: Path) -> None:
    write_output(tmp_path, [prediction("a")])

    assert chosen(tmp_path, 0) == {}
