"""Contents as JSON of the API has them: `data:` URLs for pictures, Base64 for recordings."""

from __future__ import annotations

import base64
import dataclasses

from ....errors import EncodeError
from ....records import Content
from ...arguments.sources import FromColumn, column_value, content_bytes

__all__ = ["AsAudio", "AsBase64", "AsDataUrl", "media_type"]

#: First bytes by media type (https://mimesniff.spec.whatwg.org); a `?` stands for any byte.
_MAGIC = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF????WEBP",
    "image/bmp": b"BM",
    "image/tiff": b"II*\0",
    "audio/wav": b"RIFF????WAVE",
    "audio/flac": b"fLaC",
    "audio/ogg": b"OggS",
    "audio/mpeg": b"ID3",
    "application/pdf": b"%PDF-",
}


def media_type(data: bytes) -> str | None:
    """The media type that the first bytes tell; None where they tell none that is known.

    >>> media_type(b"GIF89a...")
    'image/gif'
    """
    for name, magic in _MAGIC.items():
        head = data[: len(magic)]
        if len(head) == len(magic) and all(
            want in (got, 0x3F) for got, want in zip(head, magic, strict=True)
        ):
            return name
    if data[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"):
        return "audio/mpeg"
    return "audio/mp4" if data[4:11] == b"ftypM4A" else "video/mp4" if data[4:8] == b"ftyp" else None


@dataclasses.dataclass(frozen=True)
class _Bytes:
    """The input's content, or what a column refers to.

    Attributes:
        column: None for the content.
    """

    column: FromColumn | None = None

    def data(self, content: Content) -> bytes:
        """The bytes.

        Raises:
            EncodeError: there are none.
        """
        if self.column is None:
            return content_bytes(content)
        value = column_value(self.column, content)
        if not isinstance(value, bytes):
            raise EncodeError(
                "null_column", f"column {self.column.name!r} is null; fill it, or leave the input out"
            )
        return value


class AsDataUrl(_Bytes):
    """A `data:` URL of the bytes, with their own media type (RFC 2397)."""

    def render(self, content: Content) -> str:
        """The URL.

        Raises:
            EncodeError: there are no bytes, or they are of no format that is known.
        """
        data = self.data(content)
        name = media_type(data)
        if name is None:
            raise EncodeError(
                "unknown_format",
                f"the first bytes ({data[:8].hex()}) are of no known picture, recording or document; convert it",
            )
        return f"data:{name};base64,{base64.b64encode(data).decode()}"


class AsBase64(_Bytes):
    """The bytes in Base64, as `input_audio` has them."""

    def render(self, content: Content) -> str:
        """The text.

        Raises:
            EncodeError: there are no bytes.
        """
        return base64.b64encode(self.data(content)).decode()


class AsAudio(_Bytes):
    """The value of `input_audio`: Base64 and the format, wav or mp3, https://platform.openai.com/docs/guides/audio."""

    def render(self, content: Content) -> dict[str, str]:
        """The object.

        Raises:
            EncodeError: there are no bytes, or they are in another format.
        """
        data = self.data(content)
        form = {"audio/wav": "wav", "audio/mpeg": "mp3"}.get(media_type(data) or "")
        if form is None:
            raise EncodeError(
                "unknown_format", "the recording is neither WAV nor MP3, which the API takes; convert it"
            )
        return {"data": base64.b64encode(data).decode(), "format": form}
