"""What a callable may answer, and the rows that it becomes."""

from __future__ import annotations

import dataclasses
import datetime
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.endpoints.plain.answers import Answer, answer_of
from bulkinfer.transforms.endpoints.plain.reader import PlainReader
from bulkinfer.transforms.endpoints.plain.regions import AnswerError
from bulkinfer.transforms.records import Prediction, Reference
from bulkinfer.transforms.rows.answer_rows import ReadOptions
from bulkinfer.transforms.rows.table_builder import TableBuilder, TableOptions
from PIL import Image
from pycocotools import mask as coco

ALWAYS = {
    "input_id",
    "output_index",
    "run_id",
    "media_type",
    "status_code",
    "num_regions",
    "latency_ms",
    "attempts",
}


def tables_of(
    *answers: Any, size: tuple[int, int] | None = (8, 4), orientation: int | None = None, **read: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of predictions and masks of one input, whose answer has these pieces."""
    builder = TableBuilder(TableOptions("run", reader=PlainReader, read=ReadOptions(**read)))
    width, height = size or (None, None)
    pieces = tuple(map(answer_of, answers))
    prediction = Prediction(
        Reference("a", None, "image"), pieces, width=width, height=height, orientation=orientation
    )
    (error,) = builder.add([prediction])
    if error is not None:
        raise error
    tables = builder.finish()
    found = [
        {name: value for name, value in row.items() if value is not None and name not in ALWAYS}
        for row in tables.predictions.to_pylist()
    ]
    return found, tables.masks.to_pylist()


def row_of(answer: Any) -> dict[str, Any]:
    """The columns that an answer fills."""
    ((row,), _) = tables_of(answer, size=None)
    return row


@dataclasses.dataclass
class Reply:
    text: str
    language: str


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        ("a text", {"text": "a text"}),
        ("", {"text": ""}),
        (None, {}),
        (True, {"bool_value": True}),
        (np.bool_(False), {"bool_value": False}),
        (7, {"int_value": 7}),
        (np.uint8(7), {"int_value": 7}),
        (0.5, {"float_value": 0.5}),
        (np.float32(0.5), {"float_value": 0.5}),
        (b"\x00", {"bytes_value": b"\x00"}),
        ([1, "b", None], {"json": '[1,"b",null]'}),
        ([], {"json": "[]"}),
        (("a", 1), {"json": '["a",1]'}),
        ({"species": "wren", "count": np.int64(2)}, {"json": '{"species":"wren","count":2}'}),
        ({}, {}),
        ({"text": "hallo", "language": "de"}, {"text": "hallo", "json": '{"language":"de"}'}),
        (Reply("hallo", "de"), {"text": "hallo", "json": '{"language":"de"}'}),
        ({"json": {"text": "mine"}}, {"json": '{"text":"mine"}'}),
        ({"json": {"a": 1}, "b": 2}, {"json": '{"a":1,"b":2}'}),
        ({"json": [1], "b": 2}, {"json": '{"json":[1],"b":2}'}),
        ({"score": 3}, {"json": '{"score":3}'}),
        ({"a": [math.nan, {1: datetime.date(2026, 1, 31)}]}, {"json": '{"a":[null,{"1":"2026-01-31"}]}'}),
        (np.array([0.5, 1.5]), {"embedding": [0.5, 1.5]}),
        ({"embedding": [1, 2]}, {"embedding": [1.0, 2.0]}),
        (np.array("a"), {"text": "a"}),
        (np.array(["a", "b"]), {"json": '["a","b"]'}),
        (
            np.array([[1, 2]], ">i2"),
            {"ndarray": {"buffer": b"\x01\x00\x02\x00", "shape": [1, 2], "dtype": "int16"}},
        ),
        (
            {"ndarray": [1.0]},
            {"ndarray": {"buffer": np.array([1.0]).tobytes(), "shape": [1], "dtype": "float64"}},
        ),
    ],
    ids=str,
)
def test_each_form_has_its_column(answer: Any, row: dict[str, Any]) -> None:
    assert row_of(answer) == row


def test_the_best_of_some_concepts_is_the_label() -> None:
    concepts = [{"label": "cat", "score": 0.25}, {"label": "dog", "score": np.float32(0.75), "id": 3}]
    row = {
        "label": "dog",
        "score": 0.75,
        "concepts": [
            {"id": None, "name": "cat", "value": 0.25},
            {"id": "3", "name": "dog", "value": 0.75},
        ],
    }

    assert row_of(concepts) == row
    assert row_of({"concepts": concepts, "json": 1}) == {**row, "json": "1"}


def test_a_label_and_its_score_are_one_concept() -> None:
    row = row_of({"label": "cat", "score": 0.5, "why": "whiskers"})

    assert (row["label"], row["score"], row["json"]) == ("cat", 0.5, '{"why":"whiskers"}')
    assert "score" not in row_of({"label": "cat"})  # a label that has no score is one nevertheless


def test_a_picture_is_stored_as_png() -> None:
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 255
    for answer in (Image.fromarray(red), {"image": red}):
        stored = row_of(answer)["image"]["bytes"]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), red)
    assert row_of({"image": b"as it is"})["image"]["bytes"] == b"as it is"


def test_a_picture_of_booleans_is_a_mask() -> None:
    mask = np.zeros((4, 8), bool)
    mask[1:3, 2:6] = True
    ((row,), (found,)) = tables_of(mask)

    assert row["regions"][0]["bbox"] == found["bbox"] == [2, 1, 4, 2]
    assert found["bbox_rel"] == [0.25, 0.25, 0.5, 0.5]
    assert (found["area"], found["bbox_source"], found["mask"]) == (8, "mask", None)
    assert np.array_equal(coco.decode(found["segmentation"]), mask)
    assert len(tables_of(np.stack([mask, ~mask]))[1]) == 2
    assert len(tables_of({"text": "two", "embedding": [1.0], "mask": np.stack([mask, ~mask])})[1]) == 2


def test_a_mask_is_stored_as_a_picture_where_the_job_wants_it() -> None:
    mask = np.arange(32).reshape(4, 8) % 3 == 0
    for masks, coded in (("png", False), ("both", True)):
        (_, (found,)) = tables_of({"mask": mask.astype(np.int32), "box": [0, 0, 8, 4]}, masks=masks)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(found["mask"]["bytes"]))), mask)
        assert (found["segmentation"] is not None) == coded
        assert found["area"] == mask.sum()
    assert tables_of(mask, masks="none")[1] == []


def test_boxes_in_pixels_and_in_fractions_are_the_same() -> None:
    boxes: list[dict[str, Any]] = [
        {"box": [2, 1, 6, 3], "label": "cat", "score": 0.5, "id": "r", "track_id": 4},
        {"box": {"xmin": 2, "ymin": 1, "xmax": 6, "ymax": 3}},
        {"box_rel": np.array([0.25, 0.25, 0.75, 0.75])},
    ]
    ((row,), masks) = tables_of(boxes)

    assert masks == []  # a box alone is no shape
    assert [one["bbox"] for one in row["regions"]] == [[2, 1, 4, 2]] * 3
    assert [one["bbox_rel"] for one in row["regions"]] == [[0.25, 0.25, 0.5, 0.5]] * 3
    first = row["regions"][0]
    assert [first[name] for name in ("label", "score", "region_id", "track_id")] == ["cat", 0.5, "r", "4"]


def test_points_keep_their_pixels() -> None:
    (_, (found,)) = tables_of(
        {
            "polygon": [[0, 0], [8, 0], [8, 4]],
            "keypoints": [[2, 1], [4, 2]],
            "point": (6, 3),
            "text": "sign",
            "concepts": [{"label": "stop", "score": 1}],
        }
    )

    assert found["polygon"] == [[0, 0, 8, 0, 8, 4]]
    assert found["keypoints"] == [2, 1, 2, 4, 2, 2]
    assert (found["point"], found["text"]) == ([6, 3], "sign")
    assert [one["name"] for one in found["concepts"]] == ["stop"]
    (_, (told,)) = tables_of([{"keypoints": [[2, 1, 0]], "polygon": [0, 0, 8, 4]}])
    assert (told["keypoints"], told["polygon"]) == ([2, 1, 0], [[0, 0, 8, 4]])


def test_masks_of_a_picture_that_the_model_has_turned_lie_as_it_did() -> None:
    upright = np.ones((8, 4), bool)  # the picture is stored 8 wide and 4 high, and shown standing
    ((row,), (found,)) = tables_of({"mask": upright, "box": [0, 0, 4, 8]}, orientation=6)

    assert (row["width"], row["height"]) == (4, 8)
    assert found["bbox"] == [0, 0, 4, 8]
    assert found["note"] is None


def test_texts_of_a_stream_are_joined_and_kept_where_the_job_wants_it() -> None:
    assert [row["text"] for row in tables_of("a", "b")[0]] == ["ab"]
    assert [row["text"] for row in tables_of("a", "b", pieces=True)[0]] == ["ab", "a", "b"]
    assert tables_of()[0] == [{"text": "", "width": 8, "height": 4}]


def test_other_pieces_of_a_stream_are_a_row_each() -> None:
    rows, masks = tables_of({"box": [0, 0, 1, 1]}, [{"mask": np.ones((4, 8), bool)}], "text")

    assert [len(row.get("regions") or ()) for row in rows] == [1, 1, 0]
    assert rows[2]["text"] == "text"
    assert [mask["output_index"] for mask in masks] == [1]


def test_an_array_of_another_library_counts_as_one() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> Any:
            return np.array([0.5, 0.25], np.float32)

    assert row_of(Tensor()) == {"embedding": [0.5, 0.25]}
    assert row_of({"deep": [Tensor()]}) == {"json": '{"deep":[[0.5,0.25]]}'}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            object(),
            "a value of type object is no answer; return a text, a number, an array, a list, or a dict",
        ),
        (2**63, "an integer of 64 bits does not fit into 64; return it as text"),
        ({"a": object()}, "a value of type object has no form in JSON"),
        ([b"bytes"], "a value of type bytes has no form in JSON"),
        ({"text": 3}, "text: a text is str, not a value of type int; .* is returned as {'json': ...}"),
        ({"regions": "none"}, "regions: regions are a list, not a value of type str"),
        ({"regions": [3]}, "regions: a region is a dict or a dataclass, not a value of type int"),
        (
            {"regions": [{"label": "a"}]},
            "a region has one of box, box_rel, keypoints, mask, point, polygon, and this",
        ),
        (
            {"regions": [{"box": [0, 0, 1, 1], "colour": 1}]},
            "a region has no colour; it has box, box_rel, concepts,",
        ),
        ([{"box": [0, 0, 1]}], "box is 4 numbers, not 3"),
        ([{"box": "here"}], "box is a list of numbers, not a value of type str"),
        ([{"box": {"x": 1}}], "box is {xmin, ymin, xmax, ymax}, not a dict with the keys x"),
        ([{"mask": np.ones((2, 2))}], "not of float64; cut it, as in mask > 0.5"),
        (
            [{"mask": np.ones(2, bool)}],
            r"a mask is an array of height x width, not an array of bool and shape \[2\]",
        ),
        ([{"mask": np.ones((2, 2, 2), bool)}], "the mask of a region has two dimensions"),
        (np.ones((0, 4), bool), "a mask is an array of height x width"),
        ([{"polygon": [1, 2, 3]}], "polygon is a list of points, not a value of type list"),
        ([{"polygon": [[1, 2, 3]]}], "polygon is a list of points"),
        ([{"keypoints": [1, 2]}], r"keypoints are \[\[x, y\], ...\] or"),
        ([{"point": [1, 2, 3]}], "point is 2 numbers, not 3"),
        ([{"box": [0, 0, 1, 1], "score": "high"}], "score is a number, not a value of type str"),
        ([{"box": [0, 0, 1, 1], "label": 1.5}], "label is text, not a value of type float"),
        ({"concepts": {"cat": 1}}, "concepts: concepts are a list, not a dict with the keys cat"),
        (
            {"concepts": [{"name": "cat"}]},
            "concepts: a concept is {'label': ..., 'score': ...} and an id at most",
        ),
        ({"embedding": [[1.0]]}, "embedding: an embedding is a vector of numbers, not a value of type list"),
        (
            {"image": np.ones((2, 2, 3))},
            r"image: a picture is an array of uint8, height x width x 3, not an array of",
        ),
        ({"image": "path"}, "image: a picture is PIL's, an array, or bytes of one, not a value of type str"),
    ],
    ids=lambda value: type(value).__name__,  # the text of an object holds its address
)
def test_what_is_no_answer_says_what_would_be(answer: Any, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        answer_of(answer)


def test_pixels_need_the_size_of_the_picture() -> None:
    with pytest.raises(
        Exception, match="a region's box is in pixels of a picture whose size is not known; return"
    ):
        tables_of({"box": [0, 0, 1, 1]}, size=None)
    ((row,), _) = tables_of({"box_rel": [0, 0, 1, 1]}, size=None)
    assert row["regions"][0]["bbox_rel"] == [0, 0, 1, 1]


def test_an_answer_is_plain_data(tmp_path: Path) -> None:
    import pickle

    answer = answer_of([{"mask": np.ones((4, 8), bool)}])
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert isinstance(answer, Answer)
