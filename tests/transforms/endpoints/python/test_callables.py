"""Finding the callable of a job, and what is said where there is none."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.endpoints.python.callables import CalleeSpec, find
from bulkinfer.transforms.errors import MethodError, ModelNotFoundError
from modules import prepare, write

SIMPLE = """
    def f(text: list[str]) -> list[str]:
        return text
    """
CLASS = """
    class Model:
        def __init__(self, weights, size=3):
            self.size = size
        def embed(self, text, scale: float = 1.0):
            return text
        @staticmethod
        def plain(text):
            return text
    """


def message(kind: type[Exception], folder: Path, text: str, name: str = "f", **keys: Any) -> str:
    with pytest.raises(kind) as caught:
        prepare(folder, text, name, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_module_that_is_nowhere_names_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/srv/models")
    for name, missing in (("nowhere_at_all:f", "nowhere_at_all"), ("json.nowhere:f", "json.nowhere")):
        with pytest.raises(ModelNotFoundError) as caught:
            find(CalleeSpec(name, folder=str(tmp_path)))
        told = str(caught.value)
        assert told.startswith(
            f"model.callable: there is no module {missing!r}, neither in {tmp_path} (model.folder, "
        )
        assert "nor on PYTHONPATH (/srv/models) nor installed; set model.folder or PYTHONPATH" in told


def test_a_module_that_fails_says_where(tmp_path: Path) -> None:
    told = message(ModelNotFoundError, tmp_path, "import os\n1 / 0\n")
    assert "cannot be imported: ZeroDivisionError: division by zero (module_" in told
    assert ".py:2 in <module>)" in told
    assert "No module named 'absent_library'" in message(
        ModelNotFoundError, tmp_path, "import absent_library\n"
    )
    assert "SyntaxError" in message(ModelNotFoundError, tmp_path, "def f(:\n")
    assert "SystemExit: 3" in message(ModelNotFoundError, tmp_path, "import sys\nsys.exit(3)\n")


def test_a_name_that_is_not_there_is_compared_with_those_that_are(tmp_path: Path) -> None:
    told = message(ModelNotFoundError, tmp_path, CLASS, "Modl")
    assert "has no 'Modl'; did you mean 'Model'?" in told
    assert "has no 'xyz'; it has f" in message(ModelNotFoundError, tmp_path, SIMPLE, "xyz")


def test_what_cannot_be_called_is_refused(tmp_path: Path) -> None:
    assert "is of type int, which is not callable" in message(MethodError, tmp_path, "f = 3\n")
    told = message(MethodError, tmp_path, CLASS, "Model", setup={"weights": "w"})
    assert "has no method '__call__'; name one of its methods in model.method: embed, plain" in told
    told = message(MethodError, tmp_path, CLASS, "Model", setup={"weights": "w"}, method="embd")
    assert "has no method 'embd'" in told
    told = message(MethodError, tmp_path, "f = 3\n", method="embed")
    assert "is of type int, which has no method 'embed'; did you mean" in told or "it has" in told
    assert "is an async function; write a plain one" in message(
        MethodError, tmp_path, "async def f(text):\n    return text\n"
    )


def test_arguments_are_checked_against_the_signature(tmp_path: Path) -> None:
    told = message(MethodError, tmp_path, CLASS, "Model", method="embed")
    assert "model.setup: missing a required argument: 'weights', where" in told
    assert "Model(weights, size=3) is made with no arguments" in told
    told = message(MethodError, tmp_path, CLASS, "Model", setup={"weight": 1}, method="embed")
    assert "is made with weight" in told
    told = message(MethodError, tmp_path, SIMPLE, arguments={"txt": "$content"})
    assert "missing a required argument: 'text'. The callable is f(text: list[str]) -> list[str]" in told
    told = message(MethodError, tmp_path, SIMPLE, arguments={"text": "$content", "more": 1})
    assert "got an unexpected keyword argument 'more'" in told
    assert "nothing in it comes from the input" in message(
        MethodError, tmp_path, SIMPLE, arguments={"text": "a"}
    )
    told = message(MethodError, tmp_path, "def f(a, b):\n    pass\n")
    assert "it is not clear where the content goes; write NAME: $content. The callable is f(a, b)" in told


def test_the_content_goes_to_the_one_parameter_that_needs_a_value(tmp_path: Path) -> None:
    for text, name in (
        (SIMPLE, "text"),
        ("def f(a, b=1):\n    pass\n", "a"),
        ("def f(*, a=None):\n    pass\n", "a"),
    ):
        endpoint: Any = prepare(tmp_path, text).endpoint
        assert endpoint.arguments.contents == (name,)


@pytest.mark.parametrize(
    ("text", "keys", "signature"),
    [
        (SIMPLE, {}, "f(text: list[str]) -> list[str]"),
        ("from __future__ import annotations\ndef f(text: list[str]):\n    pass\n", {}, "f(text: list[str])"),
        (
            CLASS.replace("Model", "f"),
            {"setup": {"weights": 1}, "method": "embed"},
            "f.embed(text, scale: float = 1.0)",
        ),
        (CLASS.replace("Model", "f"), {"setup": {"weights": 1}, "method": "plain"}, "f.plain(text)"),
        ("def f():\n    return str.upper\n", {"arguments": {"text": "$content"}}, "f(...)"),
        (
            "def f(size):\n    return str.upper\n",
            {"arguments": {"text": "$content"}, "setup": {"size": 1}},
            "f(...)",
        ),
    ],
    ids=["function", "postponed", "method", "static", "factory", "factory with arguments"],
)
def test_a_person_reads_the_signature(
    tmp_path: Path, text: str, keys: dict[str, Any], signature: str
) -> None:
    assert prepare(tmp_path, text, **keys).endpoint.signature == signature


def test_the_version_is_told_or_taken_from_the_file(tmp_path: Path) -> None:
    name = write(tmp_path, SIMPLE)
    text = (tmp_path / f"{name}.py").read_bytes()
    found = find(CalleeSpec(f"{name}:f", folder=str(tmp_path)))
    assert found.version == hashlib.sha256(text).hexdigest()[:12]

    (tmp_path / f"{name}.py").write_text("def f(text): return []\n")
    assert find(CalleeSpec(f"{name}:f", folder=str(tmp_path))).version == found.version  # of what is loaded
    told = write(tmp_path, "class Model:\n    version = 7\n    def __call__(self, text): pass\n")
    assert find(CalleeSpec(f"{told}:Model", folder=str(tmp_path))).version == "7"


def test_a_module_of_the_job_stands_before_others_and_its_folder_behind_them(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("def f(text):\n    return text\n")  # as one of the standard library
    (tmp_path / "unused_so_far.py").write_text("")
    before = list(sys.path)
    sys.modules.pop("colorsys", None)
    try:
        found = find(CalleeSpec("colorsys:f", folder=str(tmp_path)))
        assert found.target.__module__ == "colorsys"
        assert sys.path == [*before, str(tmp_path)]
    finally:
        sys.modules.pop("colorsys", None)
        sys.path[:] = before


def test_what_a_name_leads_through_may_be_dotted(tmp_path: Path) -> None:
    name = write(tmp_path, "class Box:\n    @classmethod\n    def f(cls, text): return text\n")
    assert str(find(CalleeSpec(f"{name}:Box.f", folder=str(tmp_path))).signature) == "(text)"


def test_generators_are_streams(tmp_path: Path) -> None:
    text = """
        def f(text):
            yield text
        class Model:
            def __call__(self, text):
                yield text
        obj = Model()
        """
    for name in ("f", "Model", "obj"):
        assert prepare(tmp_path, text, name).endpoint.limits.inputs == 1
    assert prepare(tmp_path, SIMPLE).endpoint.limits.inputs is None
