"""The vendor's own classes as the judge of our bytes: its signatures, its serializers, its server.

No `from __future__ import annotations` here: the vendor reads the annotations and does not understand text.
"""

import builtins
import copyreg
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from clarifai.runners.models.model_class import ModelClass
from clarifai.runners.utils.data_types import (
    JSON,
    Audio,
    Concept,
    Frame,
    Image,
    NamedFields,
    Region,
    Text,
    Video,
)
from clarifai.runners.utils.data_utils import Param
from clarifai.runners.utils.method_signatures import signatures_to_json

__all__ = ["EchoModel", "signature_json", "signatures"]

# The vendor's `clarifai_protocol` is compiled by Nuitka, which gives `builtins` a class of its own. Beam's pickler does
# not know it for a module, and could pickle no lambda in this process any more.
copyreg.pickle(type(builtins), lambda module: (importlib.import_module, (module.__name__,)))


class EchoModel(ModelClass):
    """Methods of every type, most of which answer what they were given."""

    @ModelClass.method
    def predict(self, image: Image, prompt: str = "hello", max_tokens: int = 256, factor: float = 0.5) -> str:
        return f"{len(image.bytes)}|{image.url}|{prompt}|{max_tokens}|{factor}"

    @ModelClass.method
    def scalars(self, a: int, b: float, c: bool, d: bytes, e: str) -> tuple[int, float, bool, bytes, str]:
        return a, b, c, d, e

    @ModelClass.method
    def optional_float_first(self, factor: float = 0.5, n: int = 1) -> float:
        return factor

    @ModelClass.method
    def optional_list_first(self, names: list[str] = ["a", "b"], n: int = 1) -> int:  # noqa: B006
        return len(names)

    @ModelClass.method
    def json_value(self, value: JSON) -> JSON:
        return value

    @ModelClass.method
    def plain_dict(self, value: dict, others: list[dict] = None) -> list[dict]:  # noqa: RUF013
        return [value, *(others or [])]

    @ModelClass.method
    def named(self, point: NamedFields(x=int, y=str)) -> NamedFields(x=int, y=str):
        return point

    @ModelClass.method
    def array(self, values: np.ndarray) -> np.ndarray:
        return values

    @ModelClass.method
    def segment(
        self,
        image: Image,
        regions: list[Region] = None,  # noqa: RUF013
        dict_inputs: dict = None,  # noqa: RUF013
        multimask_output: bool = False,
        return_type: str = Param(default="all", choices=["box", "mask", "all"]),
    ) -> list[Region]:
        return regions or []

    @ModelClass.method
    def texts(self, value: Text, concepts: list[Concept], images: list[Image]) -> list[Concept]:
        return concepts

    @ModelClass.method
    def track(self, video: Video, frames: list[Frame] = None) -> Iterator[Frame]:  # noqa: RUF013
        yield from frames or []

    @ModelClass.method
    def tokens(self, prompt: str, n: int = 2) -> Iterator[str]:
        yield from [prompt] * n

    @ModelClass.method
    def stream_text(self, lines: Iterator[str], suffix: str = "!") -> Iterator[str]:
        for line in lines:
            yield line + suffix

    @ModelClass.method
    def stream_audio(self, audio: Iterator[Audio], language: str = "en") -> Iterator[str]:
        for piece in audio:
            yield f"{language}:{len(piece.bytes)}"


def signatures() -> dict[str, Any]:
    """The vendor's `MethodSignature` messages of `EchoModel`, by name."""
    return {name: info.signature for name, info in EchoModel._get_method_infos().items()}


def signature_json() -> str:
    """What the vendor's server answers to `_GET_SIGNATURES`."""
    return signatures_to_json(signatures())
