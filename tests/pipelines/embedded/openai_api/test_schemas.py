"""Objects made for a schema fit it, whatever the schema; what cannot be made is refused."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from bulkinfer.pipelines.embedded.openai_api.api_error import ApiError
from bulkinfer.pipelines.embedded.openai_api.schemas import check_schema, fitting
from hypothesis import given, settings
from hypothesis import strategies as st

FACTS = {
    "language": "German",
    "width": 451,
    "score": 0.9,
    "sure": True,
    "colors": ["gray", "brown"],
    "size": None,
}
NAMES = st.sampled_from([*FACTS, "other", "x"])


def _bounds(low: str, high: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any, one or both of two bounds, in order."""
    pairs = st.tuples(numbers, numbers).map(sorted).map(lambda pair: {low: pair[0], high: pair[1]})
    return st.one_of(
        st.just({}),
        pairs,
        pairs.map(lambda both: {low: both[low]}),
        pairs.map(lambda both: {high: both[high]}),
    )


def _typed(kind: Any, bounds: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return bounds.map(lambda found: {"type": kind, **found})


LEAVES = st.one_of(
    st.just({}),
    st.just({"type": "null"}),
    st.sampled_from(
        [{"type": "boolean"}, {"type": ["null", "string"]}, {"type": "string", "format": "date"}]
    ),
    _typed("string", _bounds("minLength", "maxLength", st.integers(0, 30))),
    _typed("integer", _bounds("minimum", "maximum", st.integers(-1000, 1000))),
    _typed("number", _bounds("minimum", "maximum", st.integers(-999, 999).map(lambda n: n / 8))),
    _typed(
        "number",
        st.integers(-999, 999).map(lambda n: {"exclusiveMinimum": n / 8, "exclusiveMaximum": n / 8 + 1}),
    ),
    _typed("integer", st.integers(-99, 99).map(lambda n: {"exclusiveMinimum": n, "exclusiveMaximum": n + 2})),
    _typed("integer", st.integers(2, 9).map(lambda n: {"minimum": n, "maximum": 3 * n, "multipleOf": n})),
    st.lists(st.sampled_from([1, "gray", None, "x", 2.5, True]), min_size=1, unique_by=repr).map(
        lambda v: {"enum": v}
    ),
    st.sampled_from(["x", 7, None]).map(lambda v: {"const": v}),
)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.tuples(inner, st.integers(0, 3), st.integers(0, 3))
    members = st.dictionaries(NAMES, inner, max_size=4)
    return st.one_of(
        items.map(lambda t: {"type": "array", "items": t[0], "minItems": min(t[1:]), "maxItems": max(t[1:])}),
        members.map(lambda found: {"type": "object", "properties": found, "required": sorted(found)}),
        members.map(lambda found: {"properties": found, "additionalProperties": False}),
        st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices}),
        inner.map(lambda one: {"allOf": [one]}),
        inner.map(lambda one: {"type": "array", "prefixItems": [one], "items": False}),
    )


SCHEMAS = st.recursive(LEAVES, _larger, max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, st.text(max_size=20))
def test_a_value_is_made_for_every_schema(schema: dict[str, Any], text: str) -> None:
    check_schema(schema, "p")

    jsonschema.validate(fitting(schema, FACTS, text, "p"), schema)


def test_facts_stand_where_name_and_type_allow_it() -> None:
    names = {
        "language": {"enum": ["English", "German"]},
        "width": {"type": "integer", "maximum": 400},
        "score": {"type": "number"},
        "sure": {"type": "boolean"},
        "colors": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        "kind": {"enum": ["a", "pale gray", "gray"]},
        "caption": {"type": "string", "maxLength": 9},
    }
    found = fitting({"properties": names}, FACTS, "The Pale Gray one", "p")

    assert found == {
        "language": "German",
        "width": 400,
        "score": 0.9,
        "sure": True,
        "colors": ["gray"],
        "kind": "pale gray",
        "caption": "The Pale ",
    }


@pytest.mark.parametrize(
    ("schema", "fact", "value"),
    [
        ({"type": "array", "items": {"type": "string"}}, None, ["text"]),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, ["a", "b"], [1]),
        ({"type": ["null", "string"]}, None, "text"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None, "text"),
        ({"enum": [1, True]}, True, True),
        ({"type": "integer"}, True, 0),
        ({"type": "integer"}, 2.9, 2),
        ({"type": "integer", "exclusiveMaximum": 7}, 7, 6),
        ({"type": "number", "exclusiveMaximum": 7.5}, 7.5, 6.5),
        ({"type": "integer", "multipleOf": 3, "maximum": 10}, 11, 9),
        ({"type": "integer", "multipleOf": 3, "maximum": 9}, 8, 9),
        ({"type": "integer", "multipleOf": 3, "exclusiveMaximum": 9}, 8, 6),
        ({"type": "string", "format": "uuid"}, "x", "00000000-0000-4000-8000-000000000000"),
        ({"type": "string"}, [1, 2], "[1, 2]"),
    ],
)
def test_the_nearest_value_that_is_allowed_is_taken(schema: dict[str, Any], fact: Any, value: Any) -> None:
    found = fitting({"properties": {"name": schema}}, {"name": fact}, "text", "p")["name"]

    assert (found, type(found)) == (value, type(value))


def test_references_are_followed_and_end_where_they_come_back() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/a~1node"}},
            "next": {"anyOf": [{"$ref": "#/$defs/a~1node"}, {"type": "null"}]},
            "whole": {"$ref": "#"},
        },
        "required": ["name", "children", "next"],
    }
    schema = {"$ref": "#/$defs/a~1node", "$defs": {"a/node": node}, "title": "A tree"}

    found = fitting(schema, {"name": "oak"}, "x", "p")

    assert found == {"name": "oak", "children": [], "next": None}
    jsonschema.validate(found, schema)


def _deep(levels: int) -> dict[str, Any]:
    return {"items": _deep(levels - 1), "minItems": 1} if levels else {}


def _wide(levels: int) -> dict[str, Any]:
    inner = {"type": "string"} if not levels else _wide(levels - 1)
    return {"type": "array", "items": inner, "minItems": 15}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[0-9]{5}$"},
        {"type": "string", "pattern": "["},
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 10**12},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "number", "minimum": 1e400},
        {"enum": []},
        {"not": {}},
        {"$ref": "#/$defs/gone"},
        {"$ref": "https://example.com/schema"},
        {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]},
        {"type": "array", "items": {"type": "null"}, "minItems": 2, "uniqueItems": True},
        _wide(6),
    ],
)
def test_what_cannot_be_made_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match=r"This model cannot make a value for 'p': .") as error:
        fitting(schema, {}, "text", "p")

    assert (error.value.status, error.value.param) == (400, "p")


@pytest.mark.parametrize("schema", [{"type": "strange"}, {"properties": []}, {"minLength": -1}, _deep(400)])
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match=r"Invalid schema for 'p': .") as error:
        check_schema(schema, "p")

    assert error.value.code == "invalid_json_schema"
