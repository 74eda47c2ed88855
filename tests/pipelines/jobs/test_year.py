"""A year of nights: 365 runs of one job over 2,000 inputs, of which some come, change, vanish and fail."""

from __future__ import annotations

import json
import logging
import random
import statistics
import time

import pytest
from bulkinfer.pipelines.jobs.bulk_inference import RunOptions
from bulkinfer.pipelines.jobs.kinds import run_any
from bulkinfer.transforms.job.job_file import load_job
from support.bad_days import BAD_INPUT, Job
from support.fault_server import running
from support.jobs import rows


class Year:
    """A scheduled job that drops what vanished, and a model of what it should have done."""

    def __init__(self, folder, server, inputs):
        columns = {"content": "body", "id": "id"}
        source = {"manifest": "refs.jsonl", "media": "text", "columns": columns, "vanished": "drop"}
        self.job = Job(folder, server, base_ms=1, batch=64, in_flight=8, sections={"source": source})
        path = self.job.write(job="scheduled-labeling")
        self.file = load_job(
            path, [f"output.uri={folder / 'out'}", f"source.manifest={folder / 'refs.jsonl'}"]
        )
        self.job.serve(inputs={f"bad {n}": {"kind": "output", "code": BAD_INPUT} for n in range(1000)})
        self.texts = {f"n{n}": f"text {n}" for n in range(inputs)}
        self.chance, self.count = random.Random(5), inputs

    def change(self):
        """Five inputs more, three with another text, five gone; one of the new ones is bad."""
        for name in self.chance.sample(sorted(self.texts), 5):
            del self.texts[name]
        good = sorted(name for name, text in self.texts.items() if "bad" not in text)
        for name in self.chance.sample(good, 3):
            self.texts[name] += "."
        for _ in range(5):
            self.texts[f"n{self.count}"] = f"text {self.count}"
            self.count += 1
        self.texts[f"n{self.count - 1}"] = f"bad {self.count % 1000}"

    def night(self):
        """Run the job; returns its summary and its seconds."""
        lines = [json.dumps({"id": name, "body": text}) for name, text in self.texts.items()]
        (self.job.folder / "refs.jsonl").write_text("\n".join(lines) + "\n")
        began = time.perf_counter()
        summary = run_any(self.file, RunOptions())
        return summary, time.perf_counter() - began

    def check(self):
        """The tables hold what they should, in few files."""
        out = self.job.folder / "out"
        found = {row["input_id"]: row["text"] for row in rows(out, "predictions")}
        assert found == {name: f"ok {text}" for name, text in self.texts.items() if "bad" not in text}
        failed = sorted(row["input_id"] for row in rows(out, "errors"))
        assert failed == sorted(name for name, text in self.texts.items() if "bad" in text)
        return sum(path.is_file() for path in out.rglob("*"))


def test_a_job_compacts_its_output_by_itself(tmp_path):
    with running() as server:
        year = Year(tmp_path, server, 60)
        for _ in range(12):
            year.change()
            summary, _ = year.night()
            first = summary.skipped == 0
            assert (summary.new, summary.dropped, summary.remaining) == ((60, 0, 0) if first else (5, 5, 0))
        assert year.check() < 50
        folders = [
            path for path in (tmp_path / "out" / "_runs").iterdir() if path.name != "locks" and path.is_dir()
        ]
        assert len(folders) < 8


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_after_a_year_a_night_takes_as_long_as_in_its_first_month(tmp_path):
    with running() as server:
        year = Year(tmp_path, server, 2000)
        seconds, most = [], 0
        for number in range(365):
            if number % 2 == 0:
                year.change()
            summary, took = year.night()
            if summary.new == summary.changed == summary.dropped == 0:
                seconds.append(took)
            if number % 30 == 0 or number == 364:
                most = max(most, year.check())
        first, last = statistics.median(seconds[:15]), statistics.median(seconds[-15:])
        logging.getLogger(__name__).warning("%.2f s, a year later %.2f s; %d files", first, last, most)
        assert last - first < 1
        assert most < 50
