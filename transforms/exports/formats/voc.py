"""Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC): a file a picture with the boxes of its objects."""

from __future__ import annotations

import contextlib
import posixpath
import re
from typing import ClassVar

from ...errors import ConfigError
from ..categories import UNNAMED
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..reading.names import suffix_of
from ..writing.xml_file import XmlFile

__all__ = ["PascalVoc"]

_NO_BOX = "regions without a box, which are left out"
_MASKS = "masks, of which only the box is written; coco and cvat keep them"


class PascalVoc(Format):
    """`Annotations/NAME.xml` and `JPEGImages/NAME` of each picture, `ImageSets/Main/SPLIT.txt`, and `labelmap.txt`."""

    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if facts.unsized or (facts.rows and not facts.sized):
            raise ConfigError(
                f"--format voc: the size of {facts.unsized or 'every row'} is not known; use coco, or leave such rows "
                "out by --where 'width > 0'"
            )

    def write(self, export: Export) -> None:
        names = (re.sub(r"[:\r\n]", "_", str(one["name"])) for one in export.categories.listed)
        text = "# label:color_rgb:parts:actions\n" + "".join(f"{name}:::\n" for name in names)
        (export.folder / "labelmap.txt").write_text(text, encoding="utf-8", newline="\n")
        sets = export.folder / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            lists = {
                split: stack.enter_context((sets / f"{split}.txt").open("w", encoding="utf-8", newline="\n"))
                for split in export.splits.names or ("trainval",)
            }
            for picture, regions, _ in export.selection.items():
                stem = picture.name.removesuffix(suffix_of(picture.name))
                path = export.folder / "Annotations" / f"{stem}.xml"
                path.parent.mkdir(parents=True, exist_ok=True)
                with XmlFile(path, export.notes) as xml:
                    _annotate(xml, picture, regions, export)
                lists[export.splits.of(picture.input_id) or "trainval"].write(f"{stem}\n")
                export.images.put(picture, export.folder / "JPEGImages" / picture.name)


def _annotate(xml: XmlFile, picture: Picture, regions: list[Region], export: Export) -> None:
    folder, name = posixpath.split(picture.name)
    with xml.inside("annotation"):
        xml.add("folder", folder)
        xml.add("filename", name)
        with xml.inside("size"):
            for side, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
                xml.add(side, value)
        xml.add("segmented", 0)
        for region in regions:
            if region.bbox is None:
                export.notes[_NO_BOX] += 1
                continue
            if region.rle is not None:
                export.notes[_MASKS] += 1
            with xml.inside("object"):
                xml.add("name", region.label or UNNAMED)
                xml.add("truncated", 0)
                xml.add("difficult", 0)
                if region.score is not None:
                    xml.add("score", region.score)
                if region.track_id is not None:
                    xml.add("track_id", region.track_id)
                x, y, width, height = region.bbox
                with xml.inside("bndbox"):
                    # The first pixel is 1 there, and the last one belongs to the box.
                    box = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
                    for side, at in box.items():
                        xml.add(side, f"{at:.2f}")
