"""The embedded server's model: every method it offers, by name."""

from __future__ import annotations

from . import embedded_audio, embedded_images, embedded_segmentation, embedded_text, embedded_video
from .embedded_methods import ModelMethod

__all__ = ["METHODS"]

#: Pictures keep a core busy and go to worker processes; a text takes less time than the way there and back.
_HEAVY = (
    embedded_segmentation.segment_anything,
    embedded_segmentation.predict,
    embedded_images.colors,
    embedded_images.describe,
    embedded_images.embed_image,
    embedded_images.fingerprint,
    embedded_images.is_blurred,
    embedded_images.picture_size,
    embedded_images.sharpness,
    embedded_images.thumbnail,
    embedded_audio.measure_audio,
)
_LIGHT = (
    embedded_video.generate,
    embedded_audio.levels,
    embedded_text.classify,
    embedded_text.classify_lines,
    embedded_text.keywords,
    embedded_text.measure_text,
    embedded_text.summarize,
)

METHODS: dict[str, ModelMethod] = {
    function.__name__: ModelMethod.of(function, heavy=function in _HEAVY) for function in (*_HEAVY, *_LIGHT)
}
