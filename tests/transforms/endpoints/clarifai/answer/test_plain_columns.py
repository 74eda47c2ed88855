"""A reply of plain answers is read as columns: the same rows as one by one, whatever is in it."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from bulkinfer.transforms.endpoints.clarifai.answer import reader
from bulkinfer.transforms.endpoints.clarifai.answer.plain_columns import read_plain
from bulkinfer.transforms.endpoints.clarifai.answer.reader import OutputReader
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method
from bulkinfer.transforms.records import CallStats, Prediction, Reference
from bulkinfer.transforms.rows.answer_rows import Answered, ReadOptions
from bulkinfer.transforms.rows.table_builder import TableBuilder, TableOptions
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

STR = Method("predict", "UNARY_UNARY", (), (Field("return", "STR"),))
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(['{"choices": []}', '[{"function": 1}]', '{"a": 1}', "", "\x00", "é", "𝄞" * 5]),
)
OUTPUTS = st.tuples(
    TEXTS, st.booleans(), st.integers(0, 3), st.sampled_from(["", "id"]), st.sampled_from([0, 1_760_000_000])
)


def output(text: str, part: bool, tokens: int, name: str, created: int) -> Any:
    made = resources_pb2.Output(id=name, prompt_tokens=tokens)
    made.status.code = 10000
    made.created_at.seconds = created
    data = made.data.parts.add(id="return").data if part else made.data
    data.string_value = text
    return made


def tables(predictions: list[Prediction], method: Method | None, *, columns: bool) -> Any:
    builder = TableBuilder(
        TableOptions(
            "run",
            functools.partial(OutputReader, method),
            keep_schema=pa.schema([("k", pa.int64())]),
            model_url="m",
            model_version="v",
        )
    )
    read = read_plain if columns else lambda answered, field: None
    with mock.patch.object(reader, "read_plain", read):
        for start in range(0, len(predictions), 4):
            assert builder.add(predictions[start : start + 4]) == [None] * len(predictions[start : start + 4])
    return builder.finish()


@settings(deadline=None)
@given(st.lists(OUTPUTS, min_size=1, max_size=9), st.sampled_from([STR, None]))
def test_columns_hold_what_single_rows_would(outputs: list[Any], method: Method | None) -> None:
    predictions = [
        Prediction(
            Reference(
                f"{number}é",
                f"u{number}" if number % 2 else None,
                "text",
                columns={"k": number} if number % 3 else {},
                aliases=(Reference(f"alias{number}", None, "text"),) if number % 4 == 3 else (),
            ),
            (output(*one),),
            CallStats(1 + number % 2, 12.5),
            model_version="w" if number % 5 else "",
        )
        for number, one in enumerate(outputs)
    ]

    fast = tables(predictions, method, columns=True)
    slow = tables(predictions, method, columns=False)

    for name in ("predictions", "masks", "errors"):
        assert getattr(fast, name).equals(getattr(slow, name))
    assert fast.prediction_inputs.tolist() == slow.prediction_inputs.tolist()


def test_a_reply_of_texts_is_read_as_columns_and_another_is_not() -> None:
    def read(*outputs: Any) -> Any:
        answered = [
            Answered(n, Reference(f"{n}", None, "text"), Prediction(Reference(f"{n}", None, "text"), (one,)))
            for n, one in enumerate(outputs)
        ]
        found = read_plain(answered, STR.outputs[0])
        return None if found is None else found.columns

    plain, picture = output("yes", True, 0, "", 0), resources_pb2.Output()
    picture.data.image.url = "u"

    assert read(plain, plain)["text"] == ["yes", "yes"]
    assert "prompt_tokens" not in read(plain)
    assert read(plain, output("no", False, 7, "", 0))["prompt_tokens"] == [None, 7]
    assert read(plain, picture) is None
    assert read(plain, output('[{"function": 1}]', True, 0, "", 0)) is None


def test_a_number_too_large_for_its_column_costs_its_own_answer_alone() -> None:
    good, odd = output("yes", True, 0, "", 0), output("no", True, 0, "", 0)
    odd.completion_tokens = 2**31
    builder = TableBuilder(TableOptions("run", functools.partial(OutputReader, STR)))

    added = builder.add(
        [Prediction(Reference(f"{n}", None, "text"), (one,)) for n, one in enumerate([good, odd, good])]
    )

    assert [error is None for error in added] == [True, False, True]
    assert builder.finish().predictions["text"].to_pylist() == ["yes", "yes"]


SCORES = st.one_of(st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 1.0]), st.floats(-1, 2, width=32))
CONCEPTS = st.lists(
    st.tuples(st.sampled_from(["", "a", "é"]), st.sampled_from(["", "cat"]), SCORES), max_size=4
)
BOX = st.one_of(
    st.none(),
    st.tuples(*[st.one_of(st.floats(0, 1, width=32), SCORES)] * 4),
    st.sampled_from(
        [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0009, 1.0), (0.0, 0.0, 1.0011, 1.0), (0.5, 0.0, 0.5, 1.0)]
    ),
)
REGIONS = st.lists(
    st.tuples(
        BOX, CONCEPTS, SCORES, st.sampled_from(["", "r"]), st.sampled_from(["", "t"]), st.integers(0, 12)
    ),
    min_size=1,
    max_size=4,
)


def add_concepts(field: Any, concepts: list[tuple[str, str, float]]) -> None:
    for name, label, value in concepts:
        field.add(id=name, name=label, value=value)


def found_in_picture(answer: Any) -> Any:
    """An output of concepts, of regions, or of what else there is."""
    kind, concepts, regions = answer
    made = output("", False, 0, "id", 0)
    made.data.ClearField("string_value")
    if kind in ("concepts", "both"):
        add_concepts(made.data.concepts, concepts)
    if kind in ("regions", "both"):
        for box, own, value, name, track, shape in regions:
            region = made.data.regions.add(id=name, track_id=track, value=value)
            add_concepts(region.data.concepts, own)
            if box is not None:
                sides = region.region_info.bounding_box
                sides.left_col, sides.top_row, sides.right_col, sides.bottom_row = box
            if shape == 1:
                region.region_info.point.col = 0.5
    return made


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.lists(st.tuples(st.just("concepts"), CONCEPTS, st.just([])), min_size=1, max_size=6),
        st.lists(st.tuples(st.just("regions"), st.just([]), REGIONS), min_size=1, max_size=6),
        st.lists(
            st.tuples(st.sampled_from(["concepts", "regions", "both"]), CONCEPTS, REGIONS),
            min_size=1,
            max_size=4,
        ),
    ),
    st.sampled_from([(640, 480), (None, None), (640, None)]),
    st.sampled_from([None, 6]),
)
def test_concepts_and_boxes_as_columns_are_what_single_rows_would_be(
    answers: list[Any], size: tuple[int | None, int | None], orientation: int | None
) -> None:
    predictions = [
        Prediction(
            Reference(
                f"{number}",
                f"u{number}",
                "image",
                aliases=(Reference(f"alias{number}", None, "image"),) if number == 2 else (),
            ),
            (found_in_picture(answer),),
            width=size[0],
            height=size[1],
            orientation=orientation,
        )
        for number, answer in enumerate(answers)
    ]

    fast = tables(predictions, None, columns=True)
    slow = tables(predictions, None, columns=False)

    for name in ("predictions", "masks", "errors"):
        assert repr(getattr(fast, name).to_pylist()) == repr(
            getattr(slow, name).to_pylist()
        )  # NaN is not NaN
        assert getattr(fast, name).schema == getattr(slow, name).schema
    assert fast.prediction_inputs.tolist() == slow.prediction_inputs.tolist()


def test_replies_of_concepts_and_of_boxes_are_read_as_columns() -> None:
    def read(*answers: Any) -> Any:
        answered = [
            Answered(
                n, Reference(f"{n}", None, "image"), Prediction(Reference(f"{n}", None, "image"), (one,))
            )
            for n, one in enumerate(map(found_in_picture, answers))
        ]
        return read_plain(answered, None)

    concepts = ("concepts", [("a", "cat", 0.5)], [])
    box = ((0.0, 0.0, 0.5, 0.5), [("a", "cat", 0.5)], 0.0, "r", "", 0)
    assert read(concepts, concepts).concepts == [(["a"], ["cat"], [0.5])] * 2
    assert read(("regions", [], [box, box]), ("regions", [], [box])).regions.counts == [2, 1]
    assert read(("regions", [], [(*box[:5], 1)])) is None
    assert read(concepts, ("regions", [], [box])) is None
    assert read(("both", concepts[1], [box])) is None


@pytest.mark.parametrize("raw", [False, True])
def test_raw_messages_are_kept_one_by_one(raw: bool) -> None:
    builder = TableBuilder(TableOptions("run", functools.partial(OutputReader, STR), ReadOptions(raw=raw)))
    builder.add([Prediction(Reference("a", None, "text"), (output("yes", True, 0, "", 0),))])
    assert (builder.finish().predictions["raw"].to_pylist()[0] is not None) is raw


def test_secrets_of_references_stand_in_no_column() -> None:
    uri = "https://key:secret@h/a.txt?X-Amz-Signature=planted"
    builder = TableBuilder(
        TableOptions("run", functools.partial(OutputReader, STR), keep_schema=pa.schema([("k", pa.string())]))
    )
    reference = Reference("a", uri, "text", columns={"k": uri})

    builder.add([Prediction(reference, (output("yes", True, 0, "", 0),))] * 2)

    rows = str(builder.finish().predictions.to_pylist())
    assert "yes" in rows
    assert "planted" not in rows
    assert "secret" not in rows
