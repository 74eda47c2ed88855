"""Measures masks a second from response bytes to a Parquet file, on one core, against the textbook way.

Each case first checks that every stored mask equals pycocotools' own. Time is that of the
processor, so that other processes on the machine do not change it. One JSON line a case.

    python benchmarks/masks.py [--masks 600] [--only 8bit-1024x768]
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
from bulkinfer.transforms.endpoints.clarifai.answer.reader import OutputReader
from bulkinfer.transforms.records import Prediction, Reference
from bulkinfer.transforms.rows.schemas import parquet_options
from bulkinfer.transforms.rows.table_builder import TableBuilder, TableOptions
from clarifai_grpc.grpc.api import service_pb2
from PIL import Image
from pycocotools import mask as coco
from samples import blob, png, response, segmentation

CASES = {  # name: bits, width, height, masks an image, target a second
    "8bit-1024x768": (8, 1024, 768, 50, 2000),
    "1bit-1024x768": (1, 1024, 768, 50, 1500),
    "8bit-1920x1080": (8, 1920, 1080, 50, None),
}


def ours(answers: list[bytes], folder: Path) -> float:
    """Seconds of processor time from serialized responses to a closed Parquet file."""
    start = time.process_time()
    builder = TableBuilder(TableOptions("benchmark", functools.partial(OutputReader, None)))
    for number, answer in enumerate(answers):
        message = service_pb2.MultiOutputResponse.FromString(answer)
        reference = Reference(f"image-{number}", f"s3://b/{number}.jpg", "image")
        builder.add([Prediction(reference, (output,)) for output in message.outputs])
    tables = builder.finish()
    pq.write_table(tables.masks, folder / "masks.parquet", **parquet_options(tables.masks.schema))
    return time.process_time() - start


def textbook(answers: list[bytes], folder: Path) -> float:
    """The same with Pillow, a transposing copy, pycocotools and rows of dicts."""
    import pyarrow as pa

    start = time.process_time()
    rows = []
    for number, answer in enumerate(answers):
        message = service_pb2.MultiOutputResponse.FromString(answer)
        for output in message.outputs:
            for at, region in enumerate(output.data.parts[0].data.regions):
                pixels = np.asarray(Image.open(io.BytesIO(region.region_info.mask.image.base64)))
                rle = coco.encode(np.asfortranarray((pixels != 0).astype(np.uint8)))
                rows.append(
                    {
                        "input_id": f"image-{number}",
                        "region_index": at,
                        "area": int(coco.area(rle)),
                        "bbox": coco.toBbox(rle).tolist(),
                        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    }
                )
    pq.write_table(pa.Table.from_pylist(rows), folder / "textbook.parquet", compression="zstd")
    return time.process_time() - start


def check(folder: Path) -> None:
    """Every mask, area and box of the two files is the same."""
    mine = pq.read_table(folder / "masks.parquet", columns=["segmentation", "area", "bbox"]).to_pylist()
    theirs = pq.read_table(folder / "textbook.parquet", columns=["segmentation", "area", "bbox"]).to_pylist()
    if mine != theirs:
        raise SystemExit("the masks differ from pycocotools'")


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=600, help="masks a case")
    parser.add_argument("--only", choices=list(CASES), help="run one case")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else CASES:
        bits, width, height, regions, target = CASES[name]
        random = np.random.default_rng(0)
        distinct = [png(blob(random, height, width), bits) for _ in range(min(arguments.masks, 100))]
        pictures = [distinct[at % len(distinct)] for at in range(arguments.masks)]
        answers = [
            response([segmentation(pictures[at : at + regions])]) for at in range(0, len(pictures), regions)
        ]
        with TemporaryDirectory() as folder:
            slow = textbook(answers, Path(folder))
            ours(answers, Path(folder))
            check(Path(folder))
            fast = min(ours(answers, Path(folder)) for _ in range(3))
        print(
            json.dumps(
                {
                    "case": name,
                    "masks": len(pictures),
                    "png_bytes": round(sum(map(len, pictures)) / len(pictures)),
                    "masks_per_second": round(len(pictures) / fast),
                    "textbook_masks_per_second": round(len(pictures) / slow),
                    "target": target,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
