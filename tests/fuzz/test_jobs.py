"""What `plan` accepts never ends a run with exit 1: job files made at random of valid parts.

A failing seed is played again by `python -m pytest tests/fuzz -k SEED`.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from bulkinfer.transforms.job.schema import json_schema
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import strategies as st
from support.fault_server import SQUARE
from support.fuzz import MODEL, ROUNDS, command, examples
from support.jobs import photo
from support.recording_server import field, method, recording_server

#: Seeds that once found a fault.
FOUND: list[int] = []
JOBS = 4

_ROWS = [
    {
        "id": f"r{number}",
        "uri": f"in/{number}.txt",
        "body": f"text {number}",
        "city": ("Bern", "La Paz/BO", "", "a=b")[number % 4],
        "n": number,
        "label": "mine",
        "date": "2026-01-01",
        "words": ["a", "b"],
    }
    for number in range(9)
]
_PICTURE = {"type": "LIST", "name": "return", "type_args": [{"name": "region", "type": "REGION"}]}
SIGNATURES = {
    "predict": method("UNARY_UNARY", field("text", "STR")),
    "both": method(
        "UNARY_UNARY", field("text", "STR"), {**field("k", "INT"), "required": False, "default": "3"}
    ),
    "anything": method("UNARY_UNARY", field("value", "JSON_DATA"), output="JSON_DATA"),
    "outline": {**method("UNARY_UNARY", field("image", "IMAGE")), "output_fields": [_PICTURE]},
    "images": method("UNARY_UNARY", {**field("images", "LIST"), "type_args": [field("i", "IMAGE")]}),
    "raw": method("UNARY_UNARY", field("data", "BYTES"), output="BYTES"),
    "pieces": method("UNARY_STREAMING", field("text", "STR")),
    "echo": method("STREAMING_STREAMING", field("text", "STR", iterator=True)),
}
_SCHEMA = jsonschema.Draft202012Validator(json_schema())
_SEEING = ("outline", "images")


def answer(each: Any) -> list[Any]:
    """A region with a mask for a picture, else a text."""
    output = resources_pb2.Output()
    data = output.data.parts.add(id="return").data
    if "outline" in str(each.data.metadata):
        data.regions.add().region_info.mask.image.base64 = SQUARE
    else:
        data.string_value = "an answer"
    return [output]


def build(folder: Path) -> None:
    """Files, archives, manifests and tables that jobs can name."""
    (folder / "in").mkdir()
    for row in _ROWS:
        (folder / row["uri"]).write_text(row["body"])
        (folder / "in" / f"{row['n']}.jpg").write_bytes(photo(row["n"], (24, 16)))
    (folder / "in" / "late").mkdir()
    (folder / "in" / "late" / "x.txt").write_text("late")
    with tarfile.open(folder / "a.tar", "w") as tar, zipfile.ZipFile(folder / "a.zip", "w") as zipped:
        for row in _ROWS[:3]:
            tar.add(folder / row["uri"], f"./{row['n']}.txt")
            zipped.write(folder / row["uri"], f"{row['n']}.txt")
    lines = "".join(json.dumps(row) + "\n" for row in _ROWS)
    (folder / "refs.jsonl").write_text(lines)
    (folder / "refs.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    mixed = [{**row, "n": value, "city": [value]} for row, value in zip(_ROWS, _MIXED, strict=False)]
    (folder / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(_ROWS[0]))
    writer.writeheader()
    writer.writerows(_ROWS)
    (folder / "refs.csv").write_text(text.getvalue())
    table = pa.Table.from_pylist(_ROWS).append_column(
        "at", pa.array([datetime.datetime(2026, 1, 1, 3)] * len(_ROWS), pa.timestamp("ns"))
    )
    pq.write_table(table, folder / "refs.parquet")
    for city in ("Bern", "x y"):
        below = folder / "lake" / f"zone={city}"
        below.mkdir(parents=True)
        rows = (
            table.slice(0, 4)
            if city == "Bern"
            else table.slice(4).append_column("extra", pa.array([1.5] * 5))
        )
        pq.write_table(rows.drop_columns(["date"]), below / "part-0.parquet")


_FILES = st.sampled_from(
    [
        *("in/*.txt", "in/**/*.txt", "in/*.jpg", "in/*.jpg", "in/0.txt", "in/*", "in", "in/none/*.txt"),
        *("tar://*.txt::{}/a.tar", "zip://**/*.txt::{}/a.zip", "tar://0.txt::{}/a.tar"),
        *("file://{}/in/*.txt", "{}/in/{{0,1}}.txt"),
    ]
)
_OUTPUTS = ("out", "out", "out2", "in/out", "o u/é%20", "out/masks", "lake/out", "refs.csv")
_MIXED = (1, 1.5, "x", None, True, {})
_COLUMNS = ["id", "uri", "body", "city", "n", "label", "date", "words", "at", "zone", "extra", "nothing"]
_KEEP = st.lists(st.sampled_from(_COLUMNS), max_size=3, unique=True) | st.dictionaries(
    st.sampled_from(["gold", "run_id", "date", "model", "input_id", "Gold", "g/h", "x=y", ""]),
    st.sampled_from(_COLUMNS),
    max_size=2,
)


def _named(keep: Any) -> dict[str, str]:
    return keep if isinstance(keep, dict) else {name: name for name in keep}


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these keys, or none."""
    return st.fixed_dictionaries({}, optional=keys)


