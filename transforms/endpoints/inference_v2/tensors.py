"""Tensors of the protocol: what a server declares, and their bytes from and to NumPy."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["BYTES", "DTYPES", "Tensor", "TensorError", "array_of", "packed_bytes", "raw_field"]

BYTES = "BYTES"
#: NumPy's types by the protocol's names; of BF16, which NumPy lacks, the bits.
DTYPES = {
    "BOOL": np.dtype("?"),
    **{
        f"{sign}INT{bits}": np.dtype(f"<{sign.lower() or 'i'}{bits // 8}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
_LENGTH = struct.Struct("<I")


class TensorError(Exception):
    """Bytes that are not the tensor that they are said to be."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor as a server declares it.

    Attributes:
        name: of it.
        datatype: the protocol's name of its type.
        shape: of a whole call; -1 for any length.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.datatype}[{', '.join(map(str, self.shape))}]"


def packed_bytes(items: Iterable[bytes]) -> bytes:
    """Elements of type BYTES: each after its length."""
    return b"".join(part for item in items for part in (_LENGTH.pack(len(item)), item))


def array_of(tensor: Any, raw: bytes | None) -> Any:
    """The values of a tensor message; an array of objects for BYTES.

    Args:
        tensor: the message.
        raw: its values where they travel beside it.

    Raises:
        TensorError: the values do not fit the type or the shape.
    """
    shape, datatype = tuple(tensor.shape), tensor.datatype
    if datatype not in DTYPES and datatype != BYTES:
        raise TensorError(f"{tensor.name!r} is of type {datatype[:20]!r}, which the protocol does not have")
    if raw is None:
        if datatype not in _CONTENTS:
            raise TensorError(f"{tensor.name!r} is of type {datatype}, whose values travel raw only")
        values: Any = getattr(tensor.contents, _CONTENTS[datatype])
    elif datatype == BYTES:
        values = _unpacked(raw, tensor.name)
    else:
        dtype = DTYPES[datatype]
        if len(raw) % dtype.itemsize:
            raise TensorError(
                f"{tensor.name!r} has {len(raw)} bytes, which are no whole number of {datatype}"
            )
        values = np.frombuffer(raw, dtype)
    if any(side < 0 for side in shape) or math.prod(shape) != len(values):
        raise TensorError(f"{tensor.name!r} has {len(values)} values for a shape of {list(shape)}")
    if datatype == BYTES:
        array = np.empty(len(values), object)
        array[:] = list(values)
        return array.reshape(shape)
    array = np.asarray(values, DTYPES[datatype]).reshape(shape)
    if datatype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def raw_field(parts: Sequence[bytes]) -> list[bytes]:
    """The values of one tensor as `raw_input_contents`, in pieces that need not be copied together first."""
    length, head = sum(map(len, parts)), bytearray(b"\x3a")  # field 7, length-delimited
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return [bytes(head), *parts]


def _unpacked(raw: bytes, name: str) -> list[bytes]:
    items, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise TensorError(f"{name!r} ends within the length of an element")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4
        if at + length > len(raw):
            raise TensorError(f"{name!r} ends within an element of {length} bytes")
        items.append(raw[at : at + length])
        at += length
    return items
