"""The commands of the README and the pages run as they are printed, one after another."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from bulkinfer.pipelines.embedded.server import serve
from PIL import Image
from support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

MODEL = "https://clarifai.com/USER/APP/models/MODEL"


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def recipe(target: str) -> str:
    """The command of a target of the Makefile, as it runs once everything is installed."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n\t(.+)$", makefile, re.MULTILINE)
    assert found, target
    return found.group(1).replace("$(BIN)/", "")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a clone holds, with three of the photographs, small ones, and its `.venv`."""
    (tmp_path / "configs" / "photos").mkdir(parents=True)
    for name in ("coins", "cat", "wren"):
        with Image.open(ROOT / "configs" / "photos" / f"{name}.jpg") as picture:
            picture.thumbnail((120, 120))
            picture.save(tmp_path / "configs" / "photos" / f"{name}.jpg")
    shutil.copy(ROOT / "configs" / "quickstart.yaml", tmp_path / "configs")
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "activate").write_text(f'export PATH="{scripts}:$PATH"\n')
    (scripts / "bulkinfer").write_text(f'#!/bin/sh\nexec {sys.executable} -m bulkinfer.pipelines "$@"\n')
    (scripts / "bulkinfer").chmod(0o755)
    return tmp_path


def told(line: str) -> str:
    """A command of a page as it is run here: what installs, or is tested elsewhere, is looked at alone."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["make"]:
        return recipe(words[1]) if words[1] == "quickstart" else f"grep -q '^{words[1]}:' {ROOT}/Makefile"
    if words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        found = re.fullmatch(r"bulkinfer\[(\w+)\]", words[2])
        assert found, line
        assert found.group(1) in extras
        return ":"
    return line


def commands_of_the_report(checkout: Path) -> list[str]:
    """Those of its page, with outputs of two models that they compare."""
    lines = ["cp -r out/photos out/model-1", "cp -r out/quickstart out/model-2"]
    (job,) = (block.text for block in blocks("README.md") if block.language == "yaml")
    for name, output in (("before", "out/model-1"), ("after", "out/model-2")):
        (checkout / f"{name}.yaml").write_text(job.replace("out/photos", output))
    found = [
        line
        for block in blocks("docs/report.md")
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    assert len(found) == 6
    return lines + found


@pytest.mark.timeout(300)
def test_the_readme_and_the_page_of_the_report_work_in_its_order_from_the_state_that_each_block_left(
    checkout,
):
    lines = ["set -e"]
    for number, block in enumerate(blocks("README.md")):
        if block.language == "sh":
            lines += map(told, block.text.splitlines())
        elif block.language == "yaml":
            (checkout / "job.yaml").write_text(block.text)
        elif block.language == "python":
            (checkout / f"{number}.py").write_text(block.text)
            lines.append(f"{sys.executable} {number}.py")
    lines += commands_of_the_report(checkout)
    script = "\n".join(lines).replace(MODEL, "https://clarifai.com/acme/lab/models/demo")
    assert "bulkinfer plan job.yaml" in script
    scripts = checkout / ".venv" / "bin"
    script = script.replace("bulkinfer run configs", f"{scripts}/bulkinfer run configs")  # as make does

    with serve() as server:
        script = script.replace(
            "CLARIFAI_PAT=...", f"CLARIFAI_PAT=secret CLARIFAI_API_BASE={server.endpoint}"
        )
        ran = subprocess.run(
            ["bash", "-c", script], cwd=checkout, capture_output=True, text=True, timeout=280, check=False
        )

    assert ran.returncode == 0, ran.stderr
    # Each query that a run ends with can be pasted and tells the inputs apart, also after a run that did nothing.
    for query in re.findall(r"duckdb\.sql\(\\\"(.+?)\\\"", ran.stdout):
        duckdb = pytest.importorskip("duckdb")
        answer = duckdb.sql(query.replace("'out/", f"'{checkout}/out/")).fetchall()
        assert len({row[1:] for row in answer}) == 3, query
