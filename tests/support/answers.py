"""Builds answers of models as the API's messages, and the rows made of them, for tests of the tables."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from bulkinfer.transforms.endpoints.clarifai.answer.reader import OutputReader
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method
from bulkinfer.transforms.records import CallStats, Prediction, Reference
from bulkinfer.transforms.rows.answer_rows import ReadOptions
from bulkinfer.transforms.rows.table_builder import TableBuilder, TableOptions, Tables
from clarifai_grpc.grpc.api import resources_pb2
from PIL import Image


def png(mask: np.ndarray) -> bytes:
    """A mask as an 8-bit PNG."""
    out = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(out, "PNG")
    return out.getvalue()


def square(height: int = 40, width: int = 60, top: int = 10, left: int = 20, side: int = 15) -> np.ndarray:
    """A mask with one square on it."""
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def region(
    mask: np.ndarray | bytes | None = None, box: tuple[float, ...] | None = None, **fields: Any
) -> Any:
    """A region; `box` is top, left, bottom, right in 0..1, `concepts` a dict of name and value."""
    concepts = fields.pop("concepts", {})
    message = resources_pb2.Region(**fields)
    if mask is not None:
        message.region_info.mask.image.base64 = mask if isinstance(mask, bytes) else png(mask)
    if box is not None:
        bounds = message.region_info.bounding_box
        bounds.top_row, bounds.left_col, bounds.bottom_row, bounds.right_col = box
    for name, value in concepts.items():
        message.data.concepts.add(id=f"id-{name}", name=name, value=value)
    return message


def returned(**data: Any) -> Any:
    """An output that holds its value in the part `return`."""
    return output(resources_pb2.Data(parts=[part("return", **data)]))


def part(name: str = "", **data: Any) -> Any:
    """A part."""
    return resources_pb2.Part(id=name, data=resources_pb2.Data(**data))


def output(data: Any, **fields: Any) -> Any:
    """A successful output."""
    message = resources_pb2.Output(data=data, **fields)
    message.status.code = 10000
    return message


def prediction(*outputs: Any, input_id: str = "a", **fields: Any) -> Prediction:
    """The answer of an input."""
    reference = Reference(
        input_id,
        f"s3://bucket/{input_id}.jpg",
        fields.pop("media_type", "image"),
        columns=fields.pop("columns", {}),
        aliases=fields.pop("aliases", ()),
    )
    return Prediction(reference, outputs, CallStats(2, 12.5, "request-1"), **fields)


def builder_of(
    *,
    method: Method | None = None,
    masks: str = "rle",
    raw: bool = False,
    pieces: bool = False,
    **options: Any,
) -> TableBuilder:
    """A builder of the rows of this API's answers."""
    reader = functools.partial(OutputReader, method)
    return TableBuilder(TableOptions("run", reader, ReadOptions(masks, raw, pieces), **options))


def add(builder: TableBuilder, one: Prediction) -> None:
    """Add an answer, or raise what is wrong with it."""
    (error,) = builder.add([one])
    if error is not None:
        raise error


def tables(*predictions: Prediction, **options: Any) -> Tables:
    """The validated tables of some answers."""
    builder = builder_of(**options)
    for one in predictions:
        add(builder, one)
    built = builder.finish()
    for table in built[:3]:
        table.validate(full=True)
    return built


def rows(*predictions: Prediction, **options: Any) -> list[dict[str, Any]]:
    """The rows of `predictions` of some answers."""
    return tables(*predictions, **options).predictions.to_pylist()


def method(kind: str, *outputs: Field) -> Method:
    """A method of a kind with its results."""
    return Method("predict", kind, (), outputs)
