"""Two outputs compared: every number by hand or by DuckDB, and the rows that disagree."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bulkinfer.pipelines.compare import comparison as module
from bulkinfer.pipelines.compare.comparison import Comparison, compare
from bulkinfer.pipelines.compare.figures import figures_of
from bulkinfer.pipelines.compare.page import comparison_page, comparison_text
from bulkinfer.pipelines.report import tables
from bulkinfer.pipelines.report.output import open_output
from support.jobs import photo, run_cli
from support.outputs import mask, prediction, region, write_output
from support.pages import Read


def compared(
    tmp_path: Path, a: Any, b: Any, *, masks_a: Any = (), masks_b: Any = (), sample: int = 12
) -> Comparison:
    """Two outputs of these rows compared, and every figure checked against its query."""
    one, other = tmp_path / "it's one", tmp_path / "other"
    found = compare(
        open_output(str(write_output(one, a, masks_a))),
        open_output(str(write_output(other, b, masks_b))),
        sample,
    )
    for figure in figures_of(found):
        rows = duckdb.sql(figure.sql).fetchall()
        assert len(rows) == len(figure.rows), figure.key
        for theirs, ours in zip(rows, figure.rows, strict=True):
            assert list(theirs) == [pytest.approx(one) if isinstance(one, float) else one for one in ours], (
                figure.key
            )
    return found


def square(left: int, size: int = 10) -> np.ndarray:
    pixels = np.zeros((40, 40), bool)
    pixels[5 : 5 + size, left : left + size] = True
    return pixels


def test_kappa_is_cohens(tmp_path: Path) -> None:
    # Of 50 applications two readers both say yes to 20 and no to 15: the textbook's example, kappa 0.4.
    answers = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    a = [prediction(str(number), label=one) for number, (one, _) in enumerate(answers)]
    b = [prediction(str(number), label=other) for number, (_, other) in enumerate(answers)]
    found = compared(tmp_path, a, b)

    assert found.labels.compared == 50
    assert found.labels.agreement == 0.7
    assert found.labels.kappa == pytest.approx(0.4)
    assert found.labels.confusions == [("no", "yes", 10), ("yes", "no", 5)]


def test_where_one_label_is_all_there_is_kappa_says_nothing(tmp_path: Path) -> None:
    rows = [prediction(str(number), label="cat") for number in range(3)]
    found = compared(tmp_path, rows, rows)

    assert (found.labels.agreement, found.labels.kappa) == (1.0, None)
    assert "not defined" in comparison_text(found)


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_their_queries_whatever_the_rows(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(tables, "_BATCH_ROWS", chance.choice([3, 1000]))

    def rows() -> list[dict[str, Any]]:
        made = [
            prediction(
                f"in/{number // 2}",
                output_index=number % 2,
                label=chance.choice(["a", "b", "it's", "<i>", None]),
                bool_value=chance.choice([True, None]),
                score=chance.choice([None, 0.25, chance.random(), float("nan")]),
                text=chance.choice([None, "", "same", f"text {number}"]),
            )
            for number in range(60)
            if chance.random() < 0.8
        ]
        chance.shuffle(made)
        return made

    a, b = rows(), rows()
    found = compared(tmp_path, a, b)
    keys_a, keys_b = ({(row["input_id"], row["output_index"]) for row in side} for side in (a, b))

    assert (found.both, found.only_a, found.only_b) == (
        len(keys_a & keys_b),
        len(keys_a - keys_b),
        len(keys_b - keys_a),
    )
    texts_a, texts_b = (
        {(row["input_id"], row["output_index"]): row["text"] for row in side} for side in (a, b)
    )
    pairs = [(texts_a[key], texts_b[key]) for key in keys_a & keys_b]
    pairs = [pair for pair in pairs if None not in pair]
    assert (found.texts.compared, found.texts.equal) == (
        len(pairs),
        sum(one == other for one, other in pairs),
    )


def test_scores_move(tmp_path: Path) -> None:
    a = [prediction(str(number), score=0.5) for number in range(3)] + [prediction("none")]
    b = [prediction(str(number), score=score) for number, score in enumerate((0.5, 0.75, 0.25))] + [
        prediction("none")
    ]
    found = compared(tmp_path, a, b)

    assert (found.scores.compared, found.scores.mean) == (3, 0.0)
    assert found.scores.mean_absolute == pytest.approx(1 / 6)
    assert found.scores.shifts == [(-0.25, 1), (0.0, 1), (0.25, 1)]


def test_masks_are_matched_greedily_at_half(tmp_path: Path) -> None:
    # One output's two squares: B has one that lies nearly on the first, and one that covers less than half.
    a = [mask("a", 0, square(0)), mask("a", 1, square(20))]
    b = [mask("a", 0, square(1)), mask("a", 1, square(26))]
    rows = [prediction("a", regions=[region(0), region(1)], width=40, height=40)]
    found = compared(tmp_path, rows, rows, masks_a=a, masks_b=b)

    assert (found.shapes.in_a, found.shapes.in_b, found.shapes.matched) == (2, 2, 1)
    assert found.shapes.mean_iou == pytest.approx(90 / 110)


def test_the_best_pair_is_matched_first(tmp_path: Path) -> None:
    a = [mask("a", 0, square(0)), mask("a", 1, square(2))]
    b = [mask("a", 0, square(2)), mask("a", 1, square(4))]
    rows = [prediction("a", regions=[region(0), region(1)])]
    found = compared(tmp_path, rows, rows, masks_a=a, masks_b=b)

    # square(2) lies on square(2); what is left overlaps by 6 of 14 columns.
    assert (found.shapes.matched, found.shapes.mean_iou) == (1, 1.0)


def test_masks_of_two_resolutions_are_compared_over_the_whole_picture(tmp_path: Path) -> None:
    large = square(10).repeat(3, 0).repeat(3, 1)
    rows = [prediction("a", regions=[region(0)])]
    found = compared(tmp_path, rows, rows, masks_a=[mask("a", 0, square(10))], masks_b=[mask("a", 0, large)])

    assert found.shapes.mean_iou == 1.0


def test_boxes_are_matched_where_there_are_no_masks(tmp_path: Path) -> None:
    a = [prediction("a", regions=[region(0, (0, 0, 0.5, 0.5), label="cat"), region(1, (0.6, 0.6, 0.2, 0.2))])]
    b = [prediction("a", regions=[region(0, (0, 0, 0.5, 0.4), label="dog")])]
    found = compared(tmp_path, a, b)

    assert (found.shapes.in_a, found.shapes.in_b, found.shapes.matched) == (2, 1, 1)
    assert found.shapes.mean_iou == pytest.approx(0.8)
    assert found.shapes.label_agreement == 0.0


def test_of_many_rows_some_are_drawn_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PICTURES", 4)
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    rows = [prediction(str(number), regions=[region(0)]) for number in range(9)]
    found = compared(tmp_path, rows, rows)

    assert (found.shapes.rows, found.shapes.of, found.shapes.matched) == (4, 9, 4)
    assert "in 4 rows (of 9, drawn)" in comparison_text(found)


def test_texts_are_alike_by_their_words(tmp_path: Path) -> None:
    a = [prediction("1", text="the same"), prediction("2", text="a cat on a mat"), prediction("3", text="x")]
    b = [prediction("1", text="the same"), prediction("2", text="a dog on a mat"), prediction("3")]
    found = compared(tmp_path, a, b)

    assert (found.texts.compared, found.texts.equal, found.texts.looked_at) == (2, 1, 1)
    assert found.texts.similarity == pytest.approx(0.8)


def test_rows_disagree_most_where_both_models_are_sure(tmp_path: Path) -> None:
    a = [prediction(str(number), label="cat", score=number / 10) for number in range(10)]
    b = [prediction(str(number), label="dog" if number % 2 else "cat", score=0.75) for number in range(10)]
    found = compared(tmp_path, a, b, sample=3)

    assert [one.key[0] for one in found.disagreements] == ["9", "7", "5"]
    assert {one.what for one in found.disagreements} == {"label"}


def test_each_way_to_disagree_is_seen(tmp_path: Path) -> None:
    a = [
        prediction("l", label="cat"),
        prediction("r", regions=[region(0)]),
        prediction("t", text="one thing"),
    ]
    b = [prediction("l", label="dog"), prediction("r"), prediction("t", text="another one")]
    found = compared(tmp_path, a, b)

    assert {one.key[0]: one.what for one in found.disagreements} == {
        "l": "label",
        "r": "regions",
        "t": "text",
    }


def test_equal_outputs_disagree_nowhere(tmp_path: Path) -> None:
    rows = [prediction("a", label="cat", text="a", regions=[region(0)])]
    found = compared(tmp_path, rows, rows)

    assert found.disagreements == []
    assert found.labels.confusions == []


def test_outputs_of_two_sources_have_nothing_in_common(tmp_path: Path) -> None:
    found = compared(tmp_path, [prediction("a")], [prediction("b"), prediction("c")])

    assert (found.both, found.only_a, found.only_b) == (0, 1, 2)
    assert "outputs of two sources have none in common" in comparison_text(found)
    assert "Two outputs compared" in comparison_page(found)


def test_an_output_of_errors_alone_can_be_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, [], [prediction("a")])

    assert (found.both, found.only_b) == (0, 1)


def test_the_command_prints_one_json_object_and_writes_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo(size=(40, 40)))
    name, size = str(tmp_path / "a.jpg"), {"width": 40, "height": 40, "regions": [region(0)]}
    write_output(tmp_path / "a", [prediction(name, **size, label="cat")], [mask(name, 0, square(0))])
    write_output(tmp_path / "b", [prediction(name, **size, label="dog")], [mask(name, 0, square(30))])

    ran = run_cli("compare", "a", "b", "--json", "--to", "page.html", cwd=tmp_path)
    said = run_cli("compare", "a", "b", cwd=tmp_path)

    assert (ran.code, said.code) == (0, 0), ran.err + said.err
    assert ran.json["rows"] == {"both": 1, "only_a": 0, "only_b": 0}
    assert ran.json["labels"]["confusions"] == [{"a": "cat", "b": "dog", "count": 1}]
    assert ran.json["disagreements"] == [{"input_id": name, "output_index": 0, "what": "label"}]
    assert json.dumps(ran.json)
    assert "1  cat -> dog" in said.out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('class="mask ') == 2
    assert 'aria-label="a.jpg in A: ' in page


def test_nobodys_label_reaches_the_terminal_or_the_page_as_it_is(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\x1b[2J\u202e\nnew line"
    a = [prediction(f"x {hostile}", label=hostile, text=hostile)]
    found = compared(tmp_path, a, [prediction(f"x {hostile}", label="b", text="b")])
    text, page = comparison_text(found), comparison_page(found)

    assert not set(text + page) & set("\x1b\u202e")
    assert "\nnew line" not in text
    assert Read(page).count("script") == 1


def test_what_is_no_output_is_told(tmp_path: Path) -> None:
    write_output(tmp_path / "a", [prediction("a")])
    ran = run_cli("compare", "a", "nowhere", cwd=tmp_path)

    assert ran.code == 2
    assert "nowhere holds no finished run" in ran.err
