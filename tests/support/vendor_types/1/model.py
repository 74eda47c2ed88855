"""Values of every type in and out, one method each, and methods of the kinds that users' models have.

No `from __future__ import annotations`: the vendor reads the annotations and does not understand text.
"""

import json
from collections.abc import Iterator

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


class AllValues(ModelClass):
    """One method a type; most answer what they were given."""

    def load_model(self):
        """Nothing to load."""

    @ModelClass.method
    def a_str(self, value: str) -> str:
        return value

    @ModelClass.method
    def a_text(self, value: Text) -> Text:
        return Text(value.text)

    @ModelClass.method
    def an_int(self, value: int) -> int:
        return value

    @ModelClass.method
    def a_float(self, value: float) -> float:
        return value

    @ModelClass.method
    def a_bool(self, value: bool) -> bool:
        return value

    @ModelClass.method
    def some_bytes(self, value: bytes) -> bytes:
        return value

    @ModelClass.method
    def a_dict(self, value: dict) -> dict:
        return value

    @ModelClass.method
    def a_json(self, value: JSON) -> JSON:
        return value

    @ModelClass.method
    def an_array(self, value: np.ndarray) -> np.ndarray:
        return value

    @ModelClass.method
    def an_image(self, value: Image) -> Image:
        return Image(bytes=value.bytes)

    @ModelClass.method
    def an_audio(self, value: Audio) -> Audio:
        return Audio(bytes=value.bytes)

    @ModelClass.method
    def a_video(self, value: Video) -> Video:
        return Video(bytes=value.bytes)

    @ModelClass.method
    def a_concept(self, value: Concept) -> Concept:
        return value

    @ModelClass.method
    def some_concepts(self, value: list[Concept]) -> list[Concept]:
        return value

    @ModelClass.method
    def a_region(self, value: Region) -> Region:
        return value

    @ModelClass.method
    def some_regions(self, value: list[Region]) -> list[Region]:
        return value

    @ModelClass.method
    def a_frame(self, value: Frame) -> Frame:
        return value

    @ModelClass.method
    def some_frames(self, value: list[Frame]) -> list[Frame]:
        return value

    @ModelClass.method
    def some_numbers(self, value: list[int]) -> list[int]:
        return value

    @ModelClass.method
    def some_words(self, value: list[str]) -> list[str]:
        return value

    @ModelClass.method
    def some_dicts(self, value: list[dict]) -> list[dict]:
        return value

    @ModelClass.method
    def a_tuple(self, value: tuple[int, str, float]) -> tuple[int, str, float]:
        return value

    @ModelClass.method
    def named_fields(self, value: NamedFields(x=int, y=str)) -> NamedFields(x=int, y=str):
        return value

    @ModelClass.method
    def sizes(self, images: list[Image], note: str = "") -> list[int]:
        """Bytes of each picture."""
        return [len(image.bytes) for image in images]

    @ModelClass.method
    def settings(
        self,
        text: str,
        count: int = 5,
        factor: float = 0.5,
        flag: bool = True,
        word: str = "w",
        names: list[str] = ["a"],  # noqa: B006
        temperature: float = Param(default=0.7, min_value=0.0, max_value=2.0),
    ) -> dict:
        """What arrived."""
        return {
            "text": text,
            "count": count,
            "factor": factor,
            "flag": flag,
            "word": word,
            "names": names,
            "temperature": round(temperature, 4),
        }

    @ModelClass.method
    def compare(self, image: Image, other: Image, link: Image, prompt: str) -> str:
        """Several kinds of input in one call."""
        return f"{len(image.bytes)} {len(other.bytes)} {link.url} {prompt}"

    @ModelClass.method
    def chat(self, prompt: str, tools: list[dict] = None, tool_choice: str = "none") -> str:  # noqa: RUF013
        """An OpenAI-style message: with tools, a call of the first one."""
        if not tools or tool_choice == "none":
            return f"said {prompt}"
        call = {"id": "c1", "type": "function", "function": {"name": tools[0]["function"]["name"]}}
        call["function"]["arguments"] = json.dumps({"city": prompt})
        return json.dumps({"role": "assistant", "content": None, "tool_calls": [call]})

    @ModelClass.method
    def stream_chat(self, prompt: str, tools: list[dict] = None) -> Iterator[str]:  # noqa: RUF013
        """The same in chunks, whose deltas add up to one call."""
        for function in (
            {"name": tools[0]["function"]["name"], "arguments": ""},
            {"arguments": '{"city": '},
            {"arguments": json.dumps(prompt) + "}"},
        ):
            delta = {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]}
            yield json.dumps({"object": "chat.completion.chunk", "choices": [{"delta": delta}]})

    @ModelClass.method
    def describe(self, image: Image, prompt: str = "") -> Iterator[str]:
        """A stream of text about a picture."""
        self.set_output_context(prompt_tokens=7, completion_tokens=3)
        yield from ("a ", f"picture of {len(image.bytes)} bytes", f" {prompt}")

    @ModelClass.method
    def transcribe(self, audio: Iterator[Audio], language: str = "en") -> Iterator[str]:
        """A text that grows with each piece of a recording."""
        for piece in audio:
            yield f"[{language} {len(piece.bytes)}]"

    @ModelClass.method
    def lines(self, text: Iterator[str], mark: str = ".") -> Iterator[str]:
        """Each line with a mark."""
        for line in text:
            yield line.upper() + mark
