"""Writes plain answers to rows, as an `AnswerReader`."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DecodeError
from ...rows.answer_rows import Answered, AnswerRows, ReadOptions
from ...rows.columns import utf8
from ...rows.region_rows import Shape
from .answers import Answer
from .regions import Region

__all__ = ["PlainReader"]


class PlainReader:
    """Writes one row an answer; of a stream of texts one with the joined text, of any other stream one a piece.

    Args:
        options: what the tables keep of an answer.
        rows: where they are written.
    """

    def __init__(self, options: ReadOptions, rows: AnswerRows) -> None:
        self._pieces = options.pieces
        self._rows = rows

    def read(self, answered: Sequence[Answered]) -> None:
        """Add the rows of these inputs; each answer is a tuple of `Answer`.

        Raises:
            DecodeError: a box is in pixels of a picture whose size is not known.
        """
        for one in answered:
            self.add(one, one.prediction.answer)

    def add(self, answered: Answered, answers: Sequence[Answer]) -> None:
        """Add the rows of one input with these answers.

        Raises:
            DecodeError: as `read` says.
        """
        self._rows.start(answered)
        if len(answers) != 1 and all(_is_text(answer) for answer in answers):
            texts = [answer.texts["text"] for answer in answers]
            self._write(Answer({"text": "".join(map(str, texts))}))
            if not self._pieces:
                return
        for answer in answers:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        rows = self._rows.predictions
        for name, value in answer.texts.items():
            rows.put_text(name, utf8(value) if isinstance(value, str) else value)
        for name, value in answer.values.items():
            rows.put(name, value)
            rows.nbytes += _size(value)
        regions = self._rows.regions
        if regions.may_turn:
            regions.turn_by(one.mask for one in answer.regions)
        for region in answer.regions:
            self._add(region)
        self._rows.close(status_code=0, concepts=answer.concepts)

    def _add(self, region: Region) -> None:
        size = self._rows.regions.size
        shape = Shape(
            region.mask,
            polygon=_relative("polygon", region.polygon, size, 2),
            keypoints=_relative("keypoints", region.keypoints, size, 3),
            point=_relative("point", region.point, size, 2),
            text=region.text,
            concepts=region.concepts,
        )
        has_shape = region.mask or shape.polygon or shape.keypoints or shape.point or shape.text
        corners = region.box_rel or _relative("box", region.box, size, 2)
        left, top, right, bottom = corners or (0.0, 0.0, 0.0, 0.0)
        self._rows.regions.add(
            region.label,
            region.score,
            (left, top, right - left, bottom - top) if corners else (),
            region.id,
            region.track_id,
            shape if has_shape else None,
        )


def _relative(
    name: str, values: Sequence[float], size: tuple[int, int] | None, stride: int
) -> Sequence[float]:
    """Positions in pixels as fractions of the picture's sides; of `stride` values the first two are a point."""
    if not values:
        return ()
    if size is None:
        raise DecodeError(
            name,
            f"a region's {name} is in pixels of a picture whose size is not known; return box_rel, or a mask",
        )
    return [value / size[at % stride] if at % stride < 2 else value for at, value in enumerate(values)]


def _is_text(answer: Answer) -> bool:
    return answer.texts.keys() == {"text"} and not (answer.values or answer.regions or answer.concepts[0])


def _size(value: object) -> int:
    if isinstance(value, dict):
        return len(value.get("buffer") or value.get("bytes") or b"")
    return 4 * len(value) if isinstance(value, list) else 0
