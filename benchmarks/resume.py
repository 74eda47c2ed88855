"""Measures skipping one million finished inputs: at most 15 s and 500 MB, reading the manifest included.

    python benchmarks/resume.py [--inputs 1000000]

Writes the index that a finished run leaves, then reads a Parquet manifest as the job's first step does, and checks
that exactly the unfinished inputs remain. Prints one JSON line a case.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

CHANGED = 997  #: every 997th input has another version since the finished run


def lay_down(folder: Path, inputs: int) -> None:
    """Write a manifest of so many references, and an output that has finished all but the last five."""
    import dataclasses

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from bulkinfer.transforms.runs.parts import OutputSpec, index_directory
    from bulkinfer.transforms.runs.record import begin_run, write_run
    from bulkinfer.transforms.tables.files import write_parquet
    from bulkinfer.transforms.tables.input_index import InputIndex, hash_ids, version_code

    uris = [f"s3://bucket/photos/2026/{number % 365:03d}/{number:012d}.jpg" for number in range(inputs)]
    from bulkinfer.transforms.content.versions import GIVEN

    etags = [f"{number:032x}" for number in range(inputs)]
    versions = [GIVEN + etag for etag in etags]
    pq.write_table(pa.table({"uri": uris, "etag": etags}), folder / "manifest.parquet")
    spec = OutputSpec(str(folder / "out"), "20260131T120000Z-000001", fingerprint="one")
    record = begin_run(spec.store(), spec)
    done = inputs - 5
    codes = np.array([version_code(version) for version in versions[:done]], np.uint64)
    codes[::CHANGED] += np.uint64(1)
    outcomes = np.where(np.arange(done) % 100 == 0, 0, -1).astype(np.int16)
    index = InputIndex(hash_ids(uris[:done]), codes, outcomes, ["empty"], np.zeros(len(codes), np.uint64))
    path = f"{index_directory(spec.run_id)}/part-00000.parquet"
    write_parquet(spec.store(), path, index.to_table(), 1 << 40)
    write_run(spec.store(), dataclasses.replace(record, state="committed", counts={"inputs": done}))


def resume(folder: str, inputs: int, through_beam: bool, answer: Any) -> None:
    """Read the manifest; puts seconds, CPU, peak memory and the remaining inputs into `answer`."""
    from bulkinfer.transforms.content.versions import GIVEN
    from bulkinfer.transforms.job.config import ColumnsConfig, SourceConfig
    from bulkinfer.transforms.records import Reference
    from bulkinfer.transforms.runs.parts import OutputSpec
    from bulkinfer.transforms.sources.source import inspect_source
    from bulkinfer.transforms.tables.completed import CompletedSpec

    started = time.perf_counter()
    output = OutputSpec(f"{folder}/out", "20260131T130000Z-000002", fingerprint="one")
    completed = CompletedSpec.of(output)
    columns = ColumnsConfig(uri="uri", version="etag")
    source = SourceConfig(manifest=f"{folder}/manifest.parquet", media="image", columns=columns)
    left: list[str] = []
    if through_beam:
        import apache_beam as beam
        from bulkinfer.transforms.sources.read_references import ReadReferences

        spec = inspect_source(source, frozenset(), None)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            read = pipeline | ReadReferences(spec, completed=completed)
            names = read.references | beam.Map(lambda reference: reference.input_id)
            names | beam.io.WriteToText(f"{folder}/left")
        left = [line for path in Path(folder).glob("left*") for line in path.read_text().splitlines()]
    else:
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(f"{folder}/manifest.parquet").iter_batches(256):
            pairs = zip(batch["uri"].to_pylist(), batch["etag"].to_pylist(), strict=True)
            references = [Reference(uri, uri, "image", GIVEN + etag) for uri, etag in pairs]
            left += [reference.input_id for reference in completed.remaining(references)]
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((seconds, time.process_time(), peak, sorted(left)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    inputs = parser.parse_args().inputs
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        writer = processes.Process(target=lay_down, args=(Path(folder), inputs))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
        expected = {*range(0, inputs - 5, CHANGED), *range(inputs - 5, inputs)}
        for through_beam in (False, True):
            answer = processes.Queue()
            process = processes.Process(target=resume, args=(folder, inputs, through_beam, answer))
            process.start()
            seconds, cpu, peak, left = answer.get(timeout=600)
            process.join()
            found = {int(name.rpartition("/")[2].removesuffix(".jpg")) for name in left}
            assert found == expected, "the inputs that came through are not those that have to be done"
            figures = {
                "case": "skip finished, pipeline" if through_beam else "skip finished, plain",
                "inputs": inputs,
                "seconds": round(seconds, 2),
                "cpu_s": round(cpu, 2),  # steadier than the clock on a shared machine
                "peak_mb": round(peak),
                "left": len(left),
                "claim": "<= 15 s, <= 500 MB",
                "holds": inputs > 1_000_000 or (seconds <= 15 and peak <= 500),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
