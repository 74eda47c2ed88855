"""Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC): a file a picture with the boxes of its objects."""

from __future__ import annotations

import posixpath
from xml.etree import ElementTree

from ...errors import ConfigError
from ..categories import UNNAMED
from ..export import Export
from ..selection import Picture, Region

__all__ = ["PascalVoc"]

_NO_BOX = "regions without a box, which are left out"
_MASKS = "masks, of which only the box is written; coco keeps them"


class PascalVoc:
    """`Annotations/NAME.xml` of each picture, and `ImageSets/Main/SPLIT.txt`."""

    has_labels = True

    def write(self, export: Export) -> None:
        """Write the files.

        Raises:
            ConfigError: a picture's size is not known.
        """
        objects: dict[int, list[Region]] = {}
        for region in export.selection.regions():
            if region.bbox is None:
                export.notes[_NO_BOX] += 1
                continue
            if region.rle is not None:
                export.notes[_MASKS] += 1
            objects.setdefault(region.picture.number, []).append(region)
        lists: dict[str, list[str]] = {split: [] for split in export.splits.names or ("trainval",)}
        for picture in export.selection.pictures().values():
            stem = posixpath.splitext(picture.name)[0]
            path = export.folder / "Annotations" / f"{stem}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            tree = _annotation(picture, objects.get(picture.number, []))
            ElementTree.indent(tree)
            path.write_bytes(ElementTree.tostring(tree, encoding="utf-8") + b"\n")
            lists[export.splits.of(picture.key[0]) or "trainval"].append(stem)
        sets = export.folder / "ImageSets" / "Main"
        sets.mkdir(parents=True)
        for split, stems in lists.items():
            (sets / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def _annotation(picture: Picture, regions: list[Region]) -> ElementTree.Element:
    if not picture.width or not picture.height:
        raise ConfigError(
            f"--format voc: the size of {picture.name} is not known; use coco, or leave such rows out by "
            "--where 'width > 0'"
        )
    tree = ElementTree.Element("annotation")
    folder, name = posixpath.split(picture.name)
    _text(tree, "folder", folder)
    _text(tree, "filename", name)
    size = ElementTree.SubElement(tree, "size")
    for side, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _text(size, side, value)
    _text(tree, "segmented", 0)
    for region in regions:
        one = ElementTree.SubElement(tree, "object")
        _text(one, "name", region.label or UNNAMED)
        for name in ("truncated", "difficult"):
            _text(one, name, 0)
        if region.score is not None:
            _text(one, "score", region.score)
        x, y, width, height = region.bbox or (0.0, 0.0, 0.0, 0.0)
        box = ElementTree.SubElement(one, "bndbox")
        # The first pixel is 1 there, and the last one belongs to the box.
        for side, at in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
            _text(box, side, f"{at:.2f}")
    return tree


def _text(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)
