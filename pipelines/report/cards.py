"""One row of the predictions as a card: its picture with what was found, what it says, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bulkinfer.transforms.rows.schemas import predictions_schema

from .charts import number_text
from .markup import Child, Element, clipped, element, named
from .pictures.content import Seen
from .pictures.drawing import draw
from .pictures.thumbnails import of_image
from .tables import Key

__all__ = ["KEPT_OUT", "card", "card_body", "framed", "key_of", "short_name"]

#: Columns that a card does not show, and that are not read for it.
KEPT_OUT = ("raw", "ndarray", "embedding", "heatmaps", "clusters", "hits", "tracks", "bytes_value")
_OWN = frozenset(predictions_schema().names)  #: all others are columns that the job keeps
_VALUES = ("text", "string_value", "json", "tool_calls", "int_value", "float_value", "bool_value")
_LONGEST_TEXT, _LONGEST_VALUE = 600, 120

Row = Mapping[str, Any]


def card(row: Row, masks: Sequence[Row], seen: Seen, places: Mapping[str, int], number: int) -> Element:
    """A card.

    Args:
        row: of `predictions`.
        masks: the rows of `masks` that belong to it.
        seen: what is shown of its input.
        places: the choices that it is part of, and its place in each.
        number: of the card in its page.
    """
    picture, *rest = card_body(row, masks, seen, short_name(row))
    return framed(picture, row, rest, places, number)


def framed(
    above: Child, row: Row, below: Child, places: Mapping[str, int], number: int, kind: str = ""
) -> Element:
    """The frame of a card, with the name of its input.

    Args:
        above: what stands above the name.
        row: of `predictions`.
        below: what stands below it.
        places: the choices that it is part of, and its place in each.
        number: of the card in its page.
        kind: a class for its style.
    """
    title = f"card-{number}"
    heading = element("h3", {"id": title, "title": clipped(row["input_id"], 300)}, named(short_name(row), 60))
    chosen = " ".join(f"{choice}:{place}" for choice, place in places.items())
    attributes = {"class": f"card shot {kind}".strip(), "data-chosen": chosen, "aria-labelledby": title}
    return element("article", attributes, above, heading, below)


def card_body(row: Row, masks: Sequence[Row], seen: Seen, name: str) -> list[Child]:
    """What a card holds: first its picture, then the answer, in notes and whole.

    Args:
        row: of `predictions`.
        masks: the rows of `masks` that belong to it.
        seen: what is shown of its input.
        name: what people who cannot see the picture are told.
    """
    return [_picture(row, masks, seen, name), _answer(row), _notes(row, masks, seen), _more(row)]


def short_name(row: Row) -> str:
    """What names a row for a person: the end of its input's name, and the moment of a frame."""
    name = str(row["input_id"]).rstrip("/").rpartition("/")[2] or str(row["input_id"])
    time_ms = row.get("frame_time_ms")
    if time_ms is not None:
        return f"{name} at {time_ms / 1000:g} s"
    return f"{name} #{row['output_index']}" if row["output_index"] else name


def _picture(row: Row, masks: Sequence[Row], seen: Seen, name: str) -> Iterator[Element]:
    if seen.picture is not None:
        drawing = draw(seen.picture, row, masks, f"{name}: {_found(row, masks)}")
        label = f"Enlarge {name}"
        yield element("button", {"type": "button", "class": "zoom", "aria-label": label}, drawing.svg)
        if drawing.left_out:
            yield element("p", {"class": "note"}, f"{drawing.left_out:,} smaller regions are not drawn.")
        if drawing.unplaced:
            yield element(
                "p", {"class": "note"}, f"{drawing.unplaced:,} masks are of another size than the picture."
            )
    if seen.sound:
        yield _wave(seen.sound, name)
    if seen.text:
        yield element("blockquote", {"class": "text", "tabindex": "0"}, named(seen.text, _LONGEST_TEXT))
    if seen.missing:
        yield element("p", {"class": "missing"}, "The input is not shown: ", named(seen.missing, 300))


