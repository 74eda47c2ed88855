"""The schema that editors get takes what the program takes: all job files that are shipped, and what the pages show."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from bulkinfer.transforms.job.config import JobConfig
from bulkinfer.transforms.job.job_file import load_job
from bulkinfer.transforms.job.schema import json_schema
from pydantic import TypeAdapter
from support.documents import SHIPPED, Block, blocks

SCHEMA = json_schema()


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})


def loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


#: Sections of a job file that pages show, and parts of sections.
SECTIONS = [
    (block, tree)
    for block in blocks()
    if isinstance(tree := loaded(block.text), dict) and block.language in ("yaml", "")
]


def parts(tree: dict[str, Any]) -> list[tuple[str, Any, dict[str, Any], Any]]:
    """Each key of a block: its name, its value, its schema and the type that the program reads it by."""
    section = JobConfig
    if not tree.keys() <= JobConfig.model_fields.keys():
        fields = [field.annotation for field in JobConfig.model_fields.values()]
        (section, *_) = [one for one in fields if tree.keys() <= getattr(one, "model_fields", {}).keys()]
    schema = SCHEMA if section is JobConfig else SCHEMA["$defs"][section.__name__]
    return [
        (name, value, schema["properties"][name], section.model_fields[name].rebuild_annotation())
        for name, value in tree.items()
    ]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["required"]) == {"source", "model", "output"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_it_takes_a_job_file_that_is_shipped(path: Any) -> None:
    validator(SCHEMA).validate(loaded(path.read_text(encoding="utf-8")))


def test_all_job_files_that_are_shipped_were_found() -> None:
    assert len(SHIPPED) >= 8


@pytest.mark.parametrize(
    ("block", "tree"), SECTIONS, ids=lambda one: str(one) if isinstance(one, Block) else ""
)
def test_it_takes_what_a_page_shows_and_so_does_the_program(block: Block, tree: dict[str, Any]) -> None:
    for name, value, schema, kind in parts(tree):
        validator(schema).validate(value)
        if name == "source":  # a page shows what it is about
            rest = {} if {"files", "manifest", "table"} & value.keys() else {"manifest": "refs.csv"}
            rest |= {} if "files" in value or "columns" in value else {"columns": {"uri": "uri"}}
            TypeAdapter(kind).validate_python({**value, **rest})
        else:
            TypeAdapter(kind).validate_python(value)


def test_pages_show_some() -> None:
    assert len(SECTIONS) >= 8


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        ("source.files", "*.jpg", True),
        ("source.files", ["*.jpg", "${MORE}"], True),
        ("source.files", 7, False),
        ("source.media", "${MEDIA}", True),
        ("source.media", "smell", False),
        ("source.max_bytes", "${MB}MB", True),
        ("source.max_bytes", "1.5 gib", True),
        ("source.max_bytes", "85m", True),
        ("source.max_bytes", "large", False),
        ("source.revalidate", "${ASK}", True),
        ("source.revalidate", "maybe", False),
        ("source.image.max_pixels", None, True),
        ("source.image.max_pixels", "${PIXELS}", True),
        ("source.columns.keep", {"gold": "label"}, True),
        ("source.columns.keep", ["label"], True),
        ("source.image", "${IMAGE}", False),
        ("calls.batch_size", "${N}", True),
        ("calls.batch_size", "N", False),
        ("calls.batch_size", 2049, False),
        ("calls.timeout", "${SECONDS}s", True),
        ("calls.timeout", 1.5, True),
        ("calls.calls_per_second", None, True),
        ("calls.nothing", 1, False),
        ("output.partition_by", "city", True),
        ("output.partition_by", ["city"], True),
        ("stop.inputs", "${BUDGET}", True),
        ("stop.inputs", 0, False),
    ],
)
def test_it_takes_a_value_as_the_program_does(key: str, value: Any, takes: bool) -> None:
    tree: dict[str, Any] = {
        "source": {"files": "x"},
        "model": {"endpoint": "embedded"},
        "output": {"uri": "o"},
    }
    *sections, name = key.split(".")
    section = tree
    for one in sections:
        section = section.setdefault(one, {})
    section[name] = value
    assert validator(SCHEMA).is_valid(tree) is takes


def test_what_it_takes_loads_once_the_variables_are_set(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"N": "7", "MEDIA": "image", "MB": "3", "SECONDS": "2", "ASK": "false"}.items():
        monkeypatch.setenv(name, value)
    text = """
source: {files: x, media: "${MEDIA}", max_bytes: "${MB}MB", revalidate: "${ASK}"}
model: {endpoint: embedded}
output: {uri: o, partition_by: date}
calls: {batch_size: "${N}", timeout: "${SECONDS}s"}
"""
    (tmp_path / "job.yaml").write_text(text)
    validator(SCHEMA).validate(loaded(text))
    config = load_job(tmp_path / "job.yaml").config
    assert (config.calls.batch_size, config.calls.timeout, config.output.partition_by) == (7, 2.0, ("date",))
    assert (config.source.media, int(config.source.max_bytes), config.source.revalidate) == (
        "image",
        3_000_000,
        False,
    )
