"""Models that come in wheels, run by ONNX Runtime in the workers of a job: a classifier of files, and OCR."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont
from support.jobs import rows, run_cli, write_job
from support.paths import ROOT

pytestmark = pytest.mark.slow

# Without their dependencies, which are here already, or which these models do not import.
WHEELS = (
    *("onnxruntime", "magika", "python-dotenv"),
    *("rapidocr", "pyclipper", "shapely", "omegaconf", "antlr4-python3-runtime==4.9.3", "colorlog"),
)
MODELS = """
import numpy as np
from magika import Magika
from rapidocr import RapidOCR


class FileType:
    def __init__(self):
        self.magika = Magika()

    def __call__(self, data: list[bytes]):
        return [self.one(self.magika.identify_bytes(one)) for one in data]

    def one(self, found):
        return {"label": found.output.label, "score": found.score, "mime": found.output.mime_type}


class Signs:
    def __init__(self):
        self.engine = RapidOCR()

    def __call__(self, image: list[np.ndarray]):
        return [self.read(one) for one in image]

    def read(self, picture):
        found = self.engine(picture)
        if found.boxes is None:
            return []
        lines = zip(found.boxes, found.txts, found.scores)
        return [{"polygon": box, "text": text, "score": score} for box, text, score in lines]
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("wheels")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder),
        *WHEELS,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return str(folder)


def run(
    folder: Path, wheels: str, name: str, source: dict[str, Any], **sections: Any
) -> list[dict[str, Any]]:
    (folder / "wheel_models.py").write_text(MODELS)
    model = {"kind": "python", "callable": f"wheel_models:{name}", **sections.pop("model", {})}
    write_job(folder, source=source, model=model, **sections)
    ran = run_cli("run", "job.yaml", "--json", cwd=folder, env={"PYTHONPATH": wheels})
    assert ran.code == 0, ran.err
    return rows(folder / "out", "predictions")


def test_files_are_told_apart_in_processes_of_their_own(tmp_path: Path, wheels: str) -> None:
    source = {"files": [f"{ROOT}/transforms/job/*.py", f"{ROOT}/configs/*.yaml"], "media": "text"}
    found = run(tmp_path, wheels, "FileType", source, model={"executor": "process"}, calls={"in_flight": 2})

    assert len(found) > 10
    for row in found:
        assert row["label"] == ("python" if row["input_id"].endswith(".py") else "yaml")
        assert row["score"] > 0.5
        assert '"mime":' in row["json"]


def test_signs_are_read(tmp_path: Path, wheels: str) -> None:
    for text in ("BULK 2026", "INFERENCE"):
        picture = Image.new("RGB", (420, 120), "white")
        ImageDraw.Draw(picture).text((20, 30), text, fill="black", font=ImageFont.load_default(60))
        picture.save(tmp_path / f"{text.split()[0]}.png")
    found = run(tmp_path, wheels, "Signs", {"files": "*.png"})

    assert [row["num_regions"] for row in found] == [1, 1]
    assert [row["text"] for row in rows(tmp_path / "out", "masks")] == ["BULK 2026", "INFERENCE"]
    (polygon,) = rows(tmp_path / "out", "masks")[0]["polygon"]
    assert len(polygon) == 8
    assert min(polygon) >= 0 and max(polygon) <= 420
