"""The video method: objects tracked through a video.

An object's mask moves along with the optical flow from frame to frame; then GrabCut, with the colours learnt
where the object was named, decides what lies near its border. Masks are computed small and scaled up.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Frame, Video
from .prompts import (
    NO_BOX,
    Prompt,
    check_return_type,
    prompt_of_dict,
    prompts_of_regions,
    segment_prompt,
)
from .regions import Segment, Segmentation, fitted
from .segmentation import region_of

__all__ = ["generate"]

Pixels = NDArray[Any]

TRACK_SIDE = 320  #: pixels of the longer side at which objects are tracked
BAND = 4  #: pixels on both sides of a moved border that colours decide on
GONE = 0.0005  #: share of the picture below which an object has left it
CRUMB = 0.1  #: share of the largest piece of an object below which a piece of it is dropped
UNPROMPTED = 4  #: objects of the first frame that are tracked when nothing is asked for


@dataclasses.dataclass
class _Track:
    """An object on its way: its mask at the tracking size, and its colours and the background's."""

    track_id: str
    mask: NDArray[np.bool_]
    score: float
    colours: tuple[Pixels, Pixels]


def generate(
    video: Video,
    frames: list[Frame] | None = None,
    list_dict_inputs: list[dict[str, Any]] | None = None,
    return_type: str = "all",
) -> Iterator[Frame]:
    """Track objects through a video: one frame for each of its frames, with a region for each object in it.

    Prompts are frames, whose index names the frame and whose regions name the object by track_id, or dicts
    with frame_index, track_id, points, labels and box. Without prompts the clearest objects of frame 0
    are tracked. return_type is box, mask or all.
    """
    wanted = check_return_type(return_type)
    if frames and list_dict_inputs:
        raise ValueError("frames and list_dict_inputs were both given; prompt by one of them")
    tracks: list[_Track] = []
    before: Pixels | None = None
    for index, time_ms, picture in _pictures(video.data):
        height, width = picture.shape[:2]
        small = cv2.resize(picture, fitted(picture, TRACK_SIDE, least=16))
        grey: Pixels = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        if before is not None and tracks:
            _advance(tracks, before, grey, small)
        prompts = _prompts(index, frames or (), list_dict_inputs or (), (width, height))
        if index == 0 and not frames and not list_dict_inputs:
            tracks = _found(small)
        for prompt in prompts:
            tracks = [track for track in tracks if track.track_id != prompt.track_id]
            named = segment_prompt(Segmentation(small), prompt)
            if named:
                tracks.append(_begin(small, named[0], prompt.track_id))
        tracks.sort(key=lambda track: track.track_id)
        before = grey
        shown = [track for track in tracks if track.mask.mean() >= GONE]
        yield Frame(
            index,
            time_ms,
            tuple(
                region_of(
                    _enlarged(track, width, height), wanted, track.track_id, f"{index}-{track.track_id}"
                )
                for track in shown
            ),
        )


def _pictures(data: bytes) -> Iterator[tuple[int, int, Pixels]]:
    """Index, time in ms and picture (BGR) of each frame; ValueError when the bytes are no video."""
    if not data:
        raise ValueError("Video has no bytes")
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise ValueError("the file holds no video")
            for index, frame in enumerate(container.decode(video=0)):
                yield index, round(1000 * (frame.time or 0.0)), frame.to_ndarray(format="bgr24")
    except av.FFmpegError as error:
        raise ValueError(f"cannot decode the video: {error}") from error


def _prompts(
    index: int, frames: Sequence[Frame], dicts: Sequence[dict[str, Any]], size: tuple[int, int]
) -> list[Prompt]:
    """The prompts of one frame; an object without a name is called by its place among them."""
    found = [p for frame in frames if frame.index == index for p in prompts_of_regions(frame.regions)]
    for place, given in enumerate(dicts):
        if int(given.get("frame_index", 0)) == index:
            name = given.get("track_id", place + 1)
            found.append(prompt_of_dict(given, size, f"{name:g}" if isinstance(name, float) else str(name)))
    return [
        prompt if prompt.track_id else dataclasses.replace(prompt, track_id=str(place + 1))
        for place, prompt in enumerate(found)
    ]


def _found(small: Pixels) -> list[_Track]:
    """The clearest objects of a picture that do not reach its border all around."""
    objects = [
        o for o in Segmentation(small).objects() if 0.003 < o.mask.mean() < 0.4 and not _is_frame(o.mask)
    ]
    objects.sort(key=lambda o: -o.score)
    return [_begin(small, o, str(place + 1)) for place, o in enumerate(objects[:UNPROMPTED])]


def _is_frame(mask: NDArray[np.bool_]) -> bool:
    return sum(bool(edge.mean() > 0.3) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])) >= 2


def _begin(small: Pixels, segment: Segment, track_id: str) -> _Track:
    marks = np.where(segment.mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    if 0 < int(segment.mask.sum()) < segment.mask.size:
        cv2.grabCut(small, marks, NO_BOX, *colours, 0, cv2.GC_INIT_WITH_MASK)
    return _Track(track_id, segment.mask, segment.score, colours)


def _advance(tracks: list[_Track], before: Pixels, grey: Pixels, small: Pixels) -> None:
    """Move each object to where it is in the next frame."""
    # Backwards: it tells of each pixel of the new frame where it was in the old one.
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(
        grey, before, np.zeros((*grey.shape, 2), np.float32)
    )
    rows, columns = np.indices(grey.shape, dtype=np.float32)
    where = (columns + flow[..., 0], rows + flow[..., 1])
    kernel = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    for track in tracks:
        moved: Pixels = cv2.remap(track.mask.astype(np.uint8), *where, cv2.INTER_NEAREST)
        if moved.mean() < GONE:
            track.mask = np.zeros_like(track.mask)
            continue
        marks = np.where(cv2.dilate(moved, kernel) > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        marks[moved > 0] = cv2.GC_PR_FGD
        core = cv2.erode(moved, kernel) > 0
        marks[core] = cv2.GC_FGD
        if core.any() and (marks == cv2.GC_BGD).any():
            models = (track.colours[0].copy(), track.colours[1].copy())
            cv2.grabCut(small, marks, NO_BOX, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
            moved = _without_crumbs(np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
        track.mask = moved > 0


def _without_crumbs(mask: Pixels) -> Pixels:
    """The mask without what an object leaves behind: pieces far smaller than its largest one."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # the background
    return np.asarray(areas[pieces] >= max(1, CRUMB * int(areas.max())), np.uint8)


def _enlarged(track: _Track, width: int, height: int) -> Segment:
    mask = cv2.resize(track.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    if not mask.any():
        mask = cv2.resize(track.mask.astype(np.uint8), (width, height)) > 0
    return Segment(mask, track.score)
