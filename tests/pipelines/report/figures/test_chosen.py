"""Every figure is what DuckDB gives for the query that it says, whatever the tables hold."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bulkinfer.pipelines.report import tables
from bulkinfer.pipelines.report.figures.chosen import figures_of
from bulkinfer.pipelines.report.figures.figure import Figure
from bulkinfer.pipelines.report.history import runs_figure
from bulkinfer.pipelines.report.tables import Table
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.storage.store import Store
from support.outputs import RUN, error, mask, prediction, region, write_output

LATER = "20260201T120000Z-000002"
LABELS = ["cat", "dog", "it's", "<script>alert(1)</script>", "", "\u202eright", "naïve", None]
NUMBERS = [0.0, 1.0, 0.5, -3.5, 1e-9, 1e12, math.nan, math.inf, None]


def counted(folder: Path) -> dict[str, Figure]:
    """The figures of an output, each checked against its query."""
    store = Store(str(folder))
    runs = list_runs(store)
    found = {name: Table(store, name) for name in ("predictions", "masks", "errors")}
    figures = [*figures_of(found, runs[-1].run_id, len(runs)), runs_figure(store, runs)]
    for figure in figures:
        rows = duckdb.sql(figure.sql).fetchall()
        assert len(rows) == len(figure.rows), figure.key
        for theirs, ours in zip(rows, figure.rows, strict=True):
            assert [_close(one) for one in theirs] == [_close(one) for one in ours], figure.key
    return {figure.key: figure for figure in figures}


def _close(value: Any) -> Any:
    """A mean is added up in another order."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _row(chance: random.Random, number: int) -> dict[str, Any]:
    regions = [
        region(index, score=chance.choice([0.1, 0.9, None, math.nan]), label=chance.choice(LABELS))
        for index in range(chance.choice([0, 0, 1, 5]))
    ]
    kind = chance.choice(["label", "text", "int_value", "float_value", "bool_value", "string_value", "json"])
    values = {
        "label": chance.choice(LABELS),
        "text": chance.choice(["", "yes", "yes", "größer " * 40]),
        "int_value": chance.choice([0, 7, 8, -2, 10**12]),
        "float_value": chance.choice(NUMBERS),
        "bool_value": chance.choice([True, False]),
        "string_value": chance.choice(["no", "'no'"]),
        "json": "{}",
    }
    return prediction(
        f"in/{number}.jpg",
        output_index=number % 2,
        run_id=chance.choice([RUN, LATER]),
        regions=regions,
        score=chance.choice([0.0, 0.25, 1.0, chance.random(), None]),
        created_at=chance.choice([None, 1_769_860_000_000_000 + chance.randrange(10**9)]),
        latency_ms=chance.choice([None, 0.0, 0.3, 1.0, 2.0, 1024.0, chance.random() * 5000]),
        attempts=chance.choice([1, 2, 9]),
        prompt_tokens=chance.choice([None, 10]),
        model_version=chance.choice(["v1", "v2", None]),
        **{kind: values[kind]},
    )


def _mask(chance: random.Random, number: int) -> dict[str, Any]:
    pixels = np.zeros((6, 8), bool)
    pixels[: chance.randrange(7), : chance.randrange(9)] = True
    made = mask(
        f"in/{number}.jpg", number, pixels, note=chance.choice([None, "lossy: a; box: b", "other_size: x"])
    )
    if chance.random() < 0.1:
        made |= {"segmentation": None, "area": None, "note": "unreadable: a corrupt PNG"}
    return made


