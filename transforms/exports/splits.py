"""Divides inputs into splits by a hash of their ids, so that an input stays in its split whatever else comes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import ConfigError

__all__ = ["Splits", "parse_splits"]

_NAMES = ("train", "val", "test")


class Splits:
    """Names of splits and their shares.

    Args:
        shares: of each split, in the order of their names; none for no splits.
    """

    def __init__(self, shares: Sequence[float] = ()) -> None:
        self.names: tuple[str, ...] = _NAMES[: len(shares)]
        self._bounds = [sum(shares[: number + 1]) for number in range(len(shares))]

    def of(self, input_id: str) -> str:
        """The split of an input; "" where there are none."""
        if not self.names:
            return ""
        digest = hashlib.blake2b(input_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        at = int.from_bytes(digest, "big") / 2**64 * self._bounds[-1]
        for name, bound in zip(self.names, self._bounds, strict=True):
            if at < bound:
                return name
        return self.names[-1]


def parse_splits(text: str | None) -> Splits:
    """Read shares as "0.8/0.1/0.1" for train, val and test, or two of them for train and val.

    Raises:
        ConfigError: they are no shares.
    """
    if text is None:
        return Splits()
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if not 2 <= len(shares) <= len(_NAMES) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise ConfigError(f"--split {text}: write the shares of train, val and test, as in 0.8/0.1/0.1")
    return Splits(shares)
