"""Our client calls every method of a model that the vendor's own local server serves, and is answered."""

from __future__ import annotations

import base64
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from bulkinfer.transforms.endpoints.clarifai.addresses import ModelAddress, parse_endpoint
from bulkinfer.transforms.endpoints.clarifai.answer.answers import output_value
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.errors import CallError
from bulkinfer.transforms.records import Content, Reference
from bulkinfer.transforms.rows.masks import encode_mask
from support.paths import PHOTOS
from support.vendor_server import vendor_server

COINS = (PHOTOS / "coins.jpg").read_bytes()


@pytest.fixture(scope="module", name="endpoint")
def endpoint_fixture() -> Iterator[str]:
    with vendor_server() as address:
        yield address


@pytest.fixture(name="client")
def client_fixture(endpoint: str) -> Iterator[ModelClient]:
    with ModelClient(parse_endpoint(endpoint), ModelAddress("tester", "tests", "every-type", None)) as client:
        yield client


def _input(media: str, data: bytes = b"", **columns: Any) -> Content:
    return Content(Reference("one", None, media, columns=columns), data)


def _call(client: ModelClient, name: str, arguments: dict[str, Any], content: Content) -> list[Any]:
    method, reference = client.methods()[name], content.reference
    binding = bind(method, arguments, media_type=reference.media_type, columns=tuple(reference.columns))
    return [output_value(output, method) for output in client.call_one(binding, content)]


@pytest.mark.parametrize(
    ("method", "arguments", "content", "answers"),
    [
        ("predict", {"image": "$content", "prompt": "hi"}, _input("image", COINS), [f"{len(COINS)}:hi:8"]),
        ("predict", {"image": "$content", "size": 0}, _input("image", COINS), [f"{len(COINS)}::0"]),
        (
            "scalars",
            {"a": 0, "b": "$column.b", "c": True, "d": "$column.d"},
            _input("text", b=2.5, d=b"xy"),
            [[0, 2.5, True, {"base64": base64.b64encode(b"xy").decode()}]],
        ),
        (
            "structure",
            {"value": {"k": [1, 2]}, "words": "$column.w"},
            _input("text", w=["a", "b"]),
            [{"k": [1, 2], "words": ["a", "b"]}],
        ),
        ("named", {"point": "$column.p"}, _input("text", p={"x": 3, "y": "z"}), [{"x": 3, "y": "z"}]),
        (
            "double",
            {"values": "$column.v"},
            _input("text", v=[1.0, 2.5]),
            [{"dtype": "float64", "shape": [2], "data": [2.0, 5.0]}],
        ),
        ("failing", {}, _input("text", b"good"), ["GOOD"]),
        ("spell", {"text": "$content", "times": 2}, _input("text", b"ab"), ["a", "b", "a", "b"]),
        ("shout", {"lines": "$column.l", "suffix": "?"}, _input("text", l=["a", "b"]), ["A?", "B?"]),
        ("shout", {"lines": "$content"}, _input("text", b"x\ny\n"), ["X!", "Y!"]),
        ("lengths", {"audio": "$content"}, _input("audio", b"0123456789"), [10]),
    ],
)
def test_values_go_there_and_back(
    client: ModelClient, method: str, arguments: dict[str, Any], content: Content, answers: list[Any]
) -> None:
    assert _call(client, method, arguments, content) == answers


def test_regions_come_with_masks_for_each_prompt(client: ModelClient) -> None:
    prompts = [
        {"point": [0.1, 0.2, 0.0], "concepts": [{"name": "1", "value": 1}]},
        {"box": [0.0, 0.0, 0.5, 0.5]},
    ]
    arguments = {"image": "$content", "regions": "$column.prompts"}
    (regions,) = _call(client, "segment", arguments, _input("image", COINS, prompts=prompts))

    assert [region["box"] for region in regions] == [[0.0, 0.0, 0.5, 1.0]] * 2
    mask = encode_mask(base64.b64decode(regions[0]["mask"]["base64"]))
    assert mask.area == 192 * 303


def test_concepts_keep_name_and_value(client: ModelClient) -> None:
    ((concept,),) = _call(client, "classify", {}, _input("text", b"a" * 75))

    assert (concept["name"], concept["value"]) == ("long", pytest.approx(0.75))


def test_a_video_gives_a_frame_for_each_of_its_frames(client: ModelClient) -> None:
    prompt = [{"index": 0, "regions": [{"box": [0.0, 0.0, 0.5, 0.5], "track_id": "ball"}]}]
    arguments = {"video": "$content", "frames": "$column.frames"}
    frames = _call(client, "track", arguments, _input("video", b"any bytes", frames=prompt))

    assert [(frame["index"], frame["time_ms"]) for frame in frames] == [(0, 0), (1, 100), (2, 200)]
    assert {region["track_id"] for frame in frames for region in frame["regions"]} == {"ball"}


def test_tokens_are_told(client: ModelClient) -> None:
    method = client.methods()["counted"]
    (output,) = client.call_one(bind(method, {}, media_type="text"), _input("text", b"three small words"))

    assert (output.prompt_tokens, output.completion_tokens) == (3, 1)


def test_a_failing_input_is_its_own_error(client: ModelClient) -> None:
    with pytest.raises(CallError, match=r"the model answered FAILURE \(10020\): this text is bad"):
        _call(client, "failing", {}, _input("text", b"bad"))


def test_every_method_of_the_model_is_called_here(client: ModelClient) -> None:
    source = pathlib.Path(__file__).read_text(encoding="utf-8")

    assert [name for name in client.methods() if f'"{name}"' not in source] == []
