"""Measures chats by bulkinfer against a bare client of the same HTTP library, interleaved in one run.

    .venv/bin/python benchmarks/openai_chat.py

10,000 prompts of 500 bytes, 256 in flight, against a server that answers after 50 ms and does nothing else. The answers
are compared. One JSON line: medians of the rounds as in benchmarks/peers.py, and the CPU that one more chat costs.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from endpoint import arguments, report
from peers import PEERS, ROUNDS, Took, run

IN_FLIGHT = 256


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    with tempfile.TemporaryDirectory(dir=options.folder) as name, waiting() as endpoint:
        folder = Path(name)
        many, few = (prompts(folder, max(IN_FLIGHT, int(count * options.scale))) for count in (10_000, 2_500))
        took: dict[str, list[Took]] = {who: [] for who in ("ours", "bare", "ours_few", "bare_few")}
        for _ in range(ROUNDS):
            for suffix, source in (("", many), ("_few", few)):
                took[f"ours{suffix}"].append(ours(endpoint, folder, source))
                took[f"bare{suffix}"].append(bare(endpoint, folder, source))
                assert took[f"ours{suffix}"][-1].answers == took[f"bare{suffix}"][-1].answers
    wall, cpu, peak = (
        {who: statistics.median(one[at] for one in runs) for who, runs in took.items()} for at in range(3)
    )
    chats = len(took["bare"][0].answers)
    more = chats - len(took["bare_few"][0].answers)
    report(
        "chats",
        inputs=chats,
        ours_wall_s=wall["ours"],
        bare_wall_s=wall["bare"],
        speed_of_bare=wall["bare"] / wall["ours"],
        ours_cpu_s=cpu["ours"],
        bare_cpu_s=cpu["bare"],
        cpu_of_bare=cpu["ours"] / cpu["bare"],
        ours_us_a_chat=(cpu["ours"] - cpu["ours_few"]) / more * 1e6,
        bare_us_a_chat=(cpu["bare"] - cpu["bare_few"]) / more * 1e6,
        speed_of_bare_marginal=(wall["bare"] - wall["bare_few"]) / (wall["ours"] - wall["ours_few"]),
        ours_peak_mb=peak["ours"],
        bare_peak_mb=peak["bare"],
    )


@contextlib.contextmanager
def waiting() -> Iterator[str]:
    """The address of a server in a process of its own."""
    script = Path(__file__).with_name("waiting_server.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.wait()


def prompts(folder: Path, count: int) -> Path:
    """A manifest of so many prompts of 500 bytes."""
    path = folder / f"{count}.jsonl"
    lines = (json.dumps({"id": f"{n:06}", "text": f"{n:06} " + "word " * 98 + "end"}) for n in range(count))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def ours(endpoint: str, folder: Path, source: Path) -> Took:
    """Run a job."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    job = {
        "source": {"manifest": str(source), "media": "text", "columns": {"content": "text", "id": "id"}},
        "model": {"kind": "openai", "endpoint": endpoint, "name": "echo"},
        "calls": {"in_flight": IN_FLIGHT},
        "output": {"uri": str(output)},
    }
    path = output.parent / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return run([sys.executable, "-m", "bulkinfer.pipelines", "run", str(path)], output / "predictions")


def bare(endpoint: str, folder: Path, source: Path) -> Took:
    """Run the bare client."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    command = [sys.executable, str(PEERS / "chats.py"), endpoint, str(source), str(output), str(IN_FLIGHT)]
    return run(command, output)


if __name__ == "__main__":
    main()