@pytest.mark.parametrize("seed", range(6))
def test_every_figure_equals_its_query(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(tables, "_BATCH_ROWS", chance.choice([1, 7, 1000]))
    count = chance.choice([1, 3, 60])
    errors = [
        error(
            f"bad/{chance.randrange(10**6)}",
            stage=chance.choice(["read", "call"]),
            error_type=chance.choice(["missing", "refused"]),
            message=chance.choice(["it's gone", "</script>"]),
            retryable=chance.choice([True, False]),
        )
        for _ in range(chance.choice([0, 1, 9]))
    ]
    folder = tmp_path / "it's [a] *wild* folder?"
    figures = counted(
        write_output(
            folder,
            [_row(chance, number) for number in range(count)],
            [_mask(chance, number) for number in range(chance.choice([0, count]))],
            errors,
            runs=chance.choice([(RUN,), (RUN, LATER)]),
            group_rows=chance.choice([1, 5, 100]),
        )
    )

    assert figures["totals"].rows[1] == ("predictions", count)


def test_the_bins_of_a_histogram_begin_at_round_numbers(tmp_path: Path) -> None:
    scores = [0.0, 1.0, *((number + 0.5) / 200 for number in range(200))]
    figures = counted(write_output(tmp_path, [prediction(f"{score}", score=score) for score in scores]))

    starts = [start for start, _ in figures["scores"].rows]
    assert starts == pytest.approx([number / 20 for number in range(20)])
    # The last bin holds the score of 1, which lies on its end.
    assert [count for _, count in figures["scores"].rows] == [11, *[10] * 18, 11]
    assert figures["scores"].labels is not None
    assert figures["scores"].labels[-1] == "0.95 to 1"


def test_a_dead_model_is_seen_by_the_share_of_its_one_answer(tmp_path: Path) -> None:
    rows = [
        prediction(str(number), text="I cannot help with that." if number else "A cat.")
        for number in range(10)
    ]
    figures = counted(write_output(tmp_path, rows))

    assert figures["answers"].rows == [("I cannot help with that.", 9)]
    assert "The commonest is 90.0% of all." in figures["answers"].about


def test_what_the_latest_run_wrote_is_told_apart(tmp_path: Path) -> None:
    rows = [
        prediction("a", label="cat"),
        prediction("b", label="cat", run_id=LATER),
        prediction("c", label="dog"),
    ]
    figures = counted(write_output(tmp_path, rows, runs=(RUN, LATER)))

    assert figures["labels"].columns == ("value", "rows", "latest_run")
    assert figures["labels"].rows == [("cat", 2, 1), ("dog", 1, 0)]


def test_masks_of_nothing_and_of_everything_are_counted(tmp_path: Path) -> None:
    full, empty = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    nine, ten = empty.copy(), empty.copy()
    nine[0, :9] = ten[0, :10] = True
    masks = [mask("a", index, pixels) for index, pixels in enumerate((full, empty, nine, ten))]
    masks += [mask("a", 9, note="unreadable: no PNG")]
    figures = counted(write_output(tmp_path, [prediction("a")], masks))

    assert figures["odd_masks"].rows == [(5, 1, 1, 1, 1)]


def test_failures_name_the_first_input_of_their_kind(tmp_path: Path) -> None:
    errors = [error("b"), error("a"), error("c", error_type="refused", stage="call", retryable=True)]
    figures = counted(write_output(tmp_path, [], [], errors))

    assert figures["failures"].rows == [
        ("missing", 2, "read", 0, "a", "a is gone"),
        ("refused", 1, "call", 1, "c", "c is gone"),
    ]


def test_the_time_of_the_latest_run_is_cut_into_at_most_sixty_moments(tmp_path: Path) -> None:
    start = 1_769_860_000_000_000
    rows = [prediction(str(n), created_at=start + n * 60_000_000, latency_ms=float(n)) for n in range(300)]
    figures = counted(write_output(tmp_path, rows))

    moments = figures["over_time"].rows
    assert 30 <= len(moments) <= 61
    assert sum(row[1] for row in moments) == 300
    assert moments[-1][3] == 299.0


def test_every_run_is_counted_by_its_record(tmp_path: Path) -> None:
    rows = [prediction("a"), prediction("b", run_id=LATER)]
    figures = counted(write_output(tmp_path, rows, runs=(RUN, LATER)))

    assert [row[:4] for row in figures["runs"].rows] == [
        (RUN, 1, "2026-01-31T12:00:00+00:00", 60),
        (LATER, 1, "2026-01-31T12:00:00+00:00", 60),
    ]
