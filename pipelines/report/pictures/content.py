"""What is seen of chosen inputs: fetched from the source as a run does, and made small at once; or why it is not."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.errors import BulkinferError, ReadError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.sources.pieces import PieceReader, first_pieces
from bulkinfer.transforms.sources.source import inspect_source
from bulkinfer.transforms.storage.allowed import EVERYTHING, Allowed
from bulkinfer.transforms.storage.faults import redact
from bulkinfer.transforms.storage.filesystems import resolve

from ..tables import Key
from .thumbnails import Thumbnail, of_frames, of_image, peaks

__all__ = ["Seen", "contents"]

_THREADS = 8
_LOOKED_AT = 100_000  #: rows of a manifest in which inputs are looked for that only it can tell
_TEXT = 1500  #: characters of a text that are shown
_GIVEN_UP_AFTER = 8  #: inputs in a row that could not be read, without one that could
_NO_AV = "its frames or its sound need PyAV: pip install 'bulkinfer[video]'"


_Show = Callable[..., "Iterator[tuple[Key, Seen]]"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is shown of an input or a frame of it.

    Attributes:
        picture: of an image or a frame.
        text: the beginning of a text.
        sound: the least and greatest amplitudes of a recording.
        missing: why nothing can be shown; "" where something is.
    """

    picture: Thumbnail | None = None
    text: str = ""
    sound: Sequence[tuple[float, float]] = ()
    missing: str = ""


def contents(
    rows: Sequence[Mapping[str, Any]],
    source: SourceConfig | None,
    folder: str,
    sizes: Mapping[Key, tuple[int, int]],
) -> dict[Key, Seen]:
    """What is seen of rows of `predictions`, by their key.

    Args:
        rows: of `predictions`.
        source: the job's; None where no record tells it.
        folder: in which the job was started; relative references mean files there.
        sizes: of the frames in which masks are, where the rows do not tell.
    """
    by_input: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_input.setdefault(row["input_id"], []).append(row)
    reader = _Reader(source, folder, rows)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda group: list(_seen(group, reader, sizes)), by_input.values())
        return {key: seen for group in found for key, seen in group}