@st.composite
def jobs(draw: Any, folder: str) -> dict[str, Any]:
    """A job file of parts that are valid by themselves."""

    def at(text: str) -> str:
        return text.format(folder) if "{" in text else f"{folder}/{text}"

    kind = draw(st.sampled_from(["files", "manifest", "manifest", "table"]))
    source: dict[str, Any] = draw(
        some(
            media=st.sampled_from(["text"] * 6 + ["image", "audio"]),
            deduplicate=st.sampled_from(["none", "content"]),
            max_bytes=st.sampled_from([5, *["1GB"] * 6]),
            image=some(
                orientation=st.sampled_from(["keep", "apply"]),
                max_pixels=st.sampled_from([None, 1, "1M", "1M", "1M"]),
            ),
            revalidate=st.booleans(),
        )
    )
    keep: Any = []
    if kind == "files":
        source["files"] = [at(text) for text in draw(st.lists(_FILES, min_size=1, max_size=2))]
    else:
        names = ["refs.csv", "refs.jsonl", "refs.jsonl.gz", "mixed.jsonl", "refs.parquet", "refs.*"]
        source[kind] = at(draw(st.sampled_from(names)) if kind == "manifest" else "lake")
        keep = draw(_KEEP)
        if kind == "table" or draw(st.integers(0, 4)):  # most often columns that are there
            absent = {"at", "zone", "extra", "nothing"} if kind == "manifest" else {"date", "nothing"}
            there = {as_: name for as_, name in _named(keep).items() if name not in absent}
            keep = there if isinstance(keep, dict) else list(there)
        read = draw(
            st.sampled_from([{"uri": "uri"}, {"content": "body"}, {"content": "words"}, {"content": "n"}])
        )
        identity = draw(st.sampled_from(["id", "id", "uri", "n", "city", "words"]))
        version = draw(some(version=st.sampled_from(["n", "city", "words", "label", "nothing"])))
        source["columns"] = {"id": identity, **read, "keep": keep, **version}
        if "uri" not in read:
            source.setdefault("media", "text")
    pictures = "jpg" in str(source.get("files")) or source.get("media") == "image"
    named = (
        ["outline", "images", "raw"]
        if pictures
        else [one for one in SIGNATURES if one not in ("outline", "images")]
    )
    name = draw(st.sampled_from(named))
    values = [
        "$content",
        "$uri",
        "$column.n",
        "$column.words",
        "$column.city",
        {"template": "{city} {n}"},
        5,
        "x",
        None,
    ]
    values += [["$content", {"n": "$column.n"}], {"a": "$content"}, [], [1.5, None]]
    argument = SIGNATURES[name]["input_fields"][0]["name"]
    model: dict[str, Any] = {"url": MODEL, "method": name}
    values = values if kind != "files" else ["$content", "$content", "$uri", {"a": "$content"}, 5]
    model["arguments"] = {argument: draw(st.sampled_from(["$content"] * 6 + values))}
    if name == "both":
        model["arguments"] |= draw(some(k=st.sampled_from(values)))
    if name in ("echo", "pieces"):
        model |= draw(some(stream=st.sampled_from([{"piece_bytes": 3}, {"piece_seconds": 1}])))
    kept = list(keep)
    output = {
        "uri": at(
            draw(
                st.sampled_from(
                    ["out", "out", "out2", "in/out", "o u/é%20", "out/masks", "lake/out", "refs.csv"]
                )
            )
        ),
        **draw(
            some(
                masks=st.sampled_from(["rle", "png", "both", "none"]),
                raw=st.booleans(),
                pieces=st.booleans(),
                partition_by=st.lists(st.sampled_from([*kept, "date", "model"]), max_size=2, unique=True),
                file_bytes=st.sampled_from([1, "10KB"]),
                part_seconds=st.sampled_from(["1ms", "1h"]),
            )
        ),
    }
    calls = draw(
        some(
            batch_size=st.integers(1, 128),
            batch_bytes=st.sampled_from([1, 300, "32MB"]),
            in_flight=st.sampled_from([1, 4096]),
            calls_per_second=st.sampled_from([20, 1000]),
            inputs_per_second=st.sampled_from([40, 1e6]),
        )
    )
    job = {
        "source": source,
        "model": model,
        "output": output,
        "calls": {**calls, "timeout": "20s", "retry_for": "2s"},
    }
    kinds = [
        "bulk-inference",
        "bulk-inference",
        "scheduled-labeling",
        *["lake-enrichment"] * (kind == "table"),
    ]
    job["job"] = draw(st.sampled_from(kinds))
    job["stop"] = draw(some(inputs=st.integers(1, 12), error_ratio=st.sampled_from([0.01, 1])))
    return job


def play(seed: int) -> None:
    """Some jobs, one after another, that share sources and some of them an output."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        recording_server(signatures=SIGNATURES, answer=answer) as server,
    ):
        folder = Path(temporary)
        build(folder)
        runs = 0
        for number in range(8 * JOBS):
            # The last of a few: Hypothesis begins with the simplest, and likes to repeat itself.
            job = examples(jobs(str(folder)), 4, 1000 * seed + number)[-1]
            job["model"]["endpoint"] = server.endpoint
            planned = command("plan", folder, job)
            assert planned.code in (0, 2), (planned.err, yaml.safe_dump(job))
            if planned.code == 0:
                _SCHEMA.validate(yaml.safe_load(yaml.safe_dump(job)))
                ended = command("run", folder, job)
                assert ended.code in (0, 3, 4), (ended.err, yaml.safe_dump(job))
                runs += 1
            if runs == JOBS:
                break


@pytest.mark.parametrize("seed", [*FOUND, *range(ROUNDS)])
def test_what_plan_accepts_never_ends_with_exit_1(seed):
    play(seed)
