"""Measures memory while writing 500 partitions, file sizes in a large run, and the cost of a commit.

    python benchmarks/tables.py [--inputs 200000] [--file-mb 8]

Each case stages rows as a worker does, commits them, and checks that every row is there once. Prints one JSON line
a case. File sizes are scaled down by `file_bytes`: the measure is how close files come to it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any


def rows(inputs: int, partitions: int) -> Any:
    """Yield predictions whose texts compress about as real answers, in a random order of partitions."""
    from bulkinfer.transforms.records import Prediction, Reference
    from clarifai_grpc.grpc.api import resources_pb2

    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5000)]
    for number in range(inputs):
        output = resources_pb2.Output()
        output.status.code = 10000
        output.data.text.raw = " ".join(chance.choices(words, k=60))
        name = f"s3://bucket/{number:09d}.txt"
        city = f"city-{chance.randrange(partitions):04d}"
        yield Prediction(Reference(name, name, "text", "v1", columns={"city": city}), (output,))


def write(folder: str, inputs: int, partitions: int, file_bytes: int, part_every: int, answer: Any) -> None:
    """Stage and commit rows; puts the seconds and the peak memory of both into `answer`."""
    import pyarrow as pa
    from bulkinfer.transforms.runs.parts import OutputSpec
    from bulkinfer.transforms.runs.record import begin_run
    from bulkinfer.transforms.tables.commit.commit import commit_run
    from bulkinfer.transforms.tables.staging.part_writer import PartWriter

    spec = OutputSpec(
        folder,
        "20260131T120000Z-000001",
        keep_schema=pa.schema([("city", pa.string())]),
        partition_by=("city",) if partitions > 1 else (),
        file_bytes=file_bytes,
        part_seconds=3600,
    )
    begin_run(spec.store(), spec)
    started = time.perf_counter()
    writer = PartWriter(spec)
    for number, row in enumerate(rows(inputs, partitions), 1):
        writer.add(row)
        if part_every and number % part_every == 0:
            writer.flush()
    writer.flush()
    parts = len(writer.take())
    writer.close()
    staged = time.perf_counter() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    result = commit_run(spec.store(), spec.run_id)
    committed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((staged, committed, before, peak, parts, result.predictions))


def check(folder: str, inputs: int) -> list[int]:
    """Check that every id is there once; returns the sizes of the visible files."""
    import pyarrow.parquet as pq

    files = sorted(Path(folder, "predictions").rglob("*.parquet"))
    seen: set[str] = set()
    count = 0
    for file in files:
        ids = pq.read_table(file, columns=["input_id"], partitioning=None)["input_id"].to_pylist()
        seen.update(ids)
        count += len(ids)
    assert count == len(seen) == inputs, f"{count} rows of {len(seen)} inputs, not {inputs}"
    return [file.stat().st_size for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--file-mb", type=float, default=3)
    options = parser.parse_args()
    file_bytes = int(options.file_mb * 1_000_000)
    processes = multiprocessing.get_context("spawn")
    cases = [
        ("500 partitions", 500, 128_000_000, 20_000),
        ("parts by size", 1, file_bytes, 0),
        ("small parts by time", 1, file_bytes, 1500),
        ("5 partitions, many files each", 5, file_bytes // 2, 20_000),
    ]
    for name, partitions, size, part_every in cases:
        with tempfile.TemporaryDirectory() as folder:
            answer = processes.Queue()
            process = processes.Process(
                target=write, args=(folder, options.inputs, partitions, size, part_every, answer)
            )
            process.start()
            staged, committed, before, peak, parts, predictions = answer.get(timeout=900)
            process.join()
            assert predictions == options.inputs
            sizes = check(folder, options.inputs)
            near = sum(0.75 * size <= one <= 1.25 * size for one in sizes) / len(sizes)
            memory = partitions == 500
            figures = {
                "case": name,
                "inputs": options.inputs,
                "parts": parts,
                "files": len(sizes),
                "file_mb": size / 1e6,
                "total_mb": round(sum(sizes) / 1e6, 1),
                "near": round(near, 3),
                "stage_s": round(staged, 1),
                "commit_s": round(committed, 1),
                "stage_peak_mb": round(before),
                "peak_mb": round(peak),
                "claim": "<= 500 MB" if memory else ">= 0.9 of files within 25 % of file_bytes",
                "holds": peak <= 500 if memory else near >= 0.9,
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
