"""An export is whole or not there, on a disk and on a store, and what a killed one left is removed by the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.exports.export import export
from bulkinfer.transforms.exports.writing.target import Target, write_manifest
from support.exports import PICTURES, output_of, told
from support.s3_server import s3_server

KILLED = """
import sys, time
from bulkinfer.transforms.exports.writing.target import Target
with Target(sys.argv[1]).new() as work:
    (work.folder / "big").write_text("x")
    print("here", flush=True)
    time.sleep(60)
"""


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_a_killed_export_left_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    target = tmp_path / "made"
    others = []
    for _ in range(2):
        other = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        others.append(other)
    assert len(left(tmp_path)) == 2
    others[0].send_signal(signal.SIGKILL)
    others[0].wait()
    with Target(str(target)).new() as work:
        write_manifest(work.folder, {})
    assert len(left(tmp_path)) == 1
    others[1].kill()
    others[1].wait()
    with Target(str(target)).new() as work:
        write_manifest(work.folder, {})
    assert left(tmp_path) == []
    assert [path.name for path in target.iterdir()] == ["manifest.json"]


def test_one_killed_between_its_renames_gives_the_older_export_back(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with Target(str(target)).new() as work:
        write_manifest(work.folder, {"first": 1})
    scratch = tmp_path / ".bulkinfer-export-made.killed"
    scratch.mkdir()
    (scratch / "lock").touch()
    target.replace(scratch / "old")
    with pytest.raises(RuntimeError), Target(str(target)).new():
        raise RuntimeError
    assert told(target)["first"] == 1
    assert left(tmp_path) == []


def test_a_folder_without_a_lock_is_anothers_for_a_while(tmp_path: Path) -> None:
    scratch = tmp_path / ".bulkinfer-export-made.new"
    scratch.mkdir()
    with Target(str(tmp_path / "made")).new() as work:
        write_manifest(work.folder, {})
    assert scratch.exists()
    os.utime(scratch, (0, time.time() - 7200))
    with Target(str(tmp_path / "made")).new() as work:
        write_manifest(work.folder, {})
    assert not scratch.exists()


def test_an_export_to_a_bucket_says_last_that_it_is_whole(tmp_path: Path) -> None:
    store = output_of(tmp_path, PICTURES)
    with s3_server("exports") as server:
        filesystem = server.filesystem()
        export(store, "sa1b", "s3://exports/made", storage=server.storage)
        export(store, "coco", str(tmp_path / "coco"))
        export(store, "coco", "s3://exports/made", storage=server.storage)
        names = sorted(filesystem.find("exports/made"))
        assert names == ["exports/made/instances.json", "exports/made/manifest.json"]
        assert filesystem.cat(names[0]) == (tmp_path / "coco" / "instances.json").read_bytes()
        assert json.loads(filesystem.cat(names[1])) == told(tmp_path / "coco")
        filesystem.pipe("exports/other/thesis.txt", b"x")
        with pytest.raises(ConfigError, match="there is something else than an export"):
            export(store, "coco", "s3://exports/other", storage=server.storage)
