"""Measures whole jobs over images of 100 kB on disk: throughput, CPU an image, and peak memory.

- 8,000 files, an endpoint of 16 slots of 500 ms, batches of 32: at least 0.95 of the ideal 1,024 a second.
- CPU of our process for one image, from file to table row: at most 150 us. It is the growth from 2,000 to 20,000 images
  at an endpoint that answers at once, so that start-up does not count; the bare client's sending stands beside it.
- Peak memory over 20,000 images: at most 500 MB, and within 10 % of that over 2,000.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from endpoint import JobRun, arguments, bare_client, image_files, report, run_job, running

SIZE = 100_000


def job_over(folder: Path, **calls: Any) -> dict[str, Any]:
    """The job over a folder of images."""
    return {"source": {"files": f"{folder}/*.jpg"}, "model": {"method": "measure"}, "calls": calls}


def check(job: JobRun, count: int) -> None:
    """Every image has its own row with the number of bytes that the model received."""
    assert job.summary["predictions"] == count, job.summary
    assert job.column("int_value") == [SIZE] * count
    assert len(set(job.column("input_id"))) == count


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    few, some, many = (int(count * options.scale) for count in (2_000, 8_000, 20_000))
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running() as server:
        folder = Path(name)
        images = {count: image_files(folder, count, SIZE) for count in (few, some, many)}
        ideal = 16 * 32 / 0.5
        for in_flight in (16, 20):
            server.set(places=16, base_ms=500)
            bare = bare_client(server, images[some], kind="image", in_flight=in_flight, batch=32)
            server.set(places=16, base_ms=500)
            job = run_job(server, job_over(images[some], in_flight=in_flight), folder)
            check(job, some)
            rate = some / job.stats["seconds"]
            report(
                "images",
                inputs=some,
                in_flight=in_flight,
                inputs_s=rate,
                of_ideal=rate / ideal,
                bare_of_ideal=some / bare["stats"]["seconds"] / ideal,
                peak_mb=job.peak_mb,
            )
        runs = {}
        for count in (few, many):
            server.set(places=16, base_ms=0)
            runs[count] = run_job(server, job_over(images[count]), folder)
            check(runs[count], count)
        server.set(places=16, base_ms=0)
        bare = bare_client(server, images[some], kind="image", in_flight=16, batch=32)
        report(
            "cpu of an image",
            cpu_us=(runs[many].cpu_s - runs[few].cpu_s) / (many - few) * 1e6,
            bare_cpu_us=bare["cpu_us"],
            inputs_s=many / runs[many].stats["seconds"],
        )
        for count in (few, many):
            server.set(places=16, base_ms=250)  # slow enough that all queues fill up in both runs
            runs[count] = run_job(server, job_over(images[count]), folder)
            check(runs[count], count)
        report(
            "peak memory",
            **{f"peak_mb_{count}": run.peak_mb for count, run in runs.items()},
            growth=runs[many].peak_mb / runs[few].peak_mb - 1,
        )


if __name__ == "__main__":
    main()
