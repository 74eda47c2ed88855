"""Where the repository and its files lie, wherever a test stands."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CONFIGS", "PHOTOS", "ROOT", "SUPPORT", "TESTS"]

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
CONFIGS = ROOT / "configs"
PHOTOS = CONFIGS / "photos"
