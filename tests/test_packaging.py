"""What is installed is what the repository holds, under one import name."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import bulkinfer
import bulkinfer.pipelines
import bulkinfer.transforms
import pytest
from support.paths import ROOT


@pytest.mark.parametrize("package", ["pipelines", "transforms"])
def test_every_module_of_the_repository_is_installed(package):
    """A room that pyproject.toml does not list is missing in the wheel."""
    installed = Path(importlib.import_module(f"bulkinfer.{package}").__file__ or "").parent

    def modules(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}

    assert modules(ROOT / package) <= modules(installed)
    assert (installed / "py.typed").exists()


@pytest.mark.parametrize("name", bulkinfer.transforms.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(bulkinfer.transforms, name).__name__


def test_only_the_command_line_and_what_tells_its_faults_exit():
    for folder in ("transforms", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            if path not in (
                ROOT / "pipelines" / "commands" / "run.py",
                ROOT / "pipelines" / "terminal" / "faults.py",
            ):
                assert "sys.exit(" not in path.read_text(encoding="utf-8"), path
