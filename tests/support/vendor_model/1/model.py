"""Methods of every kind and type; most answer what they were given, so that a caller can check both ways.

No `from __future__ import annotations`: the vendor reads the annotations and does not understand text.
"""

from collections.abc import Iterator

import numpy as np
from clarifai.runners.models.model_class import ModelClass
from clarifai.runners.utils.data_types import Audio, Concept, Frame, Image, NamedFields, Region, Text, Video
from clarifai.runners.utils.data_utils import Param


class EveryType(ModelClass):
    """One method a type or kind."""

    def load_model(self):
        self.calls = 0

    @ModelClass.method
    def predict(self, image: Image, prompt: str = "", size: int = Param(default=8, min_value=1)) -> str:
        """Describe a picture by its bytes."""
        return f"{len(image.bytes)}:{prompt}:{size}"

    @ModelClass.method
    def segment(self, image: Image, regions: list[Region] = None) -> list[Region]:  # noqa: RUF013
        """A mask that covers the left half of the picture, for each prompt."""
        width, height = image.to_pil().size
        mask = np.zeros((height, width), np.uint8)
        mask[:, : width // 2] = 255
        half = Image.from_numpy(mask)
        return [
            Region(box=[0.0, 0.0, 0.5, 1.0], mask=half, concepts=[Concept("half", 0.75)])
            for _ in regions or [1]
        ]

    @ModelClass.method
    def classify(self, text: Text) -> list[Concept]:
        """Whether a text is long."""
        return [Concept("long", min(len(text.text) / 100, 1.0))]

    @ModelClass.method
    def scalars(self, a: int, b: float, c: bool, d: bytes) -> tuple[int, float, bool, bytes]:
        """The arguments."""
        return a, b, c, d

    @ModelClass.method
    def structure(self, value: dict, words: list[str]) -> dict:
        """A JSON object with the words in it."""
        return {**value, "words": words}

    @ModelClass.method
    def named(self, point: NamedFields(x=int, y=str)) -> NamedFields(x=int, y=str):
        """The argument."""
        return point

    @ModelClass.method
    def double(self, values: np.ndarray) -> np.ndarray:
        """Twice the values."""
        return values * 2

    @ModelClass.method
    def failing(self, text: str) -> str:
        """Fails on the text "bad"."""
        if text == "bad":
            raise ValueError("this text is bad")
        return text.upper()

    @ModelClass.method
    def counted(self, text: str) -> str:
        """Reports tokens."""
        self.set_output_context(prompt_tokens=len(text.split()), completion_tokens=1)
        return text

    @ModelClass.method
    def spell(self, text: str, times: int = 1) -> Iterator[str]:
        """The letters of a text, one by one."""
        for _ in range(times):
            yield from text

    @ModelClass.method
    def track(self, video: Video, frames: list[Frame] = None) -> Iterator[Frame]:  # noqa: RUF013
        """Three frames with one region each."""
        name = frames[0].regions[0].track_id if frames else "none"
        for index in range(3):
            region = Region(box=[0.1 * index, 0.0, 0.5, 0.5], track_id=name)
            yield Frame(index=index, time=index / 10, regions=[region])

    @ModelClass.method
    def shout(self, lines: Iterator[str], suffix: str = "!") -> Iterator[str]:
        """Each line in capitals."""
        for line in lines:
            yield line.upper() + suffix

    @ModelClass.method
    def lengths(self, audio: Iterator[Audio]) -> Iterator[int]:
        """Bytes of each piece."""
        for piece in audio:
            yield len(piece.bytes)
