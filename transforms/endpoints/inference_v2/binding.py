"""Binds a job's arguments to the tensors that a model declares, and its outputs to columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from ...errors import EncodeError, MethodError
from ...job.config import ModelConfig
from ..arguments.expressions import closest
from ..arguments.sources import FromColumn, FromContent
from ..arguments.untyped import Arguments, parse_arguments
from .inputs import InputTensor, Pixels, picture_axes
from .metadata import Metadata
from .session import ModelCallSpec
from .tensors import BYTES, DTYPES, Tensor

__all__ = ["Bound", "bind"]


@dataclasses.dataclass(frozen=True)
class Bound:
    """The arguments of a job as tensors, and what becomes of the answer's.

    Attributes:
        spec: what is called.
        arguments: where the values come from.
        roles: what tensors of the answer are, by their names.
        most: inputs of a call; None for any number.
        sent_size: width and height of pictures as they are sent, where they are resized.
    """

    spec: ModelCallSpec
    arguments: Arguments
    roles: Mapping[str, str]
    most: int | None
    sent_size: tuple[int, int] | None


def bind(metadata: Metadata, model: ModelConfig, *, media_type: str, columns: Collection[str]) -> Bound:
    """Check a job's arguments and outputs against what the model declares.

    Raises:
        MethodError: they do not fit it; the message ends with the model's signature.
    """
    try:
        return _bound(metadata, model, media_type, columns)
    except MethodError as error:
        raise MethodError(f"{error}. The model is {metadata.signature}") from None


def _bound(metadata: Metadata, model: ModelConfig, media_type: str, columns: Collection[str]) -> Bound:
    given = model.arguments or {_only_input(metadata): "$content"}
    declared = {tensor.name: tensor for tensor in metadata.inputs}
    for name in given if declared else ():
        if name not in declared:
            raise MethodError(
                f"model.arguments.{name}: the model has no such input; {closest(name, declared, 'inputs')}"
            )
    for tensor in metadata.inputs:
        if tensor.datatype not in DTYPES and tensor.datatype != BYTES:
            raise MethodError(
                f"model.name: the model declares {tensor.name!r} as {tensor.datatype}, a type that the protocol lacks"
            )

    def takes_picture(name: str) -> bool:
        return name in declared and _is_picture(declared[name])

    arguments = parse_arguments(given, media_type, columns, takes_picture)
    pixels = Pixels(model.pixels.scale, model.pixels.mean, model.pixels.std)
    tensors = tuple(
        _input(declared.get(name) or Tensor(name, "", (-1,)), arguments.sources.get(name), media_type, pixels)
        for name in given
    )
    for one in tensors:
        if one.tensor.name in arguments.constants:
            _check_constant(one, arguments.constants[one.tensor.name])
    filled = [one for one in tensors if one.tensor.name in arguments.sources]
    streams = model.method == "stream"
    spec = ModelCallSpec(
        metadata.name, model.version or "", tensors, _asked(metadata, model.outputs), streams=streams
    )
    most = 1 if streams else _most(filled)
    return Bound(spec, arguments, _roles(model.outputs), most, _sent_size(filled))


def _only_input(metadata: Metadata) -> str:
    if len(metadata.inputs) != 1:
        raise MethodError(
            "model.arguments: it is not clear which input takes the content; write NAME: $content"
        )
    return metadata.inputs[0].name


def _is_picture(tensor: Tensor) -> bool:
    return tensor.datatype != BYTES and (
        picture_axes(tensor.shape[1:]) is not None or picture_axes(tensor.shape) is not None
    )


def _input(tensor: Tensor, source: Any, media_type: str, pixels: Pixels) -> InputTensor:
    """How a tensor is filled from its source; None for a constant.

    A first axis of any length, or of one, counts the inputs; not so where the whole is the shape of one picture.
    """
    shape = tensor.shape
    batched = bool(shape) and shape[0] in ((-1,) if source is None else (-1, 1))
    fetched = isinstance(source, FromContent) or (isinstance(source, FromColumn) and source.fetched)
    if not fetched or tensor.datatype in (BYTES, ""):
        return InputTensor(tensor, batched)
    if isinstance(source, FromContent) and media_type != "image":
        raise MethodError(
            f"model.arguments.{tensor.name}: $content is {media_type}, but the input holds numbers; bind a column of "
            "numbers to it"
        )
    if picture_axes(shape[1:]) is not None:
        return InputTensor(tensor, batched, pixels)
    if picture_axes(shape) is not None:
        return InputTensor(tensor, batched=False, pixels=pixels)
    raise MethodError(
        f"model.arguments.{tensor.name}: $content is an image, but the input has not the shape of one, N x height x "
        "width x channels or N x channels x height x width with 1 or 3 channels"
    )


def _check_constant(tensor: InputTensor, value: Any) -> None:
    try:
        tensor.encode(value)
    except EncodeError as error:
        raise MethodError(f"model.arguments.{tensor.tensor.name}: {error}") from None


def _most(tensors: Collection[InputTensor]) -> int | None:
    """One input a call where a tensor holds no more, or where pictures keep sizes of their own."""
    for one in tensors:
        dynamic = one.pixels is not None and any(side < 0 for side in one.row_shape)
        if not one.batched or one.tensor.shape[0] == 1 or dynamic:
            return 1
    return None


def _sent_size(tensors: Collection[InputTensor]) -> tuple[int, int] | None:
    for one in tensors:
        axes = picture_axes(one.row_shape) if one.pixels is not None else None
        if axes is not None:
            height, width = one.row_shape[axes[0]], one.row_shape[axes[1]]
            return (width, height) if width > 0 and height > 0 else None
    return None


def _asked(metadata: Metadata, outputs: Collection[str] | Mapping[str, str]) -> tuple[str, ...]:
    declared = {tensor.name for tensor in metadata.outputs}
    for name in outputs if declared else ():
        if name not in declared:
            raise MethodError(
                f"model.outputs: the model has no output {name!r}; {closest(name, declared, 'outputs')}"
            )
    return tuple(outputs)


def _roles(outputs: Collection[str] | Mapping[str, str]) -> dict[str, str]:
    return dict(outputs) if isinstance(outputs, Mapping) else {}
