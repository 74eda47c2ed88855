"""The image methods other than segmentation: measures, embeddings, fingerprints, thumbnails."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Concept, Image
from .regions import fitted
from .segmentation import decode_picture

__all__ = [
    "colors",
    "describe",
    "embed_image",
    "fingerprint",
    "is_blurred",
    "picture_size",
    "sharpness",
    "thumbnail",
]

_NAMED_COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (200, 30, 30),
    "orange": (240, 140, 20),
    "yellow": (240, 220, 50),
    "green": (40, 140, 50),
    "cyan": (60, 190, 200),
    "blue": (40, 70, 190),
    "purple": (120, 50, 150),
    "pink": (240, 150, 180),
    "brown": (120, 75, 40),
}


def describe(image: Image) -> dict[str, Any]:
    """Measure a picture: size, brightness, contrast, colourfulness, sharpness, entropy and main colours."""
    picture = decode_picture(image.data)
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    counts = np.bincount(grey.ravel(), minlength=256) / grey.size
    seen = counts[counts > 0]
    blue, green, red = (picture[:, :, c].astype(np.float32) for c in range(3))
    # Colourfulness: Hasler and Süsstrunk, 2003.
    rg, yb = red - green, 0.5 * (red + green) - blue
    return {
        "width": width,
        "height": height,
        "brightness": float(grey.mean() / 255),
        "contrast": float(grey.std() / 255),
        "colourfulness": float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())),
        "sharpness": _sharpness(grey),
        "entropy_bits": float(-(seen * np.log2(seen)).sum()),
        "colors": [{"name": c.name, "share": c.value} for c in colors(image, limit=3)],
    }


def colors(image: Image, limit: int = 5) -> list[Concept]:
    """The names of a picture's colours, each with its share of the pixels, largest first."""
    small = cv2.resize(decode_picture(image.data), (64, 64), interpolation=cv2.INTER_AREA)
    lab = _lab(small.reshape(-1, 1, 3))
    named = _lab(np.array([[rgb[::-1]] for rgb in _NAMED_COLORS.values()], np.uint8))
    nearest = ((lab[:, None] - named[None]) ** 2).sum(axis=2).argmin(axis=1)
    shares = np.bincount(nearest, minlength=len(named)) / len(lab)
    ranked = sorted(zip(_NAMED_COLORS, shares.tolist(), strict=True), key=lambda pair: -pair[1])
    return [Concept(name, share) for name, share in ranked[: max(limit, 0)] if share > 0]


def embed_image(image: Image) -> np.ndarray:
    """A vector of 1092 numbers, of length 1, that is near for pictures that look alike.

    It joins a histogram of the colours and one of the edges' directions over a grid (HOG: Dalal and
    Triggs, 2005).
    """
    picture = cv2.resize(decode_picture(image.data), (64, 64), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
    color: NDArray[Any] = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    strength, angle = cv2.cartToPolar(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    cell = (np.indices((64, 64)) // 5).clip(0, 9)
    bins = (cell[0] * 10 + cell[1]) * 9 + (angle / np.pi * 9).astype(int) % 9
    edges = np.bincount(bins.ravel(), strength.ravel(), 900)
    parts = [np.sqrt(part / max(float(part.sum()), 1e-9)) for part in (color, edges)]
    return np.asarray(np.concatenate(parts) / np.sqrt(2), np.float32)


def fingerprint(image: Image) -> bytes:
    """Eight bytes that nearly duplicate pictures share but for a few bits (difference hash)."""
    grey = cv2.cvtColor(decode_picture(image.data), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def sharpness(image: Image) -> float:
    """How sharp a picture is: the variance of its Laplacian, scaled to a side of 512 pixels."""
    return _sharpness(cv2.cvtColor(decode_picture(image.data), cv2.COLOR_BGR2GRAY))


def is_blurred(image: Image, threshold: float = 100.0) -> bool:
    """Whether a picture's sharpness lies below a threshold."""
    return sharpness(image) < threshold


def picture_size(image: Image) -> tuple[int, int]:
    """Width and height of a picture in pixels, as shown."""
    height, width = decode_picture(image.data).shape[:2]
    return width, height


def thumbnail(image: Image, side: int = 128) -> Image:
    """The picture scaled to a longer side, as JPEG; a smaller one keeps its size."""
    if side < 1:
        raise ValueError(f"side={side} leaves no picture; ask for 1 pixel or more")
    picture = decode_picture(image.data)
    small = cv2.resize(picture, fitted(picture, side), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small)
    return Image(encoded.tobytes())


def _sharpness(grey: NDArray[Any]) -> float:
    scale = 512 / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _lab(pixels: NDArray[Any]) -> NDArray[Any]:
    lab: NDArray[Any] = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    return lab.reshape(-1, 3)
