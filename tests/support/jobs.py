"""Runs the `bulkinfer` command in a process of its own, and reads the tables that it wrote."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import yaml
from PIL import Image, ImageDraw

__all__ = ["COMMAND", "Ran", "photo", "rows", "run_cli", "write_job"]

COMMAND = [sys.executable, "-m", "bulkinfer.pipelines"]


@dataclasses.dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def run_cli(
    *arguments: str | os.PathLike[str], cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> Ran:
    """Run `bulkinfer ARGUMENTS` in `cwd`."""
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


def write_job(folder: Path, name: str = "job.yaml", **sections: Any) -> Path:
    """Write a job file of these sections; `output.uri` is `out` unless given."""
    sections.setdefault("output", {"uri": "out"})
    path = folder / name
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return path


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """Read all rows of a table, sorted by input and output index; empty when the table was never written."""
    path = folder / table
    if not path.is_dir() or not any(path.rglob("*.parquet")):
        return []
    read: pa.Table = ds.dataset(path, partitioning="hive").to_table()
    keys = [("input_id", "ascending")]
    keys += [(name, "ascending") for name in ("output_index", "region_index") if name in read.column_names]
    return read.sort_by(keys).to_pylist()


def photo(seed: int = 0, size: tuple[int, int] = (96, 72)) -> bytes:
    """Make a JPEG of a bright disc on a noisy dark ground."""
    noise = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    x, y = 20 + seed % 40, 36
    ImageDraw.Draw(picture).ellipse((x - 15, y - 15, x + 15, y + 15), fill=(240, 200, 40))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
