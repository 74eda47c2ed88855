"""Turns the values of an input into its part of each tensor of a call."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ...errors import EncodeError
from .tensors import BYTES, DTYPES, Tensor, packed_bytes

__all__ = ["EncodedInput", "InputTensor", "Pixels", "picture_axes"]

_CHANNELS = (1, 3)
Form = tuple[str, tuple[int, ...]]  # datatype and shape


@dataclasses.dataclass(slots=True)
class EncodedInput:
    """One input as it travels.

    Attributes:
        rows: its bytes of each tensor.
        forms: type and shape of each, without the axis of the batch; only inputs of the same forms share a call.
        nbytes: of all rows.
    """

    rows: tuple[bytes, ...]
    forms: tuple[Form, ...]
    nbytes: int


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How the samples of a picture, 0 to 255, become numbers of a tensor of floats.

    Attributes:
        scale: factor of each sample.
        mean: subtracted from each channel afterwards.
        std: by which each channel is divided at last.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class InputTensor:
    """A tensor of the call and how it is filled; plain data.

    Attributes:
        tensor: as the server declares it; its type is "" where it declares none, and each value says its own.
        batched: its first axis counts the inputs.
        pixels: of a tensor of a picture.
    """

    tensor: Tensor
    batched: bool
    pixels: Pixels | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one input's part; -1 for any length."""
        return self.tensor.shape[1:] if self.batched else self.tensor.shape

    def encode(self, value: Any) -> tuple[bytes, Form]:
        """The bytes, and the type and the shape, of one input's part.

        Raises:
            EncodeError: the value does not fit the tensor.
        """
        if self.pixels is not None and isinstance(value, bytes):
            value = self._picture(value)
        if not self.tensor.datatype:
            return self._undeclared(value)
        if self.tensor.datatype == BYTES:
            return self._texts(value)
        array = self._numbers(value)
        shape = self._fitted(array.size, array.shape)
        return array.tobytes(), (self.tensor.datatype, shape)

    def _undeclared(self, value: Any) -> tuple[bytes, Form]:
        """Numbers as FP64, anything else as BYTES."""
        if isinstance(value, (str, bytes, dict)) or value is None:
            return packed_bytes([_as_bytes(value)]), (BYTES, ())
        if isinstance(value, (list, tuple)) and any(isinstance(item, (str, bytes)) for item in value):
            return packed_bytes(map(_as_bytes, value)), (BYTES, (len(value),))
        declared = dataclasses.replace(self, tensor=dataclasses.replace(self.tensor, datatype="FP64"))
        array = declared._numbers(value)
        return array.tobytes(), ("FP64", array.shape)

    def _texts(self, value: Any) -> tuple[bytes, Form]:
        several = isinstance(value, (list, tuple)) and any(side != 1 for side in self.row_shape)
        items = list(value) if several else [value]
        shape = self._fitted(len(items), (len(items),))
        return packed_bytes(map(_as_bytes, items)), (BYTES, shape)

    def _numbers(self, value: Any) -> Any:
        dtype = DTYPES[self.tensor.datatype]
        if isinstance(value, (bytes, str, dict)) or value is None:
            raise self._misfit(f"{_kind(value)} is no number")
        try:
            given = np.asarray(value)
            if given.dtype.kind == "O":  # decimals
                given = given.astype(np.float64)
            if self.tensor.datatype == "BF16":
                return _bf16(given)
            array = given.astype(dtype)
        except (TypeError, ValueError, OverflowError):
            raise self._misfit(
                f"{_kind(value)} holds what is no number, or lists of different lengths"
            ) from None
        if given.dtype.kind not in "biuf" or (dtype.kind in "biu" and not np.array_equal(array, given)):
            raise self._misfit(f"{_kind(value)} does not fit {self.tensor.datatype} as it is")
        return array

    def _fitted(self, size: int, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of so many values where the tensor's has one or none of any length; else the values' own."""
        wanted = self.row_shape
        free = [axis for axis, side in enumerate(wanted) if side < 0]
        if len(free) > 1:
            fits = len(shape) == len(wanted) and all(w in (-1, s) for w, s in zip(wanted, shape, strict=True))
            if not fits:
                raise self._misfit(f"a shape of {list(shape)} does not fit")
            return tuple(shape)
        fixed = math.prod(side for side in wanted if side >= 0)
        if (size % fixed if fixed else size) if free else size != fixed:
            raise self._misfit(f"{size} values do not fill a shape of {list(wanted)}")
        return tuple(side if side >= 0 else size // (fixed or 1) for side in wanted)

    def _picture(self, data: bytes) -> Any:
        shape, pixels = self.row_shape, self.pixels
        assert pixels is not None
        axes = picture_axes(shape)
        assert axes is not None
        height, width, channels = (shape[axis] for axis in axes)
        try:
            with Image.open(io.BytesIO(data)) as image:
                picture = image.convert("L" if channels == 1 else "RGB")
        except Exception as error:  # Pillow's plugins raise almost any class
            text = " ".join(str(error).split())[:200]
            raise EncodeError(
                "picture", f"the picture cannot be decoded: {type(error).__name__}: {text}"
            ) from error
        size = (width if width > 0 else picture.width, height if height > 0 else picture.height)
        if size != picture.size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        array = np.array(picture).reshape(size[1], size[0], -1)
        if DTYPES[self.tensor.datatype].kind == "f":
            array = array.astype(np.float32) * np.float32(pixels.scale)
            if pixels.mean:
                array -= np.array(pixels.mean, np.float32)
            if pixels.std:
                array /= np.array(pixels.std, np.float32)
        return array.transpose(np.argsort(axes)) if len(shape) == 3 else array[..., 0]

    def _misfit(self, reason: str) -> EncodeError:
        return EncodeError(
            "wrong_type", f"the argument {self.tensor.name!r} does not fit {self.tensor}: {reason}"
        )


def picture_axes(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """The axes of height, width and channels in the shape of one picture; None where it is none."""
    if len(shape) != 3:
        return None
    if shape[2] in _CHANNELS:
        return 0, 1, 2
    return (1, 2, 0) if shape[0] in _CHANNELS else None


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if value is None:
        return b""
    return json.dumps(value, ensure_ascii=False).encode()


def _bf16(values: Any) -> Any:
    """The upper halves of floats of 32 bits, rounded to the nearest."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return {"NoneType": "null", "dict": "a mapping", "str": "text"}.get(
        type(value).__name__, type(value).__name__
    )
