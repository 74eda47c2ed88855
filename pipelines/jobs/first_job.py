"""`bulkinfer init`: writes a commented job file out of a method's signature and the files that lie around."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from bulkinfer.transforms.content.media import media_of
from bulkinfer.transforms.endpoints.clarifai.request.binding import find_method
from bulkinfer.transforms.endpoints.clarifai.request.fitting import takes
from bulkinfer.transforms.endpoints.clarifai.request.framing import MEDIA, TEXTUAL
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method, legacy_method

from .one_call import list_methods

__all__ = ["first_job", "job_text"]

_SITE = "https://clarifai.com"
_COMMENT = 40  #: column in which the comment behind a value begins
_WIDTH = 110
_DEPTH, _MOST_ENTRIES = 3, 20_000
_PLACES = {"image": "photos/*.jpg", "text": "texts/*.txt", "video": "videos/*.mp4", "audio": "audio/*.wav"}
_TABLES = (".csv", ".tsv", ".json", ".log", ".xml")  #: texts by their suffix, but as a rule no inputs
_REGIONS = ("REGION", "FRAME")


def first_job(endpoint: str | None, model: str | None, method: str | None) -> str:
    """The text of a job file that calls a method as its signature asks.

    Args:
        endpoint: address of the API, or `embedded`.
        model: the model's URL.
        method: its method; where none is named the only one, or `predict`.

    Raises:
        JobError: nothing answers, the key is refused, or the model or the method is unknown.
    """
    methods = {one.name: one for one in list_methods(endpoint, model)}
    name = method or (next(iter(methods)) if len(methods) == 1 else "predict")
    chosen = find_method(methods, name) if methods else legacy_method("image")
    return job_text(chosen, endpoint=endpoint, model=model, folder=Path())


def job_text(method: Method, *, endpoint: str | None, model: str | None, folder: Path) -> str:
    """The text of a job file for a method.

    Args:
        method: as its server declares it.
        endpoint: for `model.endpoint`; None leaves it out.
        model: for `model.url`; None leaves it out.
        folder: where files to begin with are looked for.
    """
    media, content = _content(method)
    lines = [*_comments(f"A job for {method.signature_text}"), *_comments(method.description, "#   ")]
    lines += _comments(
        "`bulkinfer plan JOB.yaml` checks it and sends nothing; docs/job-file.md has every key."
    )
    lines += _source(media, content, folder)
    lines += _model(method, endpoint, model, content)
    lines += ["calls:"]
    lines += [
        _line("batch_size", 32, "inputs in one call"),
        _line("in_flight", 16, "calls under way at once"),
    ]
    if method.type != "UNARY_UNARY":
        lines += [_line("timeout", "5m", "of one call: a stream takes as long as its answer")]
    lines += [_line("calls_per_second", 15, "never exceeded, whatever the retries do", off=True)]
    lines += ["output:"]
    name = re.sub(r"[^\w.-]", "_", method.name)
    lines += [_line("uri", f"out/{name}", "Parquet tables; a folder or any fsspec URL")]
    if method.legacy or any(map(_holds_regions, method.outputs)):
        lines += [_line("masks", "rle", "COCO run lengths; or png, both, none")]
    if method.type != "UNARY_UNARY":
        lines += [_line("pieces", True, "also a row for each piece of a streamed text", off=True)]
    lines += [_line("raw", True, "keep each answer's message, too", off=True)]
    return "\n".join(lines) + "\n"


def _content(method: Method) -> tuple[str, Field | None]:
    """What the source should hold, and the parameter that takes it; None where only a column can."""
    # Of the required ones a file before a text: a prompt beside a picture is said once for all pictures.
    fields = sorted(method.inputs, key=lambda one: (one.is_param, not one.required, one.type in TEXTUAL))
    for field in fields:
        inner = field.type_args[0] if field.type == "LIST" and field.type_args else field
        for media in _PLACES:
            if takes(field, media) or (inner.type in MEDIA and takes(inner, media)):
                return media, field
    raw = next((field for field in fields if field.type == "BYTES"), None)
    return ("image", raw) if raw else ("text", None)


def _source(media: str, content: Field | None, folder: Path) -> Iterator[str]:
    yield "source:"
    if content is None:
        yield _line("manifest", "inputs.jsonl", "CSV, TSV, JSONL or Parquet, one row an input")
        yield _line("media", media)
        yield _line("columns", {"id": "id", "content": "text"}, "which columns mean what")
        return
    files, count = _files_here(media, folder)
    found = f"{count} here; " if count else "what to send; "
    yield _line("files", files, f"{found}a pattern or a list of them, any fsspec URL")
    if content.type == "BYTES":
        yield _line("media", media, "what the files are")
    yield _line("manifest", "refs.csv", "in place of files: a row an input", off=True)
    columns = {"uri": "path", "id": "name", "keep": ["city"]}
    yield _line("columns", columns, "keep: copied into predictions", off=True)


def _model(method: Method, endpoint: str | None, model: str | None, content: Field | None) -> Iterator[str]:
    yield "model:"
    if endpoint is not None:
        yield _line("endpoint", endpoint, "our own server on this machine" if endpoint == "embedded" else "")
    if model is not None:
        yield _line("url", model)
    elif endpoint == "embedded":
        yield _line("url", f"{_SITE}/USER/APP/models/MODEL", "for another model; without endpoint", off=True)
    elif endpoint is not None:
        yield _line("url", f"{_SITE}/bulkinfer/embedded/models/demo", "a server of one model takes any name")
    yield _line("method", method.name, "`bulkinfer methods` lists all of them")
    yield "  arguments:"
    for field in method.inputs:
        yield from _comments(field.description, "    # ")
        yield _argument(field, content)


def _argument(field: Field, content: Field | None) -> str:
    kind, name = field.type_text, field.name
    if content is not None and name == content.name:
        what = "text" if field.type in TEXTUAL else "bytes"
        value: Any = ["$content"] if field.type == "LIST" else "$content"
        return _line(name, value, f"{kind}: the {what} of each file", indent=4)
    about = ", ".join(filter(None, (kind, _range(field))))
    if field.required and content is None:
        return _line(name, "$content", f"{about}, required; or $column.NAME, or a constant", indent=4)
    if field.required:
        # Null is refused by `plan` and `run`, so that nothing is sent before somebody has chosen a value.
        return _line(
            name, None, f"{about}, required: a constant, $column.NAME or {{template: ...}}", indent=4
        )
    default = field.default if field.default is not None else f"$column.{name}"
    note = "the default" if field.default is not None else "optional; a column of a manifest, or a constant"
    return _line(name, default, f"{about}: {note}", indent=4, off=True)


def _range(field: Field) -> str:
    if field.choices:
        return "one of " + ", ".join(field.choices)
    if field.minimum is not None:
        return f"{field.minimum:g} to {field.maximum:g}"
    return ""


def _holds_regions(field: Field) -> bool:
    return field.type in _REGIONS or any(map(_holds_regions, field.type_args))


def _line(key: str, value: Any, comment: str = "", *, indent: int = 2, off: bool = False) -> str:
    """A key with its value and a comment; `off` makes the whole line a comment, to be taken out by hand."""
    text = f"{' ' * indent}{'# ' if off else ''}{_yaml(key)}: {'' if value is None else _yaml(value)}"
    return f"{text:<{_COMMENT - 2}}  # {_plain(comment)}" if comment else text


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...").strip()
    return (
        text if text.isprintable() else json.dumps(value)
    )  # YAML's own form of such a text has several lines


def _comments(text: str, start: str = "# ") -> Iterator[str]:
    """A text of somebody else's as lines of comments: nothing in it can become a key."""
    return (start + line for line in textwrap.wrap(_plain(text), _WIDTH - len(start)))


def _plain(text: str) -> str:
    """A text on one line, without characters that a terminal or a parser of YAML would act upon."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _files_here(media: str, folder: Path) -> tuple[str, int]:
    """The pattern of a folder below this one that holds the most files of a media type, and how many it holds."""
    found: Counter[str] = Counter()
    for directory, names in _walk(folder):
        for name in names:
            suffix = os.path.splitext(name)[1]  # noqa: PTH122
            if suffix and suffix.lower() not in _TABLES and media_of(name) == media:
                found[f"{directory}*{suffix}"] += 1
    if not found:
        return _PLACES[media], 0
    return min(found.items(), key=lambda one: (-one[1], one[0]))


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders as the beginnings of patterns, and the names in them; not far down, and none that are hidden."""
    looked = 0
    for place, folders, names in os.walk(folder):
        below = Path(place).relative_to(folder)
        folders[:] = sorted(
            name for name in folders if not name.startswith((".", "_")) and name.isidentifier()
        )
        if len(below.parts) >= _DEPTH or looked > _MOST_ENTRIES:
            folders.clear()
        looked += len(names)
        yield "".join(f"{part}/" for part in below.parts), names
