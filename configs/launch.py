"""Starts a job for launchers that want a Python file: Dataflow flex templates, Airflow's Beam operator.

    python configs/launch.py --job_file=gs://bucket/job.yaml --set=source.files=gs://bucket/today/*.jpg --region=...

Whatever it does not know is a Beam option and goes to the runner that the job file names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import fsspec
from bulkinfer.pipelines.cli import main


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags that are for this file, and those that are for Beam."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--job_file", required=True, help="Path or URL of the job file.")
    parser.add_argument("--set", action="append", default=[], help="KEY.PATH=VALUE; may be repeated.")
    parser.add_argument("--runner", help="Ignored: the job file's runner.name decides.")
    parser.add_argument(
        "--errors_are_fine",
        action="store_true",
        help="End with 0 in place of 3 (finished, some inputs are in `errors`), for launchers that know no third way.",
    )
    return parser.parse_known_args(arguments)


def command(arguments: list[str], folder: Path) -> list[str]:
    """The `bulkinfer` command for these flags; the job file is copied into `folder`."""
    known, beam_options = parse(arguments)
    local = folder / "job.yaml"
    with fsspec.open(known.job_file, "rb") as job:
        local.write_bytes(job.read())
    sets = [word for value in known.set for word in ("--set", value)]
    fine = ["--errors-are-fine"] if known.errors_are_fine else []
    return ["run", str(local), "--json", *fine, *sets, *(["--", *beam_options] if beam_options else [])]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.argv = ["bulkinfer", *command(sys.argv[1:], Path(temporary))]
        main()
