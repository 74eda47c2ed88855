"""The embedded server's model: every method it offers, by name."""

from __future__ import annotations

from . import embedded_segmentation, embedded_text
from .embedded_methods import ModelMethod

__all__ = ["METHODS"]

_LIGHT = (
    embedded_text.classify,
    embedded_text.classify_lines,
    embedded_text.keywords,
    embedded_text.measure_text,
    embedded_text.summarize,
)
_HEAVY = (embedded_segmentation.segment_anything,)

METHODS: dict[str, ModelMethod] = {
    function.__name__: ModelMethod.of(function, heavy=function in _HEAVY) for function in (*_HEAVY, *_LIGHT)
}
