"""Cutting: nothing is lost, pieces keep their bound, and each one can be read alone."""

from __future__ import annotations

import io
import wave

import pytest
from bulkinfer.transforms.endpoints.clarifai.request.pieces import cut_bytes, cut_text, cut_wav
from bulkinfer.transforms.errors import EncodeError
from bulkinfer.transforms.job.config import StreamConfig
from hypothesis import given
from hypothesis import strategies as st


def wav(frames: int, rate: int = 8000, channels: int = 2) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(index % 251 for index in range(frames * 2 * channels)))
    return target.getvalue()


def sound(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as reader:
        return reader.readframes(reader.getnframes())


@given(st.text(), st.integers(1, 9))
def test_text_pieces_are_utf8_within_the_bound_and_join_to_the_text(text, size):
    pieces = cut_text(text, StreamConfig(piece_bytes=size))

    assert b"".join(pieces) == text.encode()
    for piece in pieces:
        assert len(piece.decode()) == 1 or 0 < len(piece) <= size


def test_text_without_a_size_is_cut_into_lines_without_their_ends():
    assert cut_text("one\r\n\ntwo\rthree\u2028x\n", StreamConfig()) == [
        b"one",
        b"",
        b"two",
        "three\u2028x".encode(),
    ]


@given(st.binary(), st.integers(1, 9))
def test_byte_pieces_join_to_the_bytes(data, size):
    pieces = cut_bytes(data, StreamConfig(piece_bytes=size))

    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= size for piece in pieces)


def test_bytes_without_a_size_are_one_piece():
    assert cut_bytes(b"abc", StreamConfig()) == [b"abc"]
    assert cut_bytes(b"", StreamConfig()) == []


@given(st.integers(0, 400), st.floats(0.001, 0.1))
def test_wav_pieces_are_wav_files_that_join_to_the_sound(frames, seconds):
    whole = wav(frames)

    pieces = cut_wav(whole, seconds)

    assert b"".join(map(sound, pieces)) == sound(whole)
    for piece in pieces:
        with wave.open(io.BytesIO(piece)) as reader:
            assert (reader.getnchannels(), reader.getframerate()) == (2, 8000)
            assert reader.getnframes() <= max(1, round(seconds * 8000))


@pytest.mark.parametrize("data", [b"ID3 mp3", b"", b"RIFF\0\0\0\0WAVE"])
def test_other_audio_cannot_be_cut_by_seconds(data):
    with pytest.raises(
        EncodeError, match=r"only WAV audio of PCM samples can be cut by seconds .*piece_bytes"
    ) as error:
        cut_bytes(data, StreamConfig(piece_seconds=1))

    assert error.value.error_type == "not_wav"
