"""Where an argument's value comes from, beside what all kinds of endpoint know: encoded constants, lists of sources."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from ...arguments.sources import FromColumn, FromContent, FromStructure, FromTemplate, FromUri

__all__ = ["Constant", "FromList", "Source"]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A value of the job file, the same for every input; `items` where it feeds a stream."""

    data: bytes
    items: tuple[bytes, ...] = ()


@dataclasses.dataclass(frozen=True)
class FromList:
    """A list whose items come from different sources; those that are null are left out."""

    items: tuple[Source, ...]


Source: TypeAlias = "Constant | FromContent | FromUri | FromColumn | FromTemplate | FromList | FromStructure"
