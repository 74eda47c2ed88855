"""Learns the largest message that a server takes from those that it refused."""

from __future__ import annotations

from collections.abc import Sequence

from ..batching import Item
from ..endpoint import Fault, Verdict

__all__ = ["MessageLimit"]

#: A limit of at least so many bytes is our own for responses, which says nothing about what we send.
_OURS = 200_000_000


class MessageLimit:
    """The largest message that the server is known to take.

    Args:
        overhead: bytes of a call's message besides its inputs.
    """

    def __init__(self, overhead: int) -> None:
        self._overhead = overhead
        self._largest: int | None = None

    def refuses(self, items: Sequence[Item]) -> Fault | None:
        """The fault that the server would answer for the size of these inputs' message, as it did before.

        A single input is always sent: only the server's own answer gives it up.
        """
        if self._largest is None or len(items) == 1:
            return None
        size = self._overhead + sum(item.encoded.nbytes for item in items)
        if size <= self._largest:
            return None
        message = f"a message of {size} bytes is larger than the {self._largest} that the server takes"
        return Fault(Verdict.TOO_LARGE, "too_large", message)

    def learn(self, fault: Fault) -> None:
        """Note the limit that a fault names, if it names one."""
        limit = fault.max_message_bytes
        if limit is not None and limit < _OURS:
            self._largest = min(self._largest or limit, limit)
