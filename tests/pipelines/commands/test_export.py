"""`bulkinfer export` from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bulkinfer.pipelines.commands import export as command
from bulkinfer.transforms.exports.export import FORMATS
from support.jobs import photo, run_cli, write_job


def test_every_format_can_be_named() -> None:
    assert set(command._FORMATS) == set(FORMATS)


@pytest.fixture
def output(tmp_path: Path, endpoint: str) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "disc.jpg").write_bytes(photo())
    url = "https://clarifai.com/acme/lab/models/segmenter"
    model = {"url": url, "endpoint": endpoint, "method": "segment_anything"}
    job = write_job(tmp_path, source={"files": "photos/*.jpg"}, model=model)
    ran = run_cli("run", job, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    return tmp_path


def test_an_output_is_exported_by_its_directory_or_its_job_file(output: Path) -> None:
    by_directory = run_cli("export", "out", "--format", "coco", "--to", "coco", cwd=output)
    assert by_directory.code == 0, by_directory.err
    assert by_directory.out.startswith("wrote coco: 1 rows, ")
    by_job = run_cli("export", "job.yaml", "--format", "sa1b", "--to", "sa1b", "--json", cwd=output)
    assert by_job.code == 0, by_job.err
    regions = by_job.json["regions"]["object"]
    assert len(json.loads((output / "coco" / "instances.json").read_text())["annotations"]) == regions > 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("out", "--format", "csv", "--to", "x"), "masks, which CSV cannot hold; use coco"),
        (("nowhere", "--format", "coco", "--to", "x"), "nowhere holds no finished run"),
        (
            ("out", "--format", "coco", "--to", "x", "--where", "colour = 1"),
            "--where colour = 1: Binder Error",
        ),
        (("out", "--format", "coco", "--to", "x", "--split", "1"), "--split 1: write the shares"),
        (("out", "--format", "tiff", "--to", "x"), "'tiff' is not one of"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    output: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = run_cli("export", *arguments, cwd=output)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (output / "x").exists()


def test_without_duckdb_a_condition_says_what_to_install(output: Path, tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "duckdb.py").write_text("raise ImportError('no duckdb', name='duckdb')")
    arguments = ("export", "out", "--format", "coco", "--to", "x", "--where", "true")
    path = os.pathsep.join(filter(None, [str(tmp_path / "away"), os.environ.get("PYTHONPATH")]))
    ran = run_cli(*arguments, cwd=output, env={"PYTHONPATH": path})
    assert ran.code == 2
    assert "--where needs duckdb; install it, as by pip install 'bulkinfer[demo]'" in ran.err


def test_a_terminal_takes_no_commands_of_a_label() -> None:
    told = {"rows": 1, "regions": {"\x1b[31mred\n\u202ex" + "y" * 9999: 2}, "notes": {}}
    text = command._text(told, "coco", False)
    assert "\\x1b[31mred\\n\\u202ex" in text
    assert text.count("\n") == 1
    assert len(text) < 250
