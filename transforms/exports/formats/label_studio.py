"""Label Studio's tasks with predictions (https://labelstud.io/guide/predictions), and the labeling configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..categories import UNNAMED
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..shapes.runs import pixels_of, row_runs
from ..writing.json_file import JsonArray, json_array
from ..writing.xml_file import XmlFile

__all__ = ["LabelStudio", "brush_codes"]

_COLUMNS = ("label", "score", "text", "model_version")
_TAGS = {"image": "Image", "text": "Text", "audio": "Audio", "video": "Video"}
#: The kinds of labels of a picture, with their elements of the configuration.
_SHAPES = {
    "brush": ("BrushLabels", "brushlabels"),
    "box": ("RectangleLabels", "rectanglelabels"),
    "point": ("KeyPointLabels", "keypointlabels"),
}
_EMPTY = "regions without a box and without a mask, which are left out"
_POLYGONS = "outlines of the model's own, of which only the box is written; coco keeps them"
_SIZES = (3, 4, 8, 16)  #: bits that the length of a run may take
_POINT_WIDTH = 0.5  #: percent of the picture


class LabelStudio(Format):
    """`tasks.json`, or one file a split, `label_config.xml`, and `images/NAME`."""

    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        kinds = sorted({_kind(media, facts) for media in facts.media})
        if len(kinds) > 1 or not set(kinds) <= set(_TAGS):
            raise ConfigError(
                f"--format label-studio: the rows are about {', '.join(kinds)}, and a project is about one of "
                f"{', '.join(_TAGS)}; choose one by --where \"media_type = 'image'\""
            )
        if facts.frames and options.images in (None, "none"):
            raise ConfigError(
                "--format label-studio: frames of a video are pictures by --images copy alone; add it"
            )
        if facts.regions and facts.unsized:
            raise ConfigError(
                f"--format label-studio: the size of {facts.unsized} is not known, and positions are in shares of it; "
                "use coco, or leave such rows out by --where 'width > 0'"
            )

    def write(self, export: Export) -> None:
        media = next(iter(export.facts.media), "image")
        kind = _kind(media, export.facts)
        with contextlib.ExitStack() as stack:
            files: dict[str, JsonArray] = {
                split: stack.enter_context(json_array(export.folder / _name(split)))
                for split in export.split_names
            }
            for picture, regions, row in export.selection.items(_COLUMNS):
                results = list(_results(picture, regions, row, kind, export))
                prediction = {"model_version": row["model_version"] or "unknown", "result": results}
                scores = [
                    one for one in (row["score"], *(region.score for region in regions)) if one is not None
                ]
                if scores:
                    prediction["score"] = sum(scores) / len(scores)
                task = {
                    "data": {kind: _address(picture, export), "input_id": picture.input_id},
                    "predictions": [prediction],
                }
                files[export.splits.of(picture.input_id)].add(task)
        _configure(export.folder / "label_config.xml", kind, export)


def brush_codes(pixels: NDArray[np.bool_]) -> list[int]:
    """A mask in the run lengths of Label Studio's brush, those of https://github.com/thi-ng/umbrella's rle-pack.

    They are of the picture's four channels, each 0 or 255. A run is a bit 1, two bits that choose how many bits its
    length has, its length less one, and a byte of value.

    Args:
        pixels: shape (height, width).
    """
    runs = 4 * row_runs(pixels)
    bits = [f"{4 * pixels.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for number, length in enumerate(runs.tolist()):
        value = "11111111" if number % 2 else "00000000"
        most = 1 << _SIZES[-1]
        for part in (min(most, length - at) for at in range(0, length, most)):
            choice = next(at for at, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{choice:02b}{part - 1:0{_SIZES[choice]}b}{value}")
    packed = "".join(bits)
    count = -(-len(packed) // 8)
    return list(int(packed.ljust(8 * count, "0"), 2).to_bytes(count, "big"))


def _kind(media: str, facts: Facts) -> str:
    return "image" if media == "video" and facts.frames else media


def _name(split: str) -> str:
    return f"tasks_{split}.json" if split else "tasks.json"


def _address(picture: Picture, export: Export) -> str:
    """Where Label Studio finds an input: where it came from, or below the folder that it serves."""
    if export.images.mode == "none":
        return picture.uri or picture.input_id
    export.images.put(picture, export.folder / "images" / picture.name)
    return f"/data/local-files/?d={quote(f'images/{picture.name}')}"


def _results(
    picture: Picture, regions: list[Region], row: dict[str, Any], kind: str, export: Export
) -> Iterator[dict[str, Any]]:
    number = 0
    for region in regions:
        shapes = list(_shapes(picture, region, export))
        if not shapes:
            export.notes[_EMPTY] += 1
        for name, value, size in shapes:
            number += 1
            made = {
                "id": f"{picture.number}-{number}",
                "from_name": name,
                "to_name": kind,
                "type": _SHAPES[name][1],
                "original_width": size[0],
                "original_height": size[1],
                "image_rotation": 0,
                "value": {**value, _SHAPES[name][1]: [region.label or UNNAMED]},
            }
            if region.score is not None:
                made["score"] = region.score
            if region.track_id is not None:
                made["meta"] = {"text": [f"track {region.track_id}"]}
            yield made
    if row["label"] is not None:
        choice = {
            "from_name": "label",
            "to_name": kind,
            "type": "choices",
            "value": {"choices": [row["label"]]},
        }
        yield {"id": f"{picture.number}-label", **choice}
    if row["text"] is not None:
        answer = {
            "from_name": "answer",
            "to_name": kind,
            "type": "textarea",
            "value": {"text": [row["text"]]},
        }
        yield {"id": f"{picture.number}-answer", **answer}


def _shapes(
    picture: Picture, region: Region, export: Export
) -> Iterator[tuple[str, dict[str, Any], tuple[int, int]]]:
    """Kinds of shapes, what Label Studio says of them, and the size of the picture that they lie in."""
    size = picture.width or 0, picture.height or 0
    if region.rle is not None:
        height, width = region.rle["size"]
        yield "brush", {"format": "rle", "rle": brush_codes(pixels_of(region.rle))}, (width, height)
    elif region.bbox is not None and all(size):
        x, y, width, height = region.bbox
        sides = {"x": x / size[0], "y": y / size[1], "width": width / size[0], "height": height / size[1]}
        yield "box", {**{name: 100 * share for name, share in sides.items()}, "rotation": 0}, size
        if region.polygon:
            export.notes[_POLYGONS] += 1
    for x, y, visible in zip(*(iter(region.keypoints or ()),) * 3, strict=True) if all(size) else ():
        if visible > 0:
            yield "point", {"x": 100 * x / size[0], "y": 100 * y / size[1], "width": _POINT_WIDTH}, size


def _configure(path: Path, kind: str, export: Export) -> None:
    names = [str(one["name"]) for one in export.categories.listed]
    source = {"name": kind, "value": f"${kind}"}
    if kind == "text":
        source["valueType"] = "url"
    with XmlFile(path, export.notes) as xml, xml.inside("View"):
        xml.add(_TAGS[kind], "", source)
        for name, (element, _) in _SHAPES.items() if kind == "image" and names else ():
            with xml.inside(element, {"name": name, "toName": kind}):
                for label in names:
                    xml.add("Label", "", {"value": label})
        if export.facts.labels:
            with xml.inside("Choices", {"name": "label", "toName": kind}):
                for label in sorted(export.facts.labels):
                    xml.add("Choice", "", {"value": label})
        xml.add("TextArea", "", {"name": "answer", "toName": kind})
