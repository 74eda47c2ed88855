"""What the docs say is what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest
from bulkinfer.pipelines.cli import main

ROOT = Path(__file__).parent.parent


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "job-file.md"])
def test_a_generated_reference_is_up_to_date(page):
    wanted = load(ROOT / "docs" / "generate.py").references()[ROOT / "docs" / page]

    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == wanted, "run `make docs`"


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_has_help_and_an_example(name):
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert command.help
    assert getattr(command, "examples", ())
