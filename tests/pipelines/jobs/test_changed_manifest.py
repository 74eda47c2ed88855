"""A manifest that is replaced under a run ends it with one line and exit code 1, and nothing more of it is sent."""

from __future__ import annotations

import os
import subprocess
import time

from support.jobs import COMMAND, rows, write_job

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


def test_a_manifest_that_is_replaced_ends_the_run(tmp_path, endpoint):
    def write(width):
        lines = [f"{number:0{width}},hello number {number}\n" for number in range(20_000)]
        (tmp_path / "refs.csv").write_text("id,text\n" + "".join(lines))

    write(5)
    job = write_job(
        tmp_path,
        source={"manifest": "refs.csv", "columns": {"content": "text", "id": "id"}},
        model={"url": MODEL, "endpoint": endpoint, "method": "classify"},
        output={"uri": "out", "part_seconds": 0.2},
    )
    command = [*COMMAND, "run", str(job)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ) as run:
        while run.poll() is None and not any(tmp_path.glob("out/_runs/*/parts/*.json")):
            time.sleep(0.02)
        write(9)
        _, said = run.communicate(timeout=100)

    assert run.returncode == 1, said
    last = said.strip().splitlines()[-1]
    assert "refs.csv was changed while it was read" in last
    assert last.endswith("start the same command again: what is done is kept")
    done = {row["input_id"] for row in rows(tmp_path / "out", "predictions")}
    assert done
    assert all(len(name) == 5 for name in done)
