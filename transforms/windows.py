"""Lets results leave a DoFn beside another element than their own, once in each of their windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["beside"]


class _Windows(tuple[Any, ...]):
    """Windows that stay as they are when Beam multiplies them."""

    def __mul__(self, times: Any) -> _Windows:
        return self


def beside(element: Any, outputs: Iterator[Any]) -> Iterator[Any]:
    """Prepare outputs, each a `WindowedValue` or a tagged one, to be yielded while `element` is processed.

    Beam repeats the windows of every `WindowedValue` that leaves a DoFn by the number of windows of the element at
    hand (`_OutputHandler._maybe_propagate_windowing_info`), so that beside an element in two windows each result
    would leave twice in each of its own.
    """
    return outputs if len(element.windows) == 1 else map(_once, outputs)


def _once(output: Any) -> Any:
    windowed = output.value if hasattr(output, "tag") else output
    windowed.windows = _Windows(windowed.windows)
    return output
