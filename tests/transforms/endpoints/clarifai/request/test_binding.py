"""Arguments of a job file against a signature: what binds to what, and what is refused before any call."""

from __future__ import annotations

import pickle

import pytest
from bulkinfer.transforms.endpoints.arguments.expressions import named_columns
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method, legacy_method, methods_from_json
from bulkinfer.transforms.errors import MethodError
from bulkinfer.transforms.job.config import StreamConfig
from support.vendor import signature_json

METHODS = methods_from_json(signature_json())
COLUMNS = ("city", "prompts", "second", "n")


def bound(method, arguments, media_type="image", columns=COLUMNS, **options):
    method = METHODS[method] if isinstance(method, str) else method
    return bind(method, arguments, media_type=media_type, columns=columns, **options)


def refused(*args, **options) -> str:
    with pytest.raises(MethodError) as error:
        bound(*args, **options)
    assert type(error.value) is MethodError
    return str(error.value)


def method_of(*inputs: Field) -> Method:
    return Method("m", "UNARY_UNARY", inputs, (Field("return", "STR"),))


@pytest.mark.parametrize(
    ("method", "media_type", "name"),
    [
        ("predict", "image", "image"),
        ("segment", "image", "image"),
        ("track", "video", "video"),
        ("tokens", "text", "prompt"),
        ("stream_audio", "audio", "audio"),
        ("stream_text", "text", "lines"),
        (method_of(Field("images", "LIST", type_args=(Field("i", "IMAGE"),))), "image", "images"),
        (method_of(Field("data", "BYTES", required=True)), "video", "data"),
        (method_of(Field("a", "IMAGE", required=True), Field("b", "IMAGE")), "image", "a"),
        (method_of(Field("p", "STR"), Field("effort", "STR", is_param=True)), "text", "p"),
        (legacy_method("audio"), "audio", "audio"),
    ],
)
def test_without_arguments_the_content_goes_to_the_one_parameter_of_its_type(method, media_type, name):
    binding = bound(method, {}, media_type)

    assert [argument.field.name for argument in binding.arguments] == [name]
    assert binding.needs_content


def test_where_the_content_could_go_to_several_parameters_it_must_be_said():
    method = method_of(Field("a", "IMAGE"), Field("b", "IMAGE"))

    message = refused(method, {})

    assert message.startswith("model.arguments: a, b all could take the source's image")
    assert "write NAME: $content. The signature is m(a: Image = None, b: Image = None) -> str" in message


def test_where_no_parameter_takes_the_content_it_must_be_said():
    assert "model.arguments: no parameter takes the source's audio" in refused("predict", {}, "audio")


def test_a_binding_names_what_it_needs():
    arguments = {
        "image": "$content",
        "prompt": {"template": "What is in {city}? {{literally}} {n:>3}"},
        "max_tokens": "$column.n",
        "factor": 0,
    }
    binding = bound("predict", arguments)

    assert binding.columns == ("city", "n")
    assert binding.reference_columns == ()
    assert binding.needs_content
    assert binding.streaming_argument is None
    assert pickle.loads(pickle.dumps(binding)) == binding
    assert hash(pickle.loads(pickle.dumps(binding))) == hash(binding)


def test_a_column_of_an_image_parameter_is_fetched():
    method = method_of(Field("a", "IMAGE"), Field("b", "IMAGE"), Field("c", "STR"))
    binding = bound(method, {"a": "$uri", "b": "$column.second", "c": "$column.city"})

    assert binding.reference_columns == ("second",)
    assert binding.columns == ("city", "second")
    assert not binding.needs_content


def test_a_list_of_images_takes_several_references():
    method = method_of(Field("images", "LIST", type_args=(Field("i", "IMAGE"),)))
    binding = bound(method, {"images": ["$content", "$column.second", "https://host/a.jpg"]})

    assert binding.reference_columns == ("second",)
    assert binding.needs_content


