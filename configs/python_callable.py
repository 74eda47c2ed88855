"""What `python-callable.yaml` calls: a class that finds the bright parts of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np


class BrightParts:
    """Separates what is bright in a picture from what is dark, by Otsu's threshold.

    Args:
        least: share of the picture below which a bright part counts as none.
    """

    version = "1"  # goes into the tables; a job asks before it replaces the answers of another version

    def __init__(self, least: float = 0.01) -> None:
        self.least = least  # a real model would load its weights here

    def __call__(self, image: list[np.ndarray]) -> list[dict[str, Any]]:
        """Answer for each picture: arrays of height x width x 3, as the annotation asks for."""
        return [self.find(picture) for picture in image]

    def find(self, picture: np.ndarray) -> dict[str, Any]:
        grey = picture.mean(axis=2)
        threshold = otsu(grey)
        mask = grey > threshold
        share = float(mask.mean())
        regions = [{"mask": mask, "label": "bright", "score": share}] if share >= self.least else []
        label = "bright" if share > 0.5 else "dark"
        return {"label": label, "score": max(share, 1 - share), "regions": regions, "threshold": threshold}


def otsu(grey: np.ndarray) -> float:
    """The threshold that parts the grey values into the two groups that differ most."""
    counts, edges = np.histogram(grey, 256, (0, 256))
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * edges[:-1]).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[np.nan_to_num(between).argmax()])
