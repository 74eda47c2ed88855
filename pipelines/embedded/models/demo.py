"""The model that the embedded server serves: every method by name, and which ones go to worker processes."""

from __future__ import annotations

from ..methods import ModelMethod
from . import audio, images, segmentation, text, video

__all__ = ["METHODS"]

#: Pictures keep a core busy and go to worker processes; a text takes less time than the way there and back.
_HEAVY = (
    segmentation.segment_anything,
    segmentation.predict,
    images.colors,
    images.describe,
    images.embed_image,
    images.fingerprint,
    images.is_blurred,
    images.picture_size,
    images.sharpness,
    images.thumbnail,
    audio.measure_audio,
)
_LIGHT = (
    video.generate,
    audio.levels,
    text.classify,
    text.classify_lines,
    text.embed_text,
    text.keywords,
    text.measure_text,
    text.summarize,
)

METHODS: dict[str, ModelMethod] = {
    function.__name__: ModelMethod.of(function, heavy=function in _HEAVY) for function in (*_HEAVY, *_LIGHT)
}
