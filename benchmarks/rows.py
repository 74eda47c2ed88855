"""Measures rows a second from response bytes to a Parquet file, on one core, against the textbook way by dicts.

Each case first checks that the file holds what the messages said. Time is that of the
processor, so that other processes on the machine do not change it. One JSON line a case.

    python benchmarks/rows.py [--rows 20000]
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bulkinfer.transforms.endpoints.clarifai.answer.reader import OutputReader
from bulkinfer.transforms.records import Prediction, Reference
from bulkinfer.transforms.rows.schemas import parquet_options
from bulkinfer.transforms.rows.table_builder import TableBuilder, TableOptions
from clarifai_grpc.grpc.api import service_pb2
from google.protobuf.json_format import MessageToDict
from samples import classification, detections, response

BATCH = 32  # inputs a response


def ours(answers: list[bytes], path: Path) -> float:
    """Seconds of processor time from serialized responses to a closed Parquet file."""
    names = [f"{number:08d}" for number in range(len(answers) * BATCH)]
    references = iter([Reference(name, f"s3://b/{name}.jpg", "image") for name in names])
    start = time.process_time()
    builder = TableBuilder(TableOptions("benchmark", functools.partial(OutputReader, None)))
    for answer in answers:
        outputs = service_pb2.MultiOutputResponse.FromString(answer).outputs
        builder.add([Prediction(next(references), (one,), width=1024, height=768) for one in outputs])
    table = builder.finish().predictions
    pq.write_table(table, path, **parquet_options(table.schema))
    return time.process_time() - start


def textbook(answers: list[bytes], path: Path) -> float:
    """The same with MessageToDict and a list of dicts."""
    start = time.process_time()
    rows = [
        {"output": MessageToDict(output, preserving_proto_field_name=True)["data"]}
        for answer in answers
        for output in service_pb2.MultiOutputResponse.FromString(answer).outputs
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    return time.process_time() - start


def check_concepts(answers: list[bytes], path: Path) -> None:
    """The concepts, their best and their order are those of the messages."""
    rows = iter(pq.read_table(path, columns=["concepts", "label", "score"]).to_pylist())
    for answer in answers:
        for output in service_pb2.MultiOutputResponse.FromString(answer).outputs:
            row = next(rows)
            said = [{"id": one.id, "name": one.name, "value": one.value} for one in output.data.concepts]
            best = max(said, key=lambda one: one["value"])
            if row != {"concepts": said, "label": best["name"], "score": best["value"]}:
                raise SystemExit("the concepts differ from the messages'")


def check_regions(answers: list[bytes], path: Path) -> None:
    """The boxes and labels are those of the messages."""
    rows = iter(pq.read_table(path, columns=["regions"]).to_pylist())
    for answer in answers:
        for output in service_pb2.MultiOutputResponse.FromString(answer).outputs:
            for region, row in zip(output.data.regions, next(rows)["regions"], strict=True):
                box = region.region_info.bounding_box
                want = np.array([box.left_col, box.top_row, box.right_col, box.bottom_row], np.float32)
                x, y, width, height = row["bbox_rel"]
                if not np.allclose([x, y, x + width, y + height], want, atol=1e-6):
                    raise SystemExit("the boxes differ from the messages'")
                if row["label"] != region.data.concepts[0].name:
                    raise SystemExit("the labels differ from the messages'")


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows, or tenths of detections, a case")
    count = parser.parse_args().rows
    random = np.random.default_rng(0)
    concepts = [response([classification(random, 20) for _ in range(BATCH)]) for _ in range(count // BATCH)]
    boxes = [response([detections(random, 20) for _ in range(BATCH)]) for _ in range(count // BATCH // 4)]
    cases: list[tuple[str, str, list[bytes], int, int, Callable[[list[bytes], Path], Any]]] = [
        ("20-concepts", "rows", concepts, len(concepts) * BATCH, 45_000, check_concepts),
        ("detections", "detections", boxes, len(boxes) * BATCH * 20, 150_000, check_regions),
    ]
    for name, unit, answers, items, target, check in cases:
        with TemporaryDirectory() as folder:
            path = Path(folder, "predictions.parquet")
            slow = textbook(answers, Path(folder, "textbook.parquet"))
            ours(answers, path)
            check(answers, path)
            fast = min(ours(answers, path) for _ in range(3))
        print(
            json.dumps(
                {
                    "case": name,
                    unit: items,
                    f"{unit}_per_second": round(items / fast),
                    f"textbook_{unit}_per_second": round(items / slow),
                    "target": target,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
