"""Writes regions: light entries inside `predictions`, and one row of `masks` for each region that has a shape.

A region has a shape when it carries a mask, a polygon, keypoints or a point. Positions come in 0..1 from the upper left
corner and leave as COCO's pixels where the picture's size is known. A mask says its own size, which may be another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DecodeError
from .boxes import Box, Size, in_picture, mask_box, pixels, pixels_of_many, relative, same_frame, size_note
from .columns import NO_CONCEPTS, Concepts, RegionColumn
from .mask_rows import UNREADABLE, MaskRows
from .masks import MaskRle, encode_mask, mask_png, png_size
from .prediction_rows import Frame

__all__ = ["PlainRegions", "RegionRows", "Shape", "Size"]

_LYING = frozenset({5, 6, 7, 8})  #: orientations in which width and height change places when shown
_NO_BOX = "box: the model's own holds no number, lies outside of the picture or is turned round, see bbox_rel"
_Key = tuple[str, str | None]


class Shape(NamedTuple):
    """What of a region is stored in `masks`.

    Attributes:
        picture: the mask as an encoded picture, see `masks`, or as run lengths; None for no mask.
        url: of the mask, instead of `picture`.
        polygon: x and y of each point, in turn, in 0..1.
        keypoints: x, y in 0..1 and COCO's visibility of each, in turn.
        point: x and y in 0..1; empty for none.
        text: that the region holds.
        concepts: ids, names and values.
    """

    picture: bytes | MaskRle | None = None
    url: str = ""
    polygon: Sequence[float] = ()
    keypoints: Sequence[float] = ()
    point: Sequence[float] = ()
    text: str = ""
    concepts: Concepts = NO_CONCEPTS


class PlainRegions(NamedTuple):
    """Regions of several rows, which have a box at most.

    Attributes:
        counts: of each row.
        ids, track_ids, labels, scores: of each region, row after row.
        boxes: x, y, width and height in 0..1; shape (regions, 4).
        boxed: whether the region has a box; shape (regions,).
    """

    counts: Sequence[int]
    ids: Sequence[str | None]
    track_ids: Sequence[str | None]
    labels: Sequence[str | None]
    scores: Sequence[float | None]
    boxes: NDArray[np.float64]
    boxed: NDArray[np.bool_]


class _Placed(NamedTuple):
    """A region's mask and boxes; `source` says whose box `bbox` is, `notes` what is odd about them."""

    rle: MaskRle | None
    bbox: Box
    box_rel: Box
    source: str | None
    notes: list[str]