class _Reader:
    """Reads the content of inputs, until too many in a row cannot be read."""

    def __init__(self, source: SourceConfig | None, folder: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self._folder, self._failed, self._lock = folder, 0, threading.Lock()
        self._storage = dict(source.storage) if source is not None else {}
        manifest = (source.manifest or source.table) if source is not None else None
        allow = source.allow if source is not None else None
        self._allowed = Allowed.of(allow, manifest) if manifest is not None else EVERYTHING
        self._fetcher = Fetcher(
            max_bytes=int(source.max_bytes) if source is not None else 128_000_000,
            storage=self._storage,
            idle=10.0,
            timeout=20.0,
            attempts=2,
            max_pixels=source.image.max_pixels if source is not None else None,
            allowed=self._allowed,
        )
        hidden = {row["input_id"] for row in rows if _is_hidden(row["uri"])}
        self._found, self._fault = _looked_up(hidden, source, folder)

    def read(self, row: Mapping[str, Any]) -> bytes:
        """The content of a row's input.

        Raises:
            ReadError: it cannot be had.
        """
        if self._failed >= _GIVEN_UP_AFTER:
            raise ReadError("given_up", "not tried: the inputs before it could not be read")
        try:
            data = self._bytes(row)
        except ReadError:
            with self._lock:
                self._failed += 1
            raise
        self._failed = 0
        return data

    def _bytes(self, row: Mapping[str, Any]) -> bytes:
        uri = row["uri"]
        if _is_hidden(uri):
            reference = self._found.get(row["input_id"])
            if reference is None:
                raise ReadError("hidden", f"only the source can tell it, and {self._fault}")
            if reference.inline is not None:
                inline = reference.inline
                return inline.encode() if isinstance(inline, str) else bytes(inline)
            uri = reference.uri or ""
        self._allowed.check(uri)  # these rows may have been written by somebody else than who looks at them
        return self._fetcher.fetch(resolve(uri, self._folder)).data


def _is_hidden(uri: str | None) -> bool:
    """Whether a table's reference is not the one to read: it has none, a secret in it is masked, or it is a hash."""
    return uri is None or "***" in uri or uri.startswith("data:")


def _looked_up(ids: set[str], source: SourceConfig | None, folder: str) -> tuple[dict[str, Reference], str]:
    """The references of inputs as the source names them, and why others were not found."""
    if not ids or source is None:
        return {}, "no run's record names one"
    found: dict[str, Reference] = {}
    try:
        for reference in _references(_without_extras(source, folder)):
            if reference.input_id in ids:
                found[reference.input_id] = reference
            if len(found) == len(ids):
                break
    except (BulkinferError, OSError) as error:
        return found, f"it cannot be read: {redact(str(error), source.storage)}"
    return found, f"it does not name it, or not among its first {_LOOKED_AT:,} inputs"


def _without_extras(source: SourceConfig, folder: str) -> SourceConfig:
    """The source without kept columns, which would be read as well, and found from everywhere."""
    columns = source.columns.model_copy(update={"keep": ()})
    places = {
        name: resolve(path, folder)
        for name in ("manifest", "table")
        if (path := getattr(source, name)) is not None
    }
    files = tuple(resolve(path, folder) for path in source.files) if source.files is not None else None
    return source.model_copy(update={"columns": columns, "files": files, **places})


def _references(source: SourceConfig) -> Iterator[Reference]:
    spec = inspect_source(source, limit=_LOOKED_AT)
    reader = PieceReader(spec, None)
    for piece in first_pieces(spec):
        for item in reader.read(piece):
            if isinstance(item, list):
                yield from item


def _seen(
    rows: Sequence[Mapping[str, Any]], reader: _Reader, sizes: Mapping[Key, tuple[int, int]]
) -> Iterator[tuple[Key, Seen]]:
    """What is seen of the rows of one input."""
    try:
        data = reader.read(rows[0])
        media = rows[0]["media_type"]
        show: _Show = _BY_MEDIA.get(media or "", _of_text)
        yield from show(data, rows, sizes)
    except ImportError:
        yield from ((_key(row), Seen(missing=_NO_AV)) for row in rows)
    except ReadError as error:
        yield from ((_key(row), Seen(missing=error.message)) for row in rows)
    except Exception as error:  # noqa: BLE001  (decoders raise almost any class; the page says it and goes on)
        fault = f"it cannot be decoded: {type(error).__name__}"
        yield from ((_key(row), Seen(missing=fault)) for row in rows)


def _of_image(
    data: bytes, rows: Sequence[Mapping[str, Any]], sizes: Mapping[Key, tuple[int, int]]
) -> Iterator[tuple[Key, Seen]]:
    for row in rows:
        size = (row["width"], row["height"]) if row["width"] and row["height"] else sizes.get(_key(row))
        yield _key(row), Seen(picture=of_image(data, size=size, sent=row.get("orientation")))


def _of_video(
    data: bytes, rows: Sequence[Mapping[str, Any]], _: Mapping[Key, tuple[int, int]]
) -> Iterator[tuple[Key, Seen]]:
    ordered = sorted(rows, key=lambda row: row["frame_time_ms"] or 0)
    pictures = of_frames(data, [row["frame_time_ms"] or 0 for row in ordered])
    for row in ordered:
        picture = next(pictures, None)
        yield _key(row), Seen(picture=picture, missing="" if picture else "the video ends before this frame")


def _of_audio(
    data: bytes, rows: Sequence[Mapping[str, Any]], _: Mapping[Key, tuple[int, int]]
) -> Iterator[tuple[Key, Seen]]:
    sound = peaks(data)
    yield from ((_key(row), Seen(sound=sound)) for row in rows)


def _of_text(
    data: bytes, rows: Sequence[Mapping[str, Any]], _: Mapping[Key, tuple[int, int]]
) -> Iterator[tuple[Key, Seen]]:
    text = data[: 4 * _TEXT].decode("utf-8", "replace").removeprefix("\ufeff")[:_TEXT]
    yield from ((_key(row), Seen(text=text or "\u2205")) for row in rows)


_BY_MEDIA: dict[str, _Show] = {
    "image": _of_image,
    "video": _of_video,
    "audio": _of_audio,
    "text": _of_text,
}


def _key(row: Mapping[str, Any]) -> Key:
    return row["input_id"], row["output_index"]
