"""The chat models: what each takes, which of the server's methods it calls, and how it says what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["CHAT_MODELS", "Found", "Method"]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a model has found.

    Attributes:
        text: it in words.
        facts: it by name, as JSON takes it, for structured answers.
    """

    text: str
    facts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the server's, and how its result is told."""

    name: str
    tell: Callable[[Any], Found]


def _classify(concepts: list[Any]) -> Found:
    best = concepts[0]
    ranked = [{"language": one.name, "code": one.id, "score": one.value} for one in concepts]
    facts = {"language": best.name, "code": best.id, "score": best.value, "languages": ranked}
    return Found(best.name, facts)


def _summarize(pieces: Any) -> Found:
    summary = "".join(pieces)
    return Found(summary, {"summary": summary})


def _keywords(words: list[str]) -> Found:
    return Found(", ".join(words), {"keywords": words})


def _measure_text(measures: Any) -> Found:
    facts = measures._asdict()
    return Found(f"{measures.words} words in {measures.sentences} sentences", facts)


def _describe(measures: dict[str, Any]) -> Found:
    names = [color["name"] for color in measures["colors"]]
    light = (
        "dark"
        if measures["brightness"] < 1 / 3
        else "bright"
        if measures["brightness"] > 2 / 3
        else "lit evenly"
    )
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    text = f"A picture of {measures['width']} x {measures['height']} pixels, {light}, mostly {listed}."
    return Found(text, {**measures, "colors": names})


def _colors(concepts: list[Any]) -> Found:
    names = [concept.name for concept in concepts]
    return Found(", ".join(names), {"colors": names, "shares": [concept.value for concept in concepts]})


def _segment(regions: list[Any]) -> Found:
    boxes = [[round(number, 4) for number in region.box] for region in regions]
    return Found(f"{len(regions)} objects", {"objects": len(regions), "boxes": boxes})


def _measure_audio(measures: dict[str, Any]) -> Found:
    text = (
        f"A recording of {measures['seconds']:.1f} seconds, {measures['channels']} channels at "
        f"{measures['sample_rate']} Hz, {measures['rms_dbfs']:.0f} dBFS loud."
    )
    return Found(text, measures)


def _echo(text: str) -> Found:
    return Found(text, {"text": text})


#: By the model's name, and by the medium of what it is asked about: the method that answers. `demo` takes everything.
CHAT_MODELS: dict[str, dict[str, Method]] = {
    "demo": {
        "text": Method("summarize", _summarize),
        "image": Method("describe", _describe),
        "audio": Method("measure_audio", _measure_audio),
    },
    "echo": {"text": Method("", _echo)},
    "classify": {"text": Method("classify", _classify)},
    "summarize": {"text": Method("summarize", _summarize)},
    "keywords": {"text": Method("keywords", _keywords)},
    "measure_text": {"text": Method("measure_text", _measure_text)},
    "describe": {"image": Method("describe", _describe)},
    "colors": {"image": Method("colors", _colors)},
    "segment_anything": {"image": Method("segment_anything", _segment)},
    "measure_audio": {"audio": Method("measure_audio", _measure_audio)},
}
