"""Whatever a row or a file holds, it is in one table once, and it ends no job.

A failing seed is played again by `python -m pytest tests/fuzz -k SEED`.
"""

from __future__ import annotations

import csv
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from support.fuzz import MODEL, ROUNDS, check_once, command, examples
from support.jobs import photo
from support.recording_server import field, method, recording_server

#: Seeds that once found a fault.
FOUND: list[int] = []
ROWS = 100

_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", " ", "\0", "null", "NaN", "1", "-0", "0x10", "True", "2024-02-30"]
)
_TEXTS |= st.sampled_from(
    ["x" * 300, "é" * 200, "%" * 260, "../../x", "a/b=c", "s3://u:p@h/k", "data:,x", "http://[::1"]
)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 2**64, 10**400, 1e308, 5e-324])
_LEAVES = st.none() | st.booleans() | _NUMBERS | _TEXTS
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)
_PLAIN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_CONTENT = _PLAIN | _PLAIN | _PLAIN | st.lists(_PLAIN, max_size=3) | _JSON
_DEEP = st.sampled_from([50, 300, 600, 3000, 50_000]).flatmap(
    lambda depth: st.sampled_from(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])
)

#: Arrow types that a Parquet file may hold, with values as Arrow takes them.
_TIMES = st.integers(-(2**62), 2**62)
_TYPED: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)),
    "large_string": (pa.large_string(), st.text("ab\0é😀", max_size=5)),
    "binary": (pa.binary(), st.binary(max_size=12)),
    "fixed": (pa.binary(4), st.binary(min_size=4, max_size=4)),
    "bool": (pa.bool_(), st.booleans()),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "half": (pa.float16(), st.floats(width=16)),
    "float": (pa.float32(), st.floats(width=32)),
    "double": (pa.float64(), st.floats()),
    "date32": (pa.date32(), st.integers(-(2**31), 2**31 - 1)),
    "date64": (pa.date64(), st.integers(-(10**9), 10**9).map(lambda day: day * 86_400_000)),
    "s": (pa.timestamp("s"), _TIMES.map(lambda at: at // 10**9)),
    "ms": (pa.timestamp("ms", "UTC"), _TIMES.map(lambda at: at // 10**6)),
    "us": (pa.timestamp("us", "Europe/Zurich"), _TIMES),
    "ns": (pa.timestamp("ns"), _TIMES),
    "time": (pa.time64("ns"), st.integers(0, 86_399_999_999_999)),
    "duration": (pa.duration("ns"), _TIMES),
    "decimal": (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4, allow_nan=False)),
    "list": (pa.list_(pa.int32()), st.lists(st.integers(-9, 9) | st.none(), max_size=3)),
    "texts": (pa.list_(pa.string()), st.lists(st.text("aé", max_size=3), max_size=3)),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": st.integers(0, 9), "b": st.none()}),
    ),
    "map": (
        pa.map_(pa.string(), pa.int64()),
        st.lists(st.tuples(st.text("ab", max_size=3), st.integers(0, 9)), max_size=3),
    ),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b", ""])),
    "null": (pa.null(), st.none()),
}


def json_lines(dice: random.Random, seed: int) -> tuple[str, bytes]:
    values = {"c": _CONTENT, "k": _JSON, "k2": _LEAVES, "a": _JSON}
    rows = examples(st.fixed_dictionaries({"id": _LEAVES}, optional=values), ROWS, seed)
    lines = []
    for number, row in enumerate(rows):
        if isinstance(row["id"], str) and number % 8:  # Hypothesis likes to repeat itself
            row["id"] = f"{number} {row['id']}"
        lines.append(json.dumps(row, ensure_ascii=dice.random() < 0.7).encode("utf-8", "surrogatepass"))
    for number, deep in enumerate(examples(_DEEP, 3, seed)):
        lines[number * 7 % len(lines)] = (
            f'{{"id":"d{number}","c":"x","{dice.choice("cka")}":{deep}}}'.encode()
        )
    long = {"id": "long", "c": "é" * 5_000_000, "k": "k" * dice.choice([1, 10_000_000])}
    lines.append(json.dumps(long).encode())
    lines += examples(
        st.binary(min_size=1, max_size=30).map(lambda data: data.replace(b"\n", b"") + b"x"), 5, seed
    )
    return "refs.jsonl", b"\n".join(lines)


def delimited(dice: random.Random, seed: int) -> tuple[str, bytes]:
    name, delimiter = dice.choice([("refs.csv", ","), ("refs.tsv", "\t")])
    buffer = io.StringIO(newline="")
    quoting = dice.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting)
    writer.writerow(["id", "c", "k", "k2", "a"])
    for number, (key, *row) in enumerate(
        examples(st.tuples(_PLAIN, _PLAIN | _TEXTS, *[_TEXTS] * 3), ROWS, seed)
    ):
        writer.writerow([f"{number} {key}" if number % 8 else key, *row])
    data = buffer.getvalue().encode("utf-8", "surrogatepass")
    for junk in examples(st.binary(max_size=20), 3, seed):
        data += junk + b"\r\n"
    return name, data + b'x,"a\n'


