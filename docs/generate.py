"""Writes the references of the command line and of the job file out of the code: `make docs`.

`tests/test_docs.py` fails when what stands in docs/ is not what this would write.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from bulkinfer.pipelines.cli import EXIT_CODES, main
from bulkinfer.transforms.job.config import JobConfig
from pydantic import BaseModel
from pydantic.fields import FieldInfo

DOCS = Path(__file__).parent


def cli_reference() -> str:
    """Each command's own help, and the exit codes."""
    lines = ["# The command line", "", "Generated from the code by `make docs`.", ""]
    top = main.make_context("bulkinfer", [], resilient_parsing=True, terminal_width=100)
    for name in main.list_commands(top):
        command = main.get_command(top, name)
        assert command is not None
        context = click.Context(command, parent=top, info_name=name)
        lines += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    lines += ["## Exit codes", "", *(f"- `{code}`: {meaning}" for code, meaning in EXIT_CODES.items()), ""]
    return "\n".join(lines)


def job_reference() -> str:
    """Each section of the job file: key, type, default, meaning."""
    made = "Generated from the code by `make docs`. `bulkinfer schema` prints it as JSON Schema."
    lines = ["# The job file", "", made, ""]
    for path, section in _sections("", JobConfig):
        lines += [f"## {path or 'top level'}", "", (section.__doc__ or "").strip(), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in section.model_fields.items():
            if _inner(field) is None or field.description:
                cells = (f"`{name}`", _type(section, name), _default(field), field.description or "")
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _sections(path: str, section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, section
    for name, field in section.model_fields.items():
        inner = _inner(field)
        if inner is not None:
            yield from _sections(f"{path}.{name}".lstrip("."), inner)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _type(section: type[BaseModel], name: str) -> str:
    schema = section.model_json_schema()["properties"][name]
    return " or ".join(dict.fromkeys(_names(schema)))


def _names(schema: dict[str, Any]) -> Iterator[str]:
    if "enum" in schema:
        yield from (f"`{value}`" for value in schema["enum"])
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from _names(option)
    elif "$ref" in schema or schema.get("type") == "object":
        yield "keys"
    elif schema.get("type") == "array":
        yield "list"
    elif schema.get("type") not in ("null", None):
        yield "text" if schema["type"] == "string" else schema["type"]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return ""
    if isinstance(value, (tuple, dict, BaseModel)):
        return "" if not value or isinstance(value, BaseModel) else f"`{value}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def module_map() -> str:
    """Each room and the first paragraph of what its `__init__` says."""
    lines = [
        "# The rooms",
        "",
        "Generated from the code by `make docs`: a line a room. What a room promises and where to begin reading stands",
        "in its `__init__.py`; the laws between rooms are in [CONTRIBUTING.md](../CONTRIBUTING.md).",
        "",
        "| room | what it is |",
        "|---|---|",
    ]
    for package in ("transforms", "pipelines"):
        for path in sorted((DOCS.parent / package).rglob("__init__.py")):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            room = path.parent.relative_to(DOCS.parent).as_posix()
            lines.append(f"| `{room}/` | {' '.join(text.partition(chr(10) * 2)[0].split())} |")
    return "\n".join([*lines, ""])


def references() -> dict[Path, str]:
    """Each generated page and what it must hold."""
    return {
        DOCS / "cli.md": cli_reference(),
        DOCS / "job-file.md": job_reference(),
        DOCS / "modules.md": module_map(),
    }


if __name__ == "__main__":
    for path, text in references().items():
        path.write_text(text, encoding="utf-8")
