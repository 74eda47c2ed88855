"""Helpers of the `engine_*` and `fleet` benchmarks: a capacity-limited endpoint, a bare client, whole jobs.

Each job runs in a process of its own, whose CPU time and peak memory are measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.fault_server import FaultServer, running  # noqa: E402  (the tests' server, found by the line above)

__all__ = [
    "MODEL_URL",
    "JobRun",
    "arguments",
    "bare_client",
    "image_files",
    "report",
    "run_job",
    "running",
    "text_manifest",
    "text_of",
    "text_source",
]

MODEL_URL = "https://clarifai.com/acme/lab/models/echo"


@dataclasses.dataclass
class JobRun:
    """A finished `bulkinfer run`.

    Attributes:
        summary: what `--json` printed.
        cpu_s: CPU seconds of its processes, start-up included.
        peak_mb: most resident memory of its largest process.
        output: the tables' directory.
        stats: the endpoint's figures of its calls.
    """

    summary: dict[str, Any]
    cpu_s: float
    peak_mb: float
    output: Path
    stats: dict[str, Any]

    def column(self, name: str, table: str = "predictions") -> list[Any]:
        """One column of a table."""
        values: list[Any] = (
            ds.dataset(self.output / table, format="parquet").to_table([name])[name].to_pylist()
        )
        return values


def run_job(server: FaultServer, job: dict[str, Any], folder: Path, *, code: int = 0) -> JobRun:
    """Run a job file in a process of its own, as a user would.

    Raises:
        RuntimeError: it ended with another exit code than `code`.
    """
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    job = {**job, "output": {"uri": str(output), **job.get("output", {})}}
    job["model"] = {"url": MODEL_URL, "endpoint": server.endpoint, **job.get("model", {})}
    path = output.parent / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    with (output.parent / "stdout").open("w+") as stdout, (output.parent / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "bulkinfer.pipelines", "run", str(path), "--json"],
            stdout=stdout,
            stderr=stderr,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode != code:
            raise RuntimeError(f"exit code {process.returncode}: {stderr.read()[-3000:]}")
        summary = json.loads(stdout.read())
    return JobRun(summary, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output, server.stats())


def bare_client(
    server: FaultServer, manifest: Path, *, kind: str, in_flight: int, batch: int
) -> dict[str, Any]:
    """Run the bare `grpc.aio` client over the same inputs, in a process of its own."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("bare_client.py")),
        server.endpoint,
        str(manifest),
    ]
    command += ["--kind", kind, "--in-flight", str(in_flight), "--batch", str(batch)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {**json.loads(answer), "stats": server.stats()}


def text_manifest(folder: Path, count: int) -> Path:
    """Write a CSV with so many short texts."""
    path = folder / f"texts-{count}.csv"
    with path.open("w") as file:
        file.write("id,body\n")
        file.writelines(f"t{n:06d},{text_of(n)}\n" for n in range(count))
    return path


def text_of(number: int) -> str:
    """The n-th text."""
    return f"a short text with the number {number} to be labelled"


def text_source(manifest: Path) -> dict[str, Any]:
    """The `source` of a job over `text_manifest`."""
    return {"manifest": str(manifest), "media": "text", "columns": {"content": "body", "id": "id"}}


def image_files(folder: Path, count: int, size: int = 100_000) -> Path:
    """Make a folder with so many JPEG files of that size, no two alike."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (300, 340, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=75)
    picture = buffer.getvalue()
    assert len(picture) < size - 16, len(picture)
    # Readers ignore bytes after the end marker, so one picture makes files that all differ.
    padding = bytes(size - len(picture) - 8)
    target = folder / f"images-{count}"
    target.mkdir()
    for number in range(count):
        (target / f"{number:06d}.jpg").write_bytes(picture + padding + f"{number:08d}".encode())
    return target


def arguments(description: str | None) -> argparse.Namespace:
    """Parse the options of every script: `--scale` and `--folder`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the inputs, for a shorter run")
    parser.add_argument(
        "--folder", type=Path, default=None, help="for inputs and tables; default: a temporary one"
    )
    return parser.parse_args()


def report(case: str, **figures: Any) -> None:
    """Print one JSON line."""
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"case": case, **rounded, "at": time.strftime("%H:%M:%S")}), flush=True)
