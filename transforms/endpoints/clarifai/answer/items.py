"""Converts messages inside an answer to structs of a list column, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ....errors import DecodeError

__all__ = [
    "INT64_MAX",
    "best_of",
    "cluster_row",
    "color_row",
    "hit_row",
    "microseconds",
    "picture",
    "segment_row",
    "track_row",
    "whole_number",
]

_INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
_YEAR_10000 = 253_402_300_800  # seconds; the end of what a Timestamp may hold


def whole_number(name: str, value: int, most: int = _INT32_MAX) -> int:
    """A number that fits its column.

    Raises:
        DecodeError: it does not.
    """
    if not -most - 1 <= value <= most:
        raise DecodeError("number", f"the model sent {name}={value}, which is more than its column can hold")
    return value


def microseconds(timestamp: Any) -> int | None:
    """Microseconds since 1970 of a `Timestamp`; None when it is unset or no date."""
    seconds: int = timestamp.seconds
    if not 0 < seconds < _YEAR_10000:
        return None
    return seconds * 1_000_000 + int(timestamp.nanos) // 1000


def picture(image: Any) -> dict[str, Any]:
    """An `Image` message as Hugging Face's Image feature."""
    return {"bytes": image.base64 or image.decoded_bytes or None, "path": image.url or None}


def color_row(color: Any) -> dict[str, Any]:
    """A `Color` message."""
    return {
        "raw_hex": color.raw_hex or None,
        "w3c_hex": color.w3c.hex or None,
        "w3c_name": color.w3c.name or None,
        "value": color.value,
    }


def hit_row(hit: Any) -> dict[str, Any]:
    """A `Hit` message, with the first reference that its input holds."""
    data = hit.input.data
    uri = data.image.url or data.video.url or data.audio.url or data.text.url
    return {
        "score": hit.score,
        "input_id": hit.input.id or None,
        "annotation_id": hit.annotation.id or None,
        "uri": uri or None,
    }


def cluster_row(cluster: Any) -> dict[str, Any]:
    """A `Cluster` message."""
    return {
        "id": cluster.id or None,
        "count": whole_number("clusters.count", cluster.count),
        "score": cluster.score,
        "projection": list(cluster.projection) or None,
        "hits": [hit_row(hit) for hit in cluster.hits] or None,
    }


def best_of(concepts: Any, value: float) -> tuple[str | None, float | None]:
    """Label and score of a region: of its best concept, or the region's own value where no concept scores."""
    count = len(concepts)
    if not count:
        return None, value if value and not math.isnan(value) else None
    best = concepts[0] if count == 1 else max(concepts, key=_score)
    score = best.value or value
    return best.name or best.id or None, None if math.isnan(score) else score


def _score(concept: Any) -> float:
    score: float = concept.value
    return -math.inf if math.isnan(score) else score  # NaN is no score


def concept_rows(concepts: Iterable[Any]) -> list[dict[str, Any]] | None:
    """`Concept` messages; None when there are none."""
    return [{"id": concept.id, "name": concept.name, "value": concept.value} for concept in concepts] or None


def _times(info: Any) -> dict[str, Any]:
    return {
        "begin_time": info.begin_time,
        "end_time": info.end_time,
        "num_frames": whole_number("time_info.num_frames", info.num_frames),
    }


def segment_row(segment: Any) -> dict[str, Any]:
    """A `TimeSegment` message; its times are those of the message."""
    data = segment.data
    return {
        "id": segment.id or None,
        **_times(segment.time_info),
        "concepts": concept_rows(data.concepts),
        "text": data.text.raw or data.string_value or None,
        "track_ids": [track.id for track in data.tracks] or None,
    }


def track_row(track: Any) -> dict[str, Any]:
    """A `Track` message, with the light regions of its frames."""
    return {
        "id": track.id or None,
        **_times(track.time_info),
        "quality": track.quality,
        "concepts": concept_rows(track.data.concepts),
        "frames": [_track_frame(frame) for frame in track.data.frames] or None,
    }


def _track_frame(frame: Any) -> dict[str, Any]:
    info = frame.frame_info
    return {
        "frame_index": whole_number("frame_info.index", info.index),
        "frame_number": whole_number("frame_info.number", info.number),
        "frame_time_ms": whole_number("frame_info.time", info.time, INT64_MAX),
        "concepts": concept_rows(frame.data.concepts),
        "regions": [_track_region(at, region) for at, region in enumerate(frame.data.regions)] or None,
    }


def _track_region(at: int, region: Any) -> dict[str, Any]:
    label, score = best_of(region.data.concepts, region.value)
    box = region.region_info.bounding_box
    boxed = region.region_info.HasField("bounding_box")
    return {
        "region_index": at,
        "region_id": region.id or None,
        "track_id": region.track_id or None,
        "label": label,
        "score": score,
        "bbox": None,
        "bbox_rel": [box.left_col, box.top_row, box.right_col - box.left_col, box.bottom_row - box.top_row]
        if boxed
        else None,
    }
