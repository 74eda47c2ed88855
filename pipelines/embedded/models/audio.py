"""The audio methods: loudness of a recording, whole or as it comes in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..types import Audio

__all__ = ["levels", "measure_audio"]

SILENCE_DBFS = -50.0
_FLOOR = 1e-6  # -120 dBFS: what digital silence is given


def measure_audio(audio: Audio) -> dict[str, Any]:
    """Measure a recording: length, rate, channels, loudness and peak in dBFS, and the share of silence."""
    samples, rate = _decode(audio.data)
    mono = samples.mean(axis=0)
    windows = [window for window in np.array_split(mono, max(1, len(mono) * 10 // rate)) if len(window)]
    quiet = [_dbfs(window) < SILENCE_DBFS for window in windows]
    return {
        "seconds": samples.shape[1] / rate,
        "sample_rate": rate,
        "channels": samples.shape[0],
        "rms_dbfs": _dbfs(mono),
        "peak_dbfs": float(20 * np.log10(max(float(np.abs(samples).max()), _FLOOR))),
        "silence": sum(quiet) / len(quiet),
    }


def levels(audio: Iterator[Audio]) -> Iterator[float]:
    """The loudness of each piece of a recording in dBFS, as the pieces come in; each is a file of its own."""
    for piece in audio:
        yield _dbfs(_decode(piece.data)[0].mean(axis=0))


def _decode(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Samples, shape (channels, samples), -1 to 1, and samples a second."""
    if not data:
        raise ValueError("Audio has no bytes")
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise ValueError("the file holds no audio")
            rate = int(container.streams.audio[0].rate)
            resampler = av.AudioResampler(format="fltp")
            frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
            frames += resampler.resample(None)
    except av.FFmpegError as error:
        raise ValueError(f"cannot decode the audio: {error}") from error
    if not frames:
        raise ValueError("the file holds no audio")
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1), rate


def _dbfs(samples: NDArray[np.float32]) -> float:
    rms = float(np.sqrt((samples.astype(np.float64) ** 2).mean())) if len(samples) else 0.0
    return float(20 * np.log10(max(rms, _FLOOR)))
