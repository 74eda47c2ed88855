"""What the docs say is what the code does."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from bulkinfer.pipelines.cli import main
from support.jobs import rows
from support.paths import ROOT


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "job-file.md", "modules.md"])
def test_a_generated_reference_is_up_to_date(page):
    wanted = load(ROOT / "docs" / "generate.py").references()[ROOT / "docs" / page]

    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == wanted, "run `make docs`"


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_has_help_and_an_example(name):
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert command.help
    assert getattr(command, "examples", ())


def test_the_library_page_runs_as_it_stands(tmp_path):
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    shrink, languages = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "photos").mkdir()
    for name in ("coins", "cat", "wren"):
        shutil.copy(ROOT / "configs" / "photos" / f"{name}.jpg", tmp_path / "photos")

    def run(code):
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    assert run(shrink) == "3 photographs\n"
    assert run(shrink) == "0 photographs\n"  # all is done
    found = rows(tmp_path / "out" / "small", "predictions")
    assert {row["input_id"] for row in found} == {
        f"{tmp_path}/photos/{name}.jpg" for name in ("coins", "cat", "wren")
    }
    assert all(max(row["width"], row["height"]) == 256 for row in found)
    masks = rows(tmp_path / "out" / "small", "masks")
    assert all(max(row["segmentation"]["size"]) == 256 for row in masks)
    assert sorted(run(languages).split()) == ["English", "German"]


def test_the_example_of_the_embedded_server_runs_as_it_stands(tmp_path):
    page = (ROOT / "docs" / "embedded.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )

    assert ran.stdout == "German\n"


MODULES = [
    ".".join(("bulkinfer", *path.relative_to(ROOT).with_suffix("").parts))
    for folder in ("transforms", "pipelines")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_picture_of_the_readme_is_small():
    assert (ROOT / "docs" / "report.png").stat().st_size < 200_000


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "design").glob("*.md")), ids=lambda page: page.stem)
def test_a_chapter_of_the_design_stays_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) < 150


def test_contributing_is_a_page():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    quiet = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(quiet, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {line.split()[0] for line in listed.splitlines()} == set(phony.split())
