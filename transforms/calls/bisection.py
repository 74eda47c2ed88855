"""Decides which part of a failed batch to send next, so that bad inputs fail alone and all others succeed.

A batch that failed as a whole is bisected until the bad input stands alone. When the first half of a bad piece
succeeds, the second half must hold what is bad, so it is bisected at once without being sent: one bad input among
128 costs 7 to 14 calls. A single input is always sent before it is given up; none fails by inference alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Bisection"]

T = TypeVar("T")

#: After this many inputs failed alone while nothing of the batch succeeded, the rest is sent one by one: a batch in
#: which everything is bad then costs one call an input instead of two.
HOPELESS = 3


@dataclasses.dataclass(slots=True)
class _Piece(Generic[T]):
    items: Sequence[T]
    blamed: bool = False  # known to hold a bad input
    sibling: _Piece[T] | None = None  # the second half of the same bad piece, which waits for this one


class Bisection(Generic[T]):
    """The pieces of one batch, the whole batch first.

    Ask `next` for a piece, send it, and report with `passed` or `failed`, until `next` gives None.
    """

    def __init__(self, items: Sequence[T]) -> None:
        self._waiting: list[_Piece[T]] = [_Piece(items)] if items else []
        self._sent: _Piece[T] | None = None
        self._alone = 0
        self._any_passed = False

    def next(self) -> Sequence[T] | None:
        """The next piece to send; None when every input has a result."""
        if not self._waiting:
            return None
        piece = self._waiting.pop()
        while len(piece.items) > 1:
            if self._hopeless:
                self._waiting += [_Piece([item]) for item in reversed(piece.items[1:])]
                piece = _Piece(piece.items[:1])
            elif piece.blamed:
                piece = self._bisect(piece.items, blame=True)
            else:
                break
        self._sent = piece
        return piece.items

    def passed(self) -> None:
        """Note that every input of the piece got an answer of its own."""
        assert self._sent is not None
        self._any_passed = True
        if self._sent.sibling is not None:
            self._sent.sibling.blamed = True
        self._sent = None

    def failed(self, items: Sequence[T], *, blame: bool) -> None:
        """Note that the call failed as a whole for these inputs of the piece; a single input is not sent again.

        Args:
            items: those without a result; two or more are bisected and sent again.
            blame: an input broke the call; False when it was the size, which each half may pass.
        """
        assert self._sent is not None
        self._sent = None
        if len(items) <= 1:
            self._alone += 1
        else:
            self._waiting.append(self._bisect(items, blame=blame))

    def spread(self, items: Sequence[T], size: int) -> None:
        """Note that the call did not end in time for these inputs, which are sent again in pieces of this size.

        They come after all that waits: so the next call holds other inputs, and tells whether it is the server that
        is slow. Halves would send a slow input, and wait for it, once for each halving.
        """
        self._sent = None
        pieces = [_Piece(items[start : start + size]) for start in range(0, len(items), size)]
        self._waiting[:0] = reversed(pieces)

    def gave_up(self) -> None:
        """Note that the server did not answer for the piece, which says nothing about any input."""
        self._sent = None

    def rest(self) -> list[T]:
        """Remove the pieces that still wait, and return their inputs."""
        rest = [item for piece in reversed(self._waiting) for item in piece.items]
        self._waiting = []
        return rest

    def _bisect(self, items: Sequence[T], *, blame: bool) -> _Piece[T]:
        middle = len(items) // 2
        second = _Piece(items[middle:])
        self._waiting.append(second)
        return _Piece(items[:middle], sibling=second if blame else None)

    @property
    def _hopeless(self) -> bool:
        return self._alone >= HOPELESS and not self._any_passed
