"""Reads the inputs' content from where they came, frames of videos as pictures, and puts it beside the labels."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..content.fetch import Fetcher
from ..errors import BulkinferError, ConfigError, ReadError
from ..job.config import SourceConfig
from ..records import Reference
from ..sources.pieces import PieceReader, first_pieces
from ..sources.source import inspect_source
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.faults import redact
from ..storage.filesystems import local_path, resolve
from ..storage.references import masked
from .reading.items import Picture

__all__ = ["MODES", "NOWHERE", "Contents", "Images", "Origin"]

MODES = ("copy", "link", "none")
_UNREAD = "inputs that cannot be read, whose file is not there"

_GIVEN_UP_AFTER = 8  #: inputs in a row that could not be read, while none could


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where an output's inputs come from.

    Attributes:
        source: of the job; None where no record tells it.
        folder: in which the job was started; relative references mean files there.
    """

    source: SourceConfig | None = None
    folder: str = ""


#: Of which nothing is known: the tables' own references are read as they stand.
NOWHERE = Origin()


class Contents:
    """The content of inputs.

    Args:
        origin: where it comes from.
        scratch: a folder for what the source itself holds.
    """

    def __init__(self, origin: Origin, scratch: Path) -> None:
        source, self._origin, self._scratch = origin.source, origin, scratch
        manifest = (source.manifest or source.table) if source is not None else None
        self._allowed = EVERYTHING
        if source is not None and manifest is not None:
            self._allowed = Allowed.of(source.allow, manifest)
        self._fetcher = Fetcher(
            max_bytes=int(source.max_bytes) if source is not None else 128_000_000,
            storage=source.storage if source is not None else {},
            max_pixels=None,
            allowed=self._allowed,
        )
        self._hidden: Mapping[str, str | Path] | None = None
        self._fault = ""
        self._video: tuple[str, Iterator[tuple[int, Any]]] | None = None
        self._ahead: tuple[int, Any] | None = None
        self._failed, self._had = 0, False

    def read(self, picture: Picture) -> bytes:
        """The content of an input; of a frame of a video a JPEG.

        Raises:
            ReadError: it cannot be had.
            ConfigError: the first ones cannot be had, so that the rest will not, either; or PyAV is not installed.
        """
        try:
            frame = picture.frame is not None and picture.media_type == "video"
            data = self._frame(picture) if frame else self._bytes(picture)
        except ReadError as error:
            self._failed += 1
            if not self._had and self._failed >= _GIVEN_UP_AFTER:
                raise ConfigError(
                    f"--images: the first {self._failed} inputs cannot be read ({error.message}); name the job file in "
                    "place of the output, which says how its source is reached, or leave them out by --images none"
                ) from None
            raise
        self._had = True
        return data

    def local(self, picture: Picture) -> Path | None:
        """The file of an input on this machine; None where it is no file of its own."""
        if picture.frame is not None or _is_hidden(picture.uri):
            return None
        path = local_path(resolve(picture.uri or "", self._origin.folder))
        return Path(path).absolute() if path is not None and Path(path).is_file() else None

    def _bytes(self, picture: Picture) -> bytes:
        uri = picture.uri
        if _is_hidden(uri):
            if self._hidden is None:
                self._hidden = self._looked_up()
            found = self._hidden.get(picture.input_id)
            if found is None:
                raise ReadError("hidden", f"only the source can tell it, and {self._fault}")
            if isinstance(found, Path):
                return found.read_bytes()
            uri = found
        self._allowed.check(uri or "")
        return self._fetcher.fetch(resolve(uri or "", self._origin.folder)).data

    def _frame(self, picture: Picture) -> bytes:
        """A frame of a video; frames are asked for in their order, so that a video is decoded once."""
        if (
            self._video is None
            or self._video[0] != picture.input_id
            or (self._ahead is not None and self._ahead[0] > (picture.time_ms or 0))
        ):
            path = self.local(picture._replace(frame=None))
            self._video = picture.input_id, _frames(path or self._bytes(picture))
            self._ahead = None
        wanted = picture.time_ms or 0
        frame = self._ahead
        while frame is None or frame[0] < wanted:
            frame = next(self._video[1], None)
            if frame is None:
                raise ReadError("no_frame", f"{picture.name}: the video ends before this frame")
        self._ahead = frame
        out = io.BytesIO()
        frame[1].to_image().save(out, "JPEG", quality=95)
        return out.getvalue()

    def _looked_up(self) -> dict[str, str | Path]:
        """What the tables do not tell of inputs: references with their secrets, and content that the source holds."""
        source = self._origin.source
        found: dict[str, str | Path] = {}
        self._fault = "no run's record names one"
        if source is None:
            return {}
        self._fault = "it does not name it"
        try:
            for reference in _references(_without_extras(source, self._origin.folder)):
                if reference.inline is not None:
                    found[reference.input_id] = self._held(reference)
                elif _is_hidden(masked(reference.uri or "")):
                    found[reference.input_id] = reference.uri or ""
        except (BulkinferError, OSError) as error:
            self._fault = f"it cannot be read: {redact(str(error), source.storage)}"
        return found

    def _held(self, reference: Reference) -> Path:
        inline = reference.inline or b""
        name = hashlib.blake2b(
            reference.input_id.encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest()
        path = self._scratch / "contents" / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(inline.encode() if isinstance(inline, str) else bytes(inline))
        return path


class Images:
    """Puts the pictures of an export to their places.

    Args:
        mode: copy | link | none; a frame of a video, and what is no file of this machine, is copied in place of a link.
        contents: of the inputs.
        notes: where it is counted what could not be read.
    """

    def __init__(self, mode: str, contents: Contents, notes: Counter[str]) -> None:
        self.mode, self._contents, self._notes = mode, contents, notes

    def put(self, picture: Picture, path: Path) -> None:
        """Put a picture there, if pictures are put anywhere.

        Raises:
            ConfigError: no picture can be read.
        """
        if self.mode == "none":
            return
        file = self._contents.local(picture) if self.mode == "link" else None
        data = None if file is not None else self.read(picture)
        if file is None and data is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if file is not None:
            path.symlink_to(file)
        elif data is not None:
            path.write_bytes(data)

    def read(self, picture: Picture) -> bytes | None:
        """The content of an input; None where it cannot be read, which is counted.

        Raises:
            ConfigError: no input can be read.
        """
        try:
            return self._contents.read(picture)
        except ReadError:
            self._notes[_UNREAD] += 1
            return None


def _is_hidden(uri: str | None) -> bool:
    """Whether a table's reference is not the one to read: it has none, a secret in it is masked, or it is a hash."""
    return uri is None or "***" in uri or uri.startswith("data:")


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
    spec = inspect_source(source)
    reader = PieceReader(spec, None)
    for piece in first_pieces(spec):
        for item in reader.read(piece):
            if isinstance(item, list):
                yield from item


def _frames(source: Path | bytes) -> Iterator[tuple[int, Any]]:
    """The frames of a video with their times in milliseconds."""
    try:
        import av  # noqa: PLC0415  (an extra)
    except ImportError:
        raise ConfigError(
            "--images copy: frames of a video need PyAV; install it, as by pip install 'bulkinfer[video]'"
        ) from None
    try:
        with av.open(str(source) if isinstance(source, Path) else io.BytesIO(source), "r") as container:
            for frame in container.decode(container.streams.video[0]):
                yield round(1000 * (frame.time or 0.0)), frame
    except (av.error.FFmpegError, IndexError) as error:
        raise ReadError("undecodable", f"the video cannot be decoded: {error}") from None
