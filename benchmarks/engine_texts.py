"""Measures a whole job over 40,000 short texts against a bare client: at least 0.97 of its throughput.

The endpoint has 16 slots of 50 ms; batches of 32. Times are from the first call's arrival to the last answer as the
endpoint saw them, so the job's include its reading and writing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from endpoint import arguments, bare_client, report, run_job, running, text_manifest, text_of, text_source


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    count = int(40_000 * options.scale)
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running() as server:
        folder = Path(name)
        manifest = text_manifest(folder, count)
        for in_flight in (16, 24, 32):
            server.set(places=16, base_ms=50)
            bare = bare_client(server, manifest, kind="text", in_flight=in_flight, batch=32)
            server.set(places=16, base_ms=50)
            job = run_job(
                server, {"source": text_source(manifest), "calls": {"in_flight": in_flight}}, folder
            )
            assert job.summary["predictions"] == count, job.summary
            assert set(job.column("text")) == {f"ok {text_of(number)}" for number in range(count)}
            bare_s, job_s = count / bare["stats"]["seconds"], count / job.stats["seconds"]
            report(
                "texts",
                inputs=count,
                in_flight=in_flight,
                bare_inputs_s=bare_s,
                job_inputs_s=job_s,
                of_bare=job_s / bare_s,
                of_ideal=job_s / (16 * 32 / 0.05),
                seconds=job.summary["seconds"],
                peak_mb=job.peak_mb,
            )


if __name__ == "__main__":
    main()
