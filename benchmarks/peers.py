"""Measures the same work by bulkinfer, by an expert's script and by Daft, whole processes, interleaved in one run.

    make peers && .venv/bin/python benchmarks/peers.py

The endpoint has 16 places and takes 32 inputs a call; each client keeps 24 calls in flight. The answers of all three
are compared. One JSON line a case: medians of the rounds, and their ratios to the peers'.

    wall_s     from the start of the process to its end
    cpu_s      of the process and its children
    peak_mb    most resident memory of its largest process, as the kernel sampled it
    fixed_s    wall of a job of 25 inputs, and of importing Beam and running its smallest pipeline
    marginal   CPU microseconds that one more text costs, from 10,000 to 40,000
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.dataset as ds
import yaml
from endpoint import (
    MODEL_URL,
    REPOSITORY,
    arguments,
    image_files,
    report,
    running,
    text_manifest,
    text_source,
)

PEERS = Path(__file__).with_name("peers")
ROUNDS = 3
SMALLEST = "import apache_beam as b\nwith b.Pipeline() as p: p | b.Create([1]) | b.Map(lambda x: x)"


class Took(NamedTuple):
    """What one process took, and the answers that it wrote, by input."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    answers: dict[str, str]


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    python = REPOSITORY / "build" / "peers" / "bin" / "python"
    if not python.exists():
        sys.exit(f"{python} is missing; run: make peers")
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running() as server:
        folder, scale = Path(name), options.scale
        texts = {count: text_manifest(folder, max(25, int(count * scale))) for count in (10_000, 40_000)}
        images = image_files(folder, max(64, int(8_000 * scale)))
        few = text_manifest(folder, 25)
        server.set(places=16, base_ms=50)
        medians = {}
        for case, source in (("texts_10k", texts[10_000]), ("texts", texts[40_000])):
            medians[case] = compare(case, runners(python, server.endpoint, folder, source))
        inputs = sum(1 for _ in texts[40_000].open()) - sum(1 for _ in texts[10_000].open())
        report(
            "marginal",
            **{
                f"{who}_us": (medians["texts"][who].cpu_s - medians["texts_10k"][who].cpu_s) / inputs * 1e6
                for who in medians["texts"]
            },
        )
        server.set(places=16, base_ms=500)
        compare("images", runners(python, server.endpoint, folder, images))
        server.set(places=16, base_ms=1)
        fixed(server.endpoint, folder, few)


def runners(python: Path, endpoint: str, folder: Path, source: Path) -> dict[str, Callable[[], Took]]:
    """The three clients of one case."""

    def peer(script: str) -> Took:
        output = Path(tempfile.mkdtemp(dir=folder)) / "out"
        return run([str(python), str(PEERS / script), endpoint, str(source), str(output)], output)

    return {
        "ours": lambda: ours(endpoint, folder, source),
        "expert": lambda: peer("expert.py"),
        "daft": lambda: peer("with_daft.py"),
    }


def ours(endpoint: str, folder: Path, source: Path) -> Took:
    """Run the job of one case."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    job: dict[str, Any] = {
        "source": {"files": f"{source}/*.jpg"} if source.is_dir() else text_source(source),
        "model": {
            "url": MODEL_URL,
            "endpoint": endpoint,
            "method": "measure" if source.is_dir() else "predict",
        },
        "calls": {"in_flight": 24, "batch_size": 32},
        "output": {"uri": str(output)},
    }
    path = output.parent / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return run([sys.executable, "-m", "bulkinfer.pipelines", "run", str(path)], output / "predictions")


def run(command: list[str], output: Path | None = None) -> Took:
    """Run a process to its end, and read what it wrote.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{command}: exit code {process.returncode}: {said.read()[-3000:]}")
    return Took(
        wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, read(output) if output else {}
    )


def read(output: Path) -> dict[str, str]:
    """Answers by input: of files the name alone, as the clients name them in different ways."""
    table = ds.dataset(output, format="parquet").to_table()
    names = table["id" if "id" in table.column_names else "input_id"].to_pylist()
    answers = table["text"].to_pylist()
    if "int_value" in table.column_names:
        whole = table["int_value"].to_pylist()
        answers = [
            text if number is None else str(number) for text, number in zip(answers, whole, strict=True)
        ]
    return dict(zip((name.rpartition("/")[2] for name in names), answers, strict=True))


def compare(case: str, clients: dict[str, Callable[[], Took]]) -> dict[str, Took]:
    """Run all clients in turn, check that they wrote the same, and print medians and ratios."""
    took: dict[str, list[Took]] = {who: [] for who in clients}
    for _ in range(ROUNDS):
        for who, client in clients.items():
            took[who].append(client())
    expected = took["expert"][0].answers
    for who, runs in took.items():
        for one in runs:
            assert one.answers == expected, f"{case}: {who} wrote other answers than the expert"
    medians = {
        who: Took(*(statistics.median(one[at] for one in runs) for at in range(3)), {})
        for who, runs in took.items()
    }
    mine = medians["ours"]
    report(
        case,
        inputs=len(expected),
        **{
            f"{who}_{name}": getattr(one, name)
            for who, one in medians.items()
            for name in ("wall_s", "cpu_s", "peak_mb")
        },
        **{
            f"{name}_of_{who}": getattr(mine, name) / getattr(medians[who], name)
            for who in medians
            if who != "ours"
            for name in ("wall_s", "cpu_s", "peak_mb")
        },
    )
    return medians


def fixed(endpoint: str, folder: Path, few: Path) -> None:
    """What a job costs before its first input: 25 of them against Beam's smallest pipeline."""
    beam, job = [], []
    for _ in range(ROUNDS + 2):
        beam.append(run([sys.executable, "-c", SMALLEST]).wall_s)
        job.append(ours(endpoint, folder, few).wall_s)
    mine, theirs = statistics.median(job), statistics.median(beam)
    report("fixed", job_s=mine, beam_s=theirs, over_beam_s=mine - theirs)


if __name__ == "__main__":
    main()