def _found(row: Row, masks: Sequence[Row]) -> str:
    count = row["num_regions"] or len(masks)
    what = "1 region" if count == 1 else f"{count:,} regions"
    labels = dict.fromkeys(region["label"] for region in row["regions"] or () if region["label"])
    return what + (": " + clipped(", ".join(list(labels)[:5]), 100) if labels else "")


def _wave(sound: Sequence[tuple[float, float]], name: str) -> Element:
    points = [f"{x},{50 - 48 * high:.1f}" for x, (_, high) in enumerate(sound)]
    points += [f"{x},{50 - 48 * low:.1f}" for x, (low, _) in reversed(list(enumerate(sound)))]
    box = {"viewBox": f"0 0 {max(1, len(sound) - 1)} 100", "preserveAspectRatio": "none"}
    about = {"role": "img", "aria-label": f"The sound of {name} over time", "class": "wave"}
    return element("svg", {**box, **about}, element("polygon", {"points": " ".join(points)}))


def _answer(row: Row) -> Iterator[Element]:
    concepts = row["concepts"] or []
    if row["label"] is not None or concepts:
        best = [(row["label"], row["score"]), *((one["name"], one["value"]) for one in concepts[:4])]
        yield element("p", {"class": "answer"}, _labels(dict(best)))
    for name in _VALUES:
        if row[name] is not None:
            value = row[name] if isinstance(row[name], str) else number_text(row[name])
            yield element("p", {"class": "answer", "title": name}, named(value, _LONGEST_TEXT))
    for color in row["colors"] or ():
        yield element(
            "p", {"class": "answer"}, named(f"{color['w3c_name'] or color['raw_hex']} {color['value']:.2f}")
        )
    for segment in (row["time_segments"] or ())[:4]:
        said = segment["text"] or ", ".join(one["name"] or "" for one in segment["concepts"] or ())
        moment = f"{segment['begin_time'] or 0:g} to {segment['end_time'] or 0:g} s: "
        yield element("p", {"class": "answer"}, moment, named(said, _LONGEST_VALUE))
    yield from _picture_answered(row)


def _picture_answered(row: Row) -> Iterator[Element]:
    """A picture that the model made."""
    data = (row["image"] or {}).get("bytes")
    if not data:
        return
    try:
        picture = of_image(data, side=160)
    except Exception:  # noqa: BLE001  (whatever a model answers)
        yield element("p", {"class": "note"}, "The picture that it answered cannot be decoded.")
        return
    size = {"width": picture.width, "height": picture.height}
    yield element("img", {**size, "src": picture.uri, "alt": "The picture answered", "class": "answered"})


def _labels(best: Mapping[str | None, float | None]) -> Iterator[Child]:
    for number, (label, score) in enumerate(best.items()):
        if label is None:
            continue
        yield ", " if number else None
        yield element("b" if not number else "span", None, named(label, 80))
        yield "" if score is None else f" {score:.3f}"


def _notes(row: Row, masks: Sequence[Row], seen: Seen) -> Iterator[Element]:
    facts = [_found(row, masks) if row["num_regions"] or masks else ""]
    if seen.picture is not None:
        facts.append("{} x {}".format(*seen.picture.size))
    facts += [f"{row['attempts']} attempts" if (row["attempts"] or 1) > 1 else ""]
    said = " · ".join(filter(None, facts))
    if said:
        yield element("p", {"class": "facts"}, named(said, 200))


def _more(row: Row) -> Element:
    """What else the row tells, folded."""
    kept = {name: value for name, value in row.items() if name not in _OWN and value is not None}
    facts = {
        "input_id": row["input_id"],
        "run": row["run_id"],
        "model": f"{row['model_url']} {row['model_version'] or ''}",
        "call": None if row["latency_ms"] is None else f"{row['latency_ms']:,.0f} ms",
        **kept,
    }
    items = [
        (element("dt", None, named(str(name), 80)), element("dd", None, named(_text(value), 300)))
        for name, value in facts.items()
        if value is not None
    ]
    return element("details", None, element("summary", None, "More"), element("dl", None, items))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return json.dumps(value, ensure_ascii=False, default=str)


def key_of(row: Row) -> Key:
    """The key of a row of `predictions` or `masks`."""
    return row["input_id"], row["output_index"]
