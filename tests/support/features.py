"""Runs a job or one call inside the test process, which saves the command's three seconds of imports."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.pipelines.cli import main
from click.testing import CliRunner

from .jobs import rows, write_job

__all__ = ["MODEL", "call", "command", "jsonl", "logging_as_before", "predictions", "run"]

MODEL = "https://clarifai.com/tester/tests/models/demo"


def jsonl(folder: Path, *records: dict[str, Any], media: str = "text", **columns: Any) -> dict[str, Any]:
    """Write a manifest of these records, return its `source`: ids in `id`, content in `body` or references in `uri`."""
    path = folder / "refs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    content = {"uri": "uri"} if "uri" in records[0] else {"content": "body"}
    return {"manifest": str(path), "media": media, "columns": {"id": "id", **content, **columns}}


def command(*arguments: Any) -> str:
    """Run `bulkinfer ARGUMENTS` and return what it prints; fails the test when its exit code is not 0."""
    with logging_as_before():
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exit_code:
        pytest.fail(f"exit {done.exit_code}: {done.output}")
    return done.stdout


def run(folder: Path, source: dict[str, Any], model: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Run a job of these sections with its tables in FOLDER/out; returns the summary."""
    sections["output"] = {"uri": str(folder / "out"), **sections.get("output", {})}
    if not ("url" in model or "model_id" in model):
        model = {"url": MODEL, **model}
    job = write_job(folder, source=source, model=model, **sections)
    try:
        summary: dict[str, Any] = json.loads(command("run", job, "--json"))
    except pytest.fail.Exception as failed:
        errors = [f"{row['input_id']}: {row['message']}" for row in rows(folder / "out", "errors")]
        pytest.fail("\n".join([str(failed), *errors]))
    return summary


def predictions(
    folder: Path, source: dict[str, Any], model: dict[str, Any], **sections: Any
) -> list[dict[str, Any]]:
    """Run a job and read its predictions."""
    run(folder, source, model, **sections)
    return rows(folder / "out", "predictions")


def call(endpoint: str, method: str, inputs: dict[str, Any] | None = None, *options: Any) -> Any:
    """Run `bulkinfer call` and return its answer."""
    arguments = ["--inputs", json.dumps(inputs)] if inputs is not None else []
    return json.loads(command("call", "--endpoint", endpoint, "--method", method, *arguments, *options))


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    """Restore the root logger, whose handlers the command replaces by one on a stream that is closed afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
