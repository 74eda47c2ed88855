"""CVAT's XML for images (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat), version 1.1."""

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import ConfigError
from ..categories import UNNAMED
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..shapes.outlines import outlines_of
from ..shapes.runs import cropped, row_runs
from ..writing.xml_file import XmlFile

__all__ = ["Cvat"]

_ATTRIBUTES = ("score", "track_id")
_HOLES = "masks with holes, which stay masks as CVAT's polygons have none"
_EMPTY = "regions without a box and without a mask, which are left out"


class Cvat(Format):
    """`annotations.xml` and `images/NAME`: masks in CVAT's own runs, boxes, points, and labels of pictures as tags."""

    has_polygons: ClassVar[bool | None] = None
    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if facts.unsized or (facts.rows and not facts.sized):
            raise ConfigError(
                f"--format cvat: the size of {facts.unsized or 'every row'} is not known; use coco, or leave such rows "
                "out by --where 'width > 0'"
            )

    def write(self, export: Export) -> None:
        with XmlFile(export.folder / "annotations.xml", export.notes) as xml, xml.inside("annotations"):
            xml.add("version", "1.1")
            _describe(xml, export)
            for picture, regions, row in export.selection.items(("label",)):
                about: dict[str, object] = {"id": picture.number - 1, "name": picture.name}
                if split := export.splits.of(picture.input_id):
                    about["subset"] = split
                about |= {"width": picture.width, "height": picture.height}
                with xml.inside("image", about):
                    if row["label"]:
                        with xml.inside("tag", {"label": row["label"], "source": "auto"}):
                            pass
                    for region in regions:
                        _add(xml, picture, region, export)
                export.images.put(picture, export.folder / "images" / picture.name)


def _describe(xml: XmlFile, export: Export) -> None:
    names = dict.fromkeys(
        [*(str(one["name"]) for one in export.categories.listed), *sorted(export.facts.labels)]
    )
    with xml.inside("meta"), xml.inside("task"):
        xml.add("name", "bulkinfer")
        xml.add("size", export.facts.rows)
        xml.add("mode", "annotation")
        with xml.inside("labels"):
            for name in names:
                with xml.inside("label"):
                    xml.add("name", name)
                    with xml.inside("attributes"):
                        for attribute in _ATTRIBUTES:
                            with xml.inside("attribute"):
                                said = {"name": attribute, "mutable": "False", "input_type": "text"}
                                for key, value in {**said, "default_value": "", "values": ""}.items():
                                    xml.add(key, value)


def _add(xml: XmlFile, picture: Picture, region: Region, export: Export) -> None:
    shapes = list(_shapes(picture, region, export))
    if not shapes:
        export.notes[_EMPTY] += 1
    for kind, where in shapes:
        said = {"label": region.label or UNNAMED, "source": "auto", "occluded": 0, **where, "z_order": 0}
        if len(shapes) > 1:  # pieces of one object
            said["group_id"] = region.position + 1
        with xml.inside(kind, said):
            for name in _ATTRIBUTES:
                value = getattr(region, name)
                if value is not None:
                    xml.add("attribute", value, {"name": name})


def _shapes(picture: Picture, region: Region, export: Export) -> Any:
    """Kinds of shapes and where they are."""
    if region.rle is not None and region.area:
        if [picture.height, picture.width] != list(region.rle["size"]):
            height, width = region.rle["size"]
            raise ConfigError(
                f"--format cvat: a mask of {picture.name} has {width} x {height} pixels, the picture has "
                f"{picture.width} x {picture.height}, and CVAT's masks lie in the picture's; use coco"
            )
        if export.polygons:
            outer, holes = outlines_of(region.rle)
            if not holes:
                made = export.tolerance.simplified(outer)
                export.tolerance.account(outer, made, *region.rle["size"])
                yield from (("polygon", {"points": _points(one)}) for one in made)
                return
            export.notes[_HOLES] += 1
        left, top, pixels = cropped(region.rle)
        runs = ", ".join(map(str, row_runs(pixels).tolist()))
        height, width = pixels.shape
        yield "mask", {"rle": runs, "left": left, "top": top, "width": width, "height": height}
    elif region.polygon:
        yield from (("polygon", {"points": _points(one)}) for one in region.polygon)
    elif region.bbox is not None:
        x, y, width, height = region.bbox
        sides = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
        yield "box", {name: f"{at:.2f}" for name, at in sides.items()}
    if region.keypoints:
        seen = [
            f"{x:.2f},{y:.2f}"
            for x, y, visible in zip(*(iter(region.keypoints),) * 3, strict=True)
            if visible > 0
        ]
        if seen:
            yield "points", {"points": ";".join(seen)}


def _points(flat: Any) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(flat[::2], flat[1::2], strict=True))
