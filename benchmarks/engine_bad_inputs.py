"""Measures the further calls that bad inputs cost, and checks that every good input gets its row.

- one bad input among 128 in one batch: at most 15 further calls, 127 rows.
- 1 % bad inputs in 10,000, batches of 32: every good input gets a row; the further calls are reported.
- everything bad, with stop.error_ratio at its default: calls until the job stops.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from endpoint import arguments, report, run_job, running, text_manifest, text_of, text_source

FAULT = {"kind": "status", "code": 10020, "details": "cannot be read"}


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running() as server:
        folder = Path(name)

        def run(count: int, bad: set[int], size: int, code: int, **more: Any) -> Any:
            server.set(places=16, base_ms=20, inputs={text_of(number): FAULT for number in bad})
            source = text_source(text_manifest(folder, count))
            return run_job(
                server, {"source": source, "calls": {"batch_size": size}, **more}, folder, code=code
            )

        for position in (0, 77, 127):
            job = run(128, {position}, 128, 3)
            assert job.summary["predictions"] == 127
            assert job.column("input_id", "errors") == [f"t{position:06d}"]
            report("one bad of 128", position=position, further_calls=job.stats["calls"] - 1)

        count = int(10_000 * options.scale)
        bad = set(range(0, count, 100))
        job = run(count, bad, 32, 3)
        assert sorted(job.column("input_id", "errors")) == [f"t{number:06d}" for number in sorted(bad)]
        assert job.summary["predictions"] == count - len(bad)
        calls = -(-count // 32)
        further = job.stats["calls"] - calls
        report("1 % bad", inputs=count, calls=calls, further_calls=further, for_each=further / len(bad))

        job = run(count, set(range(count)), 32, 4)
        report("all bad", errors=job.summary["errors"], calls=job.stats["calls"])


if __name__ == "__main__":
    main()
