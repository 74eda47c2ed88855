"""What a callable is given, and what becomes of what it gives back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.calls.endpoint import Fault, Verdict
from bulkinfer.transforms.endpoints.python.model import Done, Model
from bulkinfer.transforms.errors import EncodeError, EndpointError, MethodError
from bulkinfer.transforms.records import Content, Reference
from modules import prepare
from PIL import Image
from support.calls import texts


def called(folder: Path, text: str, contents: list[Content], **keys: Any) -> Done:
    """One call of a callable for these contents."""
    endpoint: Any = prepare(folder, text, **keys).endpoint
    encode = endpoint.encoder()
    return Model(endpoint.spec).call([encode(content).values for content in contents])


def texts_of(done: Done) -> list[Any]:
    assert done.fault is None, done.fault
    return [
        one if isinstance(one, Fault) else "".join(str(piece.texts["text"]) for piece in one)
        for one in done.answers
    ]


def picture(color: tuple[int, int, int] = (255, 0, 0), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), color).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def image(data: bytes, name: str = "a", **columns: Any) -> Content:
    return Content(Reference(name, f"file:///{name}.png", "image", columns=columns), data)


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        ("", "bytes"),
        (": list[bytes]", "bytes"),
        (": list[np.ndarray]", "ndarray"),
        (": 'Sequence[NDArray[np.uint8]]'", "ndarray"),
        (": list[numpy.typing.NDArray[np.uint8]]", "ndarray"),
        (": list[PIL.Image.Image]", "Image"),
        (": 'list[Image.Image]'", "Image"),
        (": list['Image.Image']", "Image"),
        (": list", "bytes"),
    ],
)
def test_a_picture_comes_as_its_parameter_asks(tmp_path: Path, annotation: str, given: str) -> None:
    text = f"""
        import numpy, numpy.typing, numpy as np
        import PIL.Image
        def f(image{annotation}):
            return [type(one).__name__ + str(getattr(one, "shape", "")) for one in image]
        """
    for mode in ("RGB", "L", "P", "RGBA"):
        done = called(tmp_path, text, [image(picture(mode=mode))], media="image")
        assert texts_of(done) == [given + ("(2, 3, 3)" if given == "ndarray" else "")]


def test_a_picture_that_cannot_be_decoded_is_alone_with_it(tmp_path: Path) -> None:
    text = """
        import numpy as np
        def f(image: list[np.ndarray]):
            return [str(len(image)) for one in image]
        """
    bad = image(picture()[:40])
    first, second, third = texts_of(
        called(tmp_path, text, [image(picture()), bad, image(picture())], media="image")
    )

    assert (first, third) == ("2", "2")
    assert (second.verdict, second.error_type) == (Verdict.BAD_INPUT, "picture")
    assert second.message.startswith("the picture cannot be decoded: ")
    (alone,) = called(tmp_path, text, [bad], media="image").answers  # the callable is not called for nothing
    assert isinstance(alone, Fault)


def test_texts_come_as_texts_or_as_bytes(tmp_path: Path) -> None:
    told = "return [type(one).__name__ for one in text]"
    fetched = Content(Reference("b", "file:///b", "text"), "grün".encode())
    for annotation, given in (("", "str"), (": list[str]", "str"), (": list[bytes]", "bytes")):
        done = called(tmp_path, f"def f(text{annotation}):\n    {told}\n", [*texts(["a"]), fetched])
        assert texts_of(done) == [given, given]
    broken = Content(Reference("b", "file:///b", "text"), b"\xff")
    (fault,) = texts_of(called(tmp_path, f"def f(text):\n    {told}\n", [broken]))
    assert fault.error_type == "not_text"
    assert "byte 0 is the first that is wrong" in fault.message


def test_values_of_a_row_come_as_lists_and_constants_as_they_stand(tmp_path: Path) -> None:
    text = """
        def f(image, uri, city, prompt, box, options, vector: "list[np.ndarray]", scale=1.0):
            assert (options, scale) == ({"a": [1, 2]}, 0.5)
            rows = zip(image, uri, city, prompt, box, vector, strict=True)
            return [f"{a} {b} {c} {d} {e} {type(v).__name__}" for a, b, c, d, e, v in rows]
        """
    arguments = {
        "image": "$content",
        "uri": "$uri",
        "city": "$column.city",
        "prompt": {"template": "in {city}?"},
        "box": {"corners": ["$column.left", 9], "where": {"template": "{city}!"}},
        "options": {"a": [1, 2]},
        "vector": "$column.vector",
        "scale": 0.5,
    }
    columns = {"city": "Bern", "left": 3, "vector": [0.5, 1.0]}
    done = called(
        tmp_path, text, [image(b"x", **columns)], media="image", arguments=arguments, columns=tuple(columns)
    )

    assert texts_of(done) == [
        "b'x' file:///a.png Bern in Bern? {'corners': [3, 9], 'where': 'Bern!'} ndarray"
    ]


def test_a_column_of_references_is_fetched_where_a_picture_is_asked_for(tmp_path: Path) -> None:
    text = """
        import PIL.Image
        def f(image, other: list[PIL.Image.Image]):
            return [str(one.size) for one in other]
        """
    keys: dict[str, Any] = {"arguments": {"image": "$content", "other": "$column.mate"}, "columns": ("mate",)}
    assert prepare(tmp_path, text, media="image", **keys).endpoint.needs.columns == ("mate",)
    content = Content(
        Reference("a", None, "image", columns={"mate": "file:///m.png"}), b"x", columns={"mate": picture()}
    )
    assert texts_of(called(tmp_path, text, [content], media="image", **keys)) == ["(3, 2)"]


def test_an_input_that_lacks_a_value_is_not_sent(tmp_path: Path) -> None:
    text = "def f(text, prompt):\n    return text\n"
    keys: dict[str, Any] = {
        "arguments": {"text": "$content", "prompt": {"template": "{city}"}},
        "columns": ("city",),
    }
    encode = prepare(tmp_path, text, **keys).endpoint.encoder()
    with pytest.raises(EncodeError, match="column 'city' is null"):
        encode(texts(["a"])[0])
    with pytest.raises(EncodeError, match="the input has no content"):
        encode(Content(Reference("a", None, "text"), None))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("$contents", "model.arguments.text: it begins with $ but is no reference"),
        ("$column.nowhere", "model.arguments.text: the source has no column 'nowhere'; it has city"),
        ({"template": "{nowhere}"}, "model.arguments.text: the source has no column 'nowhere'"),
        ({"template": "{"}, "model.arguments.text: the template is malformed"),
        ({"template": "{}"}, "model.arguments.text: the template holds {} without a name, a conversion"),
    ],
)
def test_arguments_that_lead_nowhere_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(MethodError) as caught:
        prepare(tmp_path, "def f(text):\n    return text\n", arguments={"text": value}, columns=("city",))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "answered a value of type NoneType for 2 inputs; return a list with one answer each"),
        ("return 'ab'", "answered a value of type str for 2 inputs"),
        ("return {1: 2, 3: 4}", "answered a dict with the keys 1, 3 for 2 inputs"),
        ("return {'a', 'b'}", "answered a value of type set for 2 inputs"),
        ("return ['a']", "answered 1 answers for 2 inputs"),
        ("return []", "answered 0 answers for 2 inputs"),
        ("return iter(int, 1)", "answered more than 2 answers for 2 inputs"),
    ],
)
def test_answers_of_another_number_are_paired_with_no_input(tmp_path: Path, body: str, message: str) -> None:
    fault = called(tmp_path, f"def f(text):\n    {body}\n", texts("ab")).fault

    assert fault is not None
    assert (fault.verdict, fault.error_type) == (Verdict.MISMATCH, "output_count")
    assert message in fault.message


def test_answers_may_be_any_sequence(tmp_path: Path) -> None:
    for body in (
        "tuple(text)",
        "(one for one in text)",
        "map(str.lower, text)",
        "__import__('numpy').array(text)",
    ):
        assert texts_of(called(tmp_path, f"def f(text):\n    return {body}\n", texts("ab"))) == ["a", "b"]


@pytest.mark.parametrize(
    ("raised", "verdict", "error_type"),
    [
        ("ValueError('bad')", Verdict.SPLIT, "value_error"),
        ("SystemExit(1)", Verdict.SPLIT, "system_exit"),
        ("MemoryError()", Verdict.TOO_LARGE, "too_large"),
        ("type('OutOfMemoryError', (RuntimeError,), {})()", Verdict.TOO_LARGE, "too_large"),
        ("BrokenPipeError()", Verdict.TRANSPORT, "broken_pipe_error"),
        ("TimeoutError()", Verdict.TRANSPORT, "timeout_error"),
        (
            "type('Busy', (Exception,), {'verdict': 'throttled', 'retry_after': 2})()",
            Verdict.THROTTLED,
            "busy",
        ),
        ("type('Lost', (Exception,), {'verdict': 'credentials'})()", Verdict.CREDENTIALS, "lost"),
        ("type('Odd', (Exception,), {'verdict': 'deadline'})()", Verdict.SPLIT, "odd"),
    ],
)
def test_what_is_raised_says_what_is_done(
    tmp_path: Path, raised: str, verdict: Verdict, error_type: str
) -> None:
    whole = called(tmp_path, f"def f(text):\n    raise {raised}\n", texts("ab"))
    assert whole.fault is not None
    assert (whole.fault.verdict, whole.fault.error_type) == (verdict, error_type)
    assert whole.fault.retry_after_s == (2 if error_type == "busy" else None)
    good, own = called(tmp_path, f"def f(text):\n    return ['fine', {raised}]\n", texts("ab")).answers
    assert not isinstance(good, Fault)
    assert isinstance(own, Fault)
    assert own.verdict is (Verdict.BAD_INPUT if verdict is Verdict.SPLIT else verdict)
    assert own.retry_after_s == whole.fault.retry_after_s


def test_a_fault_says_what_was_raised_and_where_and_no_more_than_that(tmp_path: Path) -> None:
    text = """
        def deep(text):
            raise ValueError("one\\n\\n" + 700 * "x")
        def f(text):
            deep(text)
        """
    fault = called(tmp_path, text, texts("a")).fault
    assert fault is not None
    start = "the callable raised ValueError: one xxx"
    assert fault.message.startswith(start)
    assert ":3 in deep)" in fault.message
    assert len(fault.message) < 620


def test_an_answer_that_is_none_is_its_inputs_own_fault(tmp_path: Path) -> None:
    text = """
        class Bad:
            @property
            def __array__(self):
                raise RuntimeError("on another device")
        def f(text):
            return [object(), "fine", Bad()]
        """
    first, second, third = texts_of(called(tmp_path, text, texts("abc")))

    assert second == "fine"
    for fault, words in ((first, "is no answer"), (third, "cannot be read: RuntimeError: on another device")):
        assert (fault.verdict, fault.error_type) == (Verdict.MISMATCH, "answer_type")
        assert words in fault.message


def test_a_stream_that_breaks_tells_whether_it_had_begun(tmp_path: Path) -> None:
    text = """
        def f(text):
            if text == "never":
                raise ValueError
            yield "one"
            if text == "late":
                raise ValueError
            yield object() if text == "odd" else "two"
        """
    assert texts_of(called(tmp_path, text, texts(["fine"]))) == ["onetwo"]
    for name, partial in (("never", False), ("late", True)):
        done = called(tmp_path, text, texts([name]))
        assert (done.fault is not None, done.partial) == (True, partial)
    (odd,) = texts_of(called(tmp_path, text, texts(["odd"])))
    assert odd.error_type == "answer_type"


def test_a_stream_that_a_factory_makes_is_one_too(tmp_path: Path) -> None:
    text = """
        def f():
            def stream(text):
                if text == "bad":
                    raise ValueError
                yield text
                yield "."
            return stream
        """
    good, bad = texts_of(called(tmp_path, text, texts(["a", "bad"]), arguments={"text": "$content"}))
    assert good == "a."
    assert bad.verdict is Verdict.BAD_INPUT


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (
            "class f:\n    def __init__(self, a=1): self.a = a\n    def __call__(self, text): return text",
            {"setup": {"a": 2}},
        ),
        ("class f:\n    def run(self, text): return text", {"method": "run"}),
        ("def f():\n    return lambda text: text", {"arguments": {"text": "$content"}}),
        ("def f(a):\n    return lambda text: text", {"setup": {"a": 1}, "arguments": {"text": "$content"}}),
        (
            "import functools\nf = functools.partial(lambda text, a: text, a=1)",
            {"arguments": {"text": "$content"}},
        ),
        ("class C:\n    def __call__(self, text): return text\nf = C()", {}),
        ("class C:\n    def run(self, text): return text\nf = C()", {"method": "run"}),
    ],
    ids=["class", "method", "factory", "factory with arguments", "partial", "object", "method of an object"],
)
def test_classes_functions_factories_and_objects_are_called(
    tmp_path: Path, text: str, keys: dict[str, Any]
) -> None:
    assert texts_of(called(tmp_path, text, texts("ab"), **keys)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "class f:\n    def __init__(self): open('/no/weights')\n    def __call__(self, text): pass",
            "cannot be made: it raised FileNotFoundError: .*weights.* in __init__",
        ),
        (
            "class f:\n    def __init__(self): raise SystemExit(4)\n    def __call__(self, text): pass",
            "cannot be made: it raised SystemExit: 4",
        ),
        ("def f():\n    return 3", "is of type int, which has no method __call__"),
        ("def f():\n    async def g(text): return text\n    return g", "is an async function"),
    ],
)
def test_what_cannot_be_made_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    endpoint: Any = prepare(tmp_path, text, arguments={"text": "$content"}).endpoint
    with pytest.raises((EndpointError, MethodError), match=message) as caught:
        Model(endpoint.spec)
    assert "\n" not in str(caught.value)


def test_a_worker_with_another_version_of_the_module_calls_nothing(tmp_path: Path) -> None:
    import dataclasses

    endpoint: Any = prepare(tmp_path, "def f(text):\n    return text\n").endpoint
    spec = dataclasses.replace(endpoint.spec, version="0123")
    with pytest.raises(
        EndpointError, match=r"is version .* in the worker on .*, but 0123 where the job was started"
    ):
        Model(spec)


def test_arrays_of_a_batch_are_pictures_of_their_own(tmp_path: Path) -> None:
    text = """
        import numpy as np
        def f(image: list[np.ndarray]):
            for one in image:
                one[:] = 0
            return [int(one.sum()) for one in image]
        """
    done = called(tmp_path, text, [image(picture()), image(picture())], media="image")
    assert done.fault is None, done.fault  # they may be written to
    assert np.all([not isinstance(one, Fault) for one in done.answers])
