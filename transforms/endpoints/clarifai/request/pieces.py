"""Cuts content into pieces for an argument that streams: text by lines, bytes by size, WAV audio by time."""

from __future__ import annotations

import io
import wave

from ....errors import EncodeError
from ....job.config import StreamConfig

__all__ = ["cut_bytes", "cut_text", "cut_wav"]


def cut_text(text: str, stream: StreamConfig) -> list[bytes]:
    """UTF-8 pieces of a text: its lines without their ends, or pieces of at most `piece_bytes`.

    A piece ends between two characters, so each one is valid UTF-8; a character longer than `piece_bytes` is
    one piece. Lines end where Python's universal newlines say; those within the text may be empty.

    >>> cut_text("one\\ntwo", StreamConfig())
    [b'one', b'two']
    """
    if stream.piece_bytes is None:
        return [line.rstrip("\n").encode() for line in io.StringIO(text, newline=None)]
    data, size, pieces, start = text.encode(), int(stream.piece_bytes), [], 0
    while start < len(data):
        end = min(start + size, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80 and end > start:
            end -= 1
        if end == start:
            end += 1
            while end < len(data) and data[end] & 0xC0 == 0x80:
                end += 1
        pieces.append(data[start:end])
        start = end
    return pieces


def cut_bytes(data: bytes, stream: StreamConfig) -> list[bytes]:
    """Pieces of `piece_bytes`, WAV files of `piece_seconds`, or all of it where nothing says where to cut.

    Raises:
        EncodeError: `piece_seconds` is asked of bytes that are not WAV audio.
    """
    if stream.piece_seconds is not None:
        return cut_wav(data, stream.piece_seconds)
    if stream.piece_bytes is None:
        return [data] if data else []
    size = int(stream.piece_bytes)
    return [data[start : start + size] for start in range(0, len(data), size)]


def cut_wav(data: bytes, seconds: float) -> list[bytes]:
    """WAV files of at most `seconds` each, in order, with the format of the whole one.

    Raises:
        EncodeError: the bytes are no WAV audio that the standard library reads (PCM).
    """
    try:
        with wave.open(io.BytesIO(data)) as source:
            parameters = source.getparams()
            frames = max(1, round(seconds * source.getframerate()))
            sound = list(iter(lambda: source.readframes(frames), b""))
    except (wave.Error, EOFError) as error:
        raise EncodeError(
            "not_wav",
            f"only WAV audio of PCM samples can be cut by seconds ({str(error) or 'the file is cut short'}); "
            "convert the audio, or set model.stream.piece_bytes in place of piece_seconds",
        ) from error
    return [_wav(parameters, piece) for piece in sound]


def _wav(parameters: wave._wave_params, sound: bytes) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(parameters.nchannels)
        writer.setsampwidth(parameters.sampwidth)
        writer.setframerate(parameters.framerate)
        writer.writeframes(sound)
    return target.getvalue()