def parquet(dice: random.Random, seed: int) -> tuple[str, bytes]:
    columns = {}
    for number, name in enumerate(("id", "c", "k", "k2", "a")):
        likely = ["string", "string", "binary", "int64"] if name in ("id", "c") else []
        kind, values = _TYPED[dice.choice([*_TYPED, *likely * 6])]
        columns[name] = pa.array(
            examples(st.none() | values if name != "id" else values, ROWS, seed + number), kind
        )
    most = min(map(len, columns.values()))
    sink = io.BytesIO()
    table = pa.table({name: column.slice(0, most) for name, column in columns.items()})
    pq.write_table(table, sink, row_group_size=dice.choice([7, 1000]))
    return "refs.parquet", sink.getvalue()


def files(dice: random.Random, seed: int, folder: Path) -> dict[str, Any]:
    """Files of any name and content."""
    inside = folder / "in"
    inside.mkdir()
    names = st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30
    )
    contents = st.binary(max_size=50) | st.sampled_from(
        [photo(), photo()[:200], b"", b"\xff\xfe", "é".encode()]
    )
    for name, content in examples(st.tuples(names, contents), ROWS, seed):
        (inside / f"{name}.txt".encode()[-250:].decode("utf-8", "replace")).write_bytes(content)
    return {"files": str(inside / "*")}


def play(seed: int) -> None:
    """One run over a source of any of the kinds."""
    dice = random.Random(seed)
    make = (json_lines, delimited, parquet, files)[seed % 4]
    parameter = dice.choice(["STR", "STR", "STR", "BYTES", "TEXT", "JSON_DATA", "IMAGE"])
    other = dice.choice(["STR", "INT", "FLOAT", "BOOL", "JSON_DATA", "BYTES", "REGION", "IMAGE", "NDARRAY"])
    model: dict[str, Any] = {"url": MODEL, "arguments": {"x": "$content"}}
    fields = [field("x", parameter)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        output: dict[str, Any] = {"uri": str(folder / "out")}
        if make is files:
            source = files(dice, seed, folder)
        else:
            name, data = make(dice, seed)
            (folder / name).write_bytes(data)
            content = dice.choice([{"content": "c"}, {"content": "c"}, {"uri": "c"}])
            keep = dice.choice([[], ["k"], ["k", "k2"], ["k", "k2"], {"gold": "k"}])
            source = {"manifest": str(folder / name), "columns": {"id": "id", **content, "keep": keep}}
            if dice.random() < 0.5:
                fields.append(field("y", other))
                values = ["$column.a", {"template": "{a}, {c}"}, ["$column.a", {"k": "$column.k"}]]
                model["arguments"]["y"] = dice.choice(values if other in ("STR", "JSON_DATA") else values[:2])
            output["partition_by"] = dice.choice([["k2"], ["k2"], ["date"]]) if keep == ["k", "k2"] else []
        media = "image" if parameter == "IMAGE" else "text"
        source |= {"media": media, "deduplicate": dice.choice(["none", "content"])}
        with recording_server(
            signatures={"predict": method("UNARY_UNARY", *fields)}, answer=_answer
        ) as server:
            model["endpoint"] = server.endpoint
            job = {"source": source, "model": model, "output": output, "stop": {"error_ratio": 1}}
            planned = command("plan", folder, job)
            if planned.code:
                assert planned.code == 2, planned.err
                return
            check_once(folder / "out", command("run", folder, job), json.loads(planned.out)["inputs"])


def _answer(each: Any) -> list[Any]:
    from clarifai_grpc.grpc.api import resources_pb2

    output = resources_pb2.Output()
    output.data.parts.add(id="return").data.string_value = str(each.ByteSize())
    return [output]


@pytest.mark.parametrize("seed", [*FOUND, *range(ROUNDS)])
def test_no_input_ends_a_job(seed):
    play(seed)