@pytest.mark.parametrize(
    ("method", "arguments", "said"),
    [
        (
            "predict",
            {"imge": "$content"},
            "model.arguments.imge: predict has no such parameter; did you mean 'image'?",
        ),
        (
            "predict",
            {"image": "$content", "zzz": 1},
            "no such parameter; it has factor, image, max_tokens, prompt.",
        ),
        (
            "predict",
            {"prompt": "x"},
            "model.arguments.image: it is missing, but predict requires it; add image: $con",
        ),
        (
            "scalars",
            {"a": 1},
            "model.arguments.b: it is missing, but scalars requires it; add a value of type float",
        ),
        (
            "predict",
            {"image": "$content", "max_tokens": "256"},
            "model.arguments.max_tokens: text does not fit int: it takes a whole number, not text. "
            "The signature is predict(image: Image, prompt: str = 'hello', max_tokens: int = 256, "
            "factor: float = 0.5) -> str",
        ),
        (
            "predict",
            {"image": "$content", "max_tokens": 2.5},
            "a number does not fit int: it takes a whole number",
        ),
        ("predict", {"image": "$content", "prompt": 5}, "a whole number does not fit str: it takes text"),
        (
            "predict",
            {"image": "photo.jpg"},
            "model.arguments.image: text does not fit Image: it takes bytes, a URL",
        ),
        ("predict", {"image": None}, "model.arguments.image: it is missing"),
        (
            "predict",
            {"image": "$content", "prompt": None},
            "null cannot be sent; leave it out to get the model's d",
        ),
        (
            "predict",
            {"image": "$contents"},
            "it begins with $ but is no reference; did you mean $content? write $content, $uri or $col",
        ),
        ("predict", {"image": "$column.secnd"}, "the source has no column 'secnd'; did you mean 'second'?"),
        ("predict", {"image": "$column.zzzz"}, "has no column 'zzzz'; it has city, n, prompts, second"),
        (
            "predict",
            {"image": "$content", "prompt": {"template": "{town}"}},
            "the source has no column 'town'; it has",
        ),
        ("predict", {"image": "$content", "prompt": {"template": "{"}}, "the template is malformed ("),
        (
            "predict",
            {"image": "$content", "prompt": {"template": "{}"}},
            "the template holds {} without a name",
        ),
        (
            "predict",
            {"image": "$content", "prompt": {"template": "{city!r}"}},
            "the template holds {} without a name",
        ),
        (
            "predict",
            {"image": "$content", "prompt": "$content"},
            "$content is an image, but the parameter is str",
        ),
        (
            "track",
            {"video": "$content"},
            "$content is an image, but the parameter is Video; bind another parameter, or",
        ),
        ("track", {"video": "$uri"}, "$uri passes a reference to an image, but the parameter is Video"),
        (
            "predict",
            {"image": "$content", "factor": "$uri"},
            "$uri passes a reference to an image, but the parameter",
        ),
        (
            "predict",
            {"image": ["$content"]},
            "such a list one of type List[...], but the parameter is Image",
        ),
        (
            "segment",
            {"image": "$content", "regions": ["$column.n"]},
            "such a list one of type List[...], but the parameter is List[Region]",
        ),
        (
            "segment",
            {"image": "$content", "return_type": "masks"},
            "none of the model's choices; write one of box, m",
        ),
        (
            "segment",
            {"image": "$content", "regions": [{"pt": 1}]},
            "list does not fit List[Region]: item 0: a region",
        ),
        (
            "predict",
            {"image": "https://host/a.jpg"},
            "model.arguments: no argument uses the input, so every call would",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(method, arguments, said):
    assert said in refused(method, arguments)


def test_a_refusal_shows_no_value():
    assert "s3cret" not in refused("predict", {"image": "$content", "max_tokens": "s3cret"})
    assert "s3cret" not in refused("predict", {"image": "$content", "prompt": "$s3cret"})


def test_without_columns_the_message_says_so():
    assert "has no column 'x'; it has no columns" in refused("predict", {"image": "$column.x"}, columns=())


def test_text_that_begins_with_a_dollar_is_a_constant_when_it_is_no_name():
    binding = bound("predict", {"image": "$content", "prompt": "$5 for lunch"})

    assert b"$5 for lunch" in binding.plan[2]


def test_a_method_of_another_type_is_refused():
    method = Method("m", "STREAMING_UNARY", (Field("x", "STR", iterator=True),))

    assert "model.method: 'm' is of type STREAMING_UNARY, which no call fits" in refused(method, {}, "text")


def test_a_stream_must_be_bound():
    field = Field("lines", "STR", iterator=True)
    method = Method("m", "STREAMING_STREAMING", (Field("p", "STR", required=True), field))

    assert "model.arguments: m streams, but nothing is bound to lines" in refused(
        method, {"p": "$content"}, "text"
    )


@pytest.mark.parametrize(
    ("method", "media_type", "stream", "said"),
    [
        (
            "tokens",
            "text",
            {"piece_bytes": 5},
            "model.stream.piece_bytes: tokens has no argument that streams",
        ),
        (
            "stream_text",
            "text",
            {"piece_seconds": 5},
            "model.stream.piece_seconds: lines streams str, which is not",
        ),
    ],
)
def test_a_cut_that_cannot_be_is_refused(method, media_type, stream, said):
    name = METHODS[method].inputs[0].name

    assert said in refused(method, {name: "$content"}, media_type, stream=StreamConfig(**stream))


def test_a_single_call_takes_constants_as_they_are():
    binding = bind(METHODS["predict"], {"image": b"bytes", "prompt": "$content"}, media_type=None)

    assert not binding.needs_content
    assert len(binding.plan) == 1


def test_parameters_of_a_model_without_signatures_are_constants():
    method = legacy_method("image")

    assert bound(method, {"image": "$content", "threshold": 0.5}).params
    assert "model.arguments.imge: a model without signatures takes it once a call" in refused(
        method, {"image": "$content", "imge": "$content"}
    )
    assert "model.arguments.x: a bytes is no JSON value" in refused(method, {"image": "$content", "x": b""})


def test_the_columns_that_arguments_name_are_known_before_the_method_is():
    arguments = {
        "a": "$column.city",
        "b": {"template": "{n:>3} {{x}}"},
        "c": ["$column.second", 5],
        "d": {"template": "{"},
        "e": "$content",
    }

    assert named_columns(arguments) == {"city", "n", "second"}