class RegionRows:
    """Adds the regions of answers to `predictions` and `masks`.

    Args:
        masks: how masks are stored: rle | png | both | none.
        light: the `regions` column of predictions.

    Attributes:
        masks: the rows of the masks table.
        has_shapes: shapes are stored; else `add` needs none.
        may_turn: the picture is stored lying, and whether the model has turned it is not known yet; see `turn_by`.
        size: of the input's picture; None when it is unknown, as with a picture that the server fetches.
    """

    def __init__(self, masks: str, light: RegionColumn) -> None:
        self._rle = masks in ("rle", "both")
        self._png = masks in ("png", "both")
        self.has_shapes = masks != "none"
        self.masks = MaskRows()
        self.size: Size | None = None
        self.may_turn = False
        self._light = light
        self._coded: dict[bytes, MaskRle] | None = None
        self._add_index, self._add_id, self._add_track = (
            light.indexes.append,
            light.ids.append,
            light.track_ids.append,
        )
        self._add_label, self._add_score = light.labels.append, light.scores.append
        self._add_bbox, self._add_bbox_rel = light.bbox.append, light.bbox_rel.append

    def start(
        self,
        ordinal: int,
        key: _Key,
        size: Size | None,
        coded: dict[bytes, MaskRle] | None = None,
        orientation: int | None = None,
    ) -> None:
        """Begin the regions of an input.

        Args:
            ordinal: of the input, in the order of adding.
            key: its id and uri.
            size: of its picture.
            coded: masks that were coded already, by their bytes; None to remember none.
            orientation: EXIF's number of its picture.
        """
        self._ordinal, self._input, self.size, self._coded = ordinal, key, size, coded
        self.may_turn = size is not None and orientation in _LYING

    def turn_by(self, pictures: Iterable[bytes | MaskRle | None]) -> None:
        """Take the picture for turned where the masks are: models that turn by EXIF answer about the upright picture.

        Args:
            pictures: the masks of an answer; the first that can be read tells.
        """
        for picture in (one for one in pictures if one):
            with contextlib.suppress(DecodeError):
                _, mask = self._code(picture, boxed=True)
                self.may_turn = False
                if self.size is not None and mask != self.size:
                    turned = self.size[::-1]
                    if mask == turned or (same_frame(mask, turned) and not same_frame(mask, self.size)):
                        self.size = turned
                return

    def start_row(self, frame: Frame, output_index: int) -> None:
        """Begin a row of `predictions`, whose regions are numbered from 0."""
        self._key = (*self._input, *frame, output_index)
        self._index = 0

    def add(
        self,
        label: str | None,
        score: float | None,
        box_rel: Box = (),
        region_id: str | None = None,
        track_id: str | None = None,
        shape: Shape | None = None,
    ) -> None:
        """Add a region of the row that is being filled.

        Args:
            label: of its best concept.
            score: of that concept, or the region's own.
            box_rel: in 0..1; empty where only the mask tells it.
            shape: what goes to `masks`, if anything does; a mask that cannot be read stands there with the reason.
        """
        bbox = pixels(box_rel, self.size)
        if shape is not None and self.has_shapes:
            bbox, box_rel = self._add_shape(label, score, bbox, box_rel, region_id, track_id, shape)
        self._add_index(self._index)
        self._add_id(region_id)
        self._add_track(track_id)
        self._add_label(label)
        self._add_score(score)
        self._add_bbox(bbox)
        self._add_bbox_rel(box_rel)
        self._index += 1

    def extend(self, regions: PlainRegions, sizes: Sequence[tuple[int | None, int | None]]) -> Sequence[int]:
        """Add the regions of several rows and close these; see `add`.

        Args:
            sizes: width and height of each row's picture; None where unknown.

        Returns:
            How many regions each row has.
        """
        light = self._light
        light.indexes.extend(index for count in regions.counts for index in range(count))
        light.ids += regions.ids
        light.track_ids += regions.track_ids
        light.labels += regions.labels
        light.scores += regions.scores
        known = np.array([(width or 0, height or 0) for width, height in sizes], np.float64)
        boxes, inside = pixels_of_many(regions.boxes, known.repeat(regions.counts, axis=0))
        light.bbox.extend(boxes, inside & regions.boxed)
        light.bbox_rel.extend(regions.boxes, regions.boxed)
        light.close_rows(regions.counts)
        return regions.counts

    def _add_shape(
        self,
        label: str | None,
        score: float | None,
        bbox: Box,
        box_rel: Box,
        region_id: str | None,
        track_id: str | None,
        shape: Shape,
    ) -> tuple[Box, Box]:
        masks, picture = self.masks, shape.picture
        at = len(masks.rows)
        rle, bbox, box_rel, source, notes = self._place(picture, bbox, box_rel)
        stored = rle if self._rle else None
        masks.rles.append(stored)
        masks.inputs.append(self._ordinal)
        best_id, _, _ = masks.concepts.append(*shape.concepts)
        masks.bbox.append(bbox)
        masks.bbox_rel.append(box_rel)
        area = rle.area if rle is not None else None
        masks.rows.append((*self._key, self._index, region_id, track_id, best_id, label, score, source, area))
        masks.nbytes += 160 + (len(stored.counts) if stored else 0) + 40 * len(shape.concepts[0])
        if self._png and picture:
            picture = mask_png(picture) if isinstance(picture, MaskRle) else picture
            masks.sparse["mask"].put(at, {"bytes": picture, "path": None})
            masks.nbytes += len(picture)
        elif shape.url and not picture:
            masks.sparse["mask"].put(at, {"bytes": None, "path": shape.url})
        if shape.text:
            masks.sparse["text"].put(at, shape.text)
            masks.nbytes += len(shape.text)
        if shape.polygon or shape.keypoints or shape.point:
            notes += masks.put_points(at, self.size, shape.polygon, shape.keypoints, shape.point)
        if notes:
            masks.sparse["note"].put(at, "; ".join(notes))
            masks.nbytes += sum(map(len, notes))
        return bbox, box_rel

    def _place(self, picture: bytes | MaskRle | None, bbox: Box, box_rel: Box) -> _Placed:
        """Read a region's mask, and take its box where the model's own cannot be told in pixels."""
        if picture is not None and not any(box_rel):
            box_rel = ()  # some models send an empty message beside a mask
        boxed = bool(box_rel) and in_picture(box_rel) and (picture is None or min(box_rel[2:]) > 0)
        notes = [] if boxed or not box_rel else [_NO_BOX]
        source = "model" if box_rel else None
        if picture is None:
            return _Placed(None, bbox, box_rel, source, notes)
        boxed = boxed and self.size is not None
        try:
            rle, size = self._code(picture, boxed=boxed)
        except DecodeError as error:  # the rest of the answer is paid for and sound
            return _Placed(None, bbox, box_rel, source, [f"{UNREADABLE}: {error.message}", *notes])
        if rle is not None and rle.lossy:
            notes.append(
                f"lossy: the mask is a {rle.lossy}, of which the pixels brighter than half of white count"
            )
        if self.size is not None and size != self.size:
            notes.append(size_note(size, self.size, bbox if boxed else ()))
        if rle is not None and not boxed:
            own = mask_box(rle, self.size)
            if own or not box_rel:
                bbox, source = own, "mask"
            box_rel = box_rel or relative(rle)
        return _Placed(rle, bbox, box_rel, source, notes)

    def _code(self, picture: bytes | MaskRle, *, boxed: bool) -> tuple[MaskRle | None, Size]:
        if isinstance(picture, MaskRle):
            return picture, (picture.width, picture.height)
        if not self._rle and boxed:
            size = png_size(picture)
            if size is not None:  # stored as received, so its size is all that is needed
                return None, size
        rle = self._coded.get(picture) if self._coded is not None else None
        if rle is None:
            rle = encode_mask(picture)
            if self._coded is not None:
                self._coded[picture] = rle
        return rle, (rle.width, rle.height)
