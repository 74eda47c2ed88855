"""`bulkinfer init`: what it writes for a method runs as it stands, and nobody's words in it become keys."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml
from bulkinfer.pipelines.embedded.models.demo import METHODS
from bulkinfer.pipelines.jobs.first_job import first_job, job_text
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method, legacy_method
from bulkinfer.transforms.errors import MethodError
from bulkinfer.transforms.job.job_file import load_job
from bulkinfer.transforms.preparation import prepare_job
from bulkinfer.transforms.sources.pieces import PieceReader, first_pieces
from support.jobs import rows, run_cli
from support.paths import PHOTOS, ROOT

NAMES = sorted(METHODS)
MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one file of each media type."""
    for place in ("photos", "notes", "clips", "sounds"):
        (tmp_path / place).mkdir()
    shutil.copy(PHOTOS / "saturn.jpg", tmp_path / "photos")
    shutil.copy(ROOT / "configs" / "video" / "dahlia.mp4", tmp_path / "clips")
    (tmp_path / "notes" / "a.txt").write_text(
        "The first line of a note.\nThe second line, which is longer.\n"
    )
    with wave.open(str(tmp_path / "sounds" / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes((np.sin(np.arange(8000) / 9) * 9000).astype("<i2").tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_what_it_writes_for_a_method_is_a_job_that_the_model_answers(
    name: str, folder: Path, endpoint: str
) -> None:
    (folder / "job.yaml").write_text(first_job(endpoint, MODEL, name), encoding="utf-8")

    prepared = prepare_job(load_job("job.yaml").config)
    reader = PieceReader(prepared.source, None)
    ((reference,),) = (one for piece in first_pieces(prepared.source) for one in reader.read(piece))
    content = Fetcher(max_bytes=10**6, storage={}).content(reference)
    called = prepared.call.endpoint
    with ModelClient(called.server, called.model) as client:
        outputs = client.call_one(called.binding, content)

    assert {output.status.code for output in outputs} == {10000}


def test_it_runs_as_it_stands_on_the_shipped_files(tmp_path: Path, name: str = "segment_anything") -> None:
    wrote = run_cli("init", "--endpoint", "embedded", "--method", name, cwd=ROOT)
    (tmp_path / "job.yaml").write_text(wrote.out, encoding="utf-8")
    out = ("--set", f"output.uri={tmp_path}/out")
    ran = run_cli("run", tmp_path / "job.yaml", "--limit", "1", "--json", *out, cwd=ROOT)

    assert ran.code == 0, wrote.err + ran.err
    assert ran.json["predictions"] == 1
    assert rows(tmp_path / "out", "predictions")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"levels", "measure_audio"}))  # no recording is shipped
def test_every_method_runs_on_the_shipped_files(name: str, tmp_path: Path) -> None:
    test_it_runs_as_it_stands_on_the_shipped_files(tmp_path, name)


def test_it_names_the_folder_with_the_most_files_that_fit(folder: Path, endpoint: str) -> None:
    (folder / "more").mkdir()
    for name in ("b.png", "c.png", "d.txt"):
        (folder / "more" / name).write_bytes(b"")

    text = first_job(endpoint, MODEL, "segment_anything")

    assert yaml.safe_load(text)["source"] == {"files": "more/*.png"}
    assert "# 2 here;" in text


def test_without_such_files_it_names_a_place_for_them_that_plan_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = first_job(endpoint, MODEL, "measure_audio")
    (tmp_path / "job.yaml").write_text(text)

    ran = run_cli("plan", "job.yaml", cwd=tmp_path)

    assert ran.code == 2
    assert "source.files: audio/*.wav matches no file" in ran.err


def test_an_unknown_method_is_told_what_there_is(endpoint: str) -> None:
    with pytest.raises(MethodError, match="no method 'clasify'; did you mean 'classify'"):
        first_job(endpoint, None, "clasify")


def test_a_parameter_without_a_default_is_left_for_a_person_to_fill_in(tmp_path: Path) -> None:
    method = Method(
        "ask", "UNARY_UNARY", (Field("image", "IMAGE", required=True), Field("prompt", "STR", required=True))
    )
    written = yaml.safe_load(job_text(method, endpoint=None, model=MODEL, folder=tmp_path))

    assert written["model"] == {
        "url": MODEL,
        "method": "ask",
        "arguments": {"image": "$content", "prompt": None},
    }


def test_settings_are_told_with_their_defaults_choices_and_limits(tmp_path: Path) -> None:
    method = Method(
        "say",
        "UNARY_STREAMING",
        (
            Field("prompt", "STR", required=True),
            Field("images", "LIST", type_args=(Field("item", "IMAGE"),)),
            Field("temperature", "FLOAT", default=0.7, minimum=0, maximum=2, is_param=True),
            Field("voice", "STR", default="low", choices=("low", "high"), is_param=True),
        ),
    )
    text = job_text(method, endpoint="http://127.0.0.1:9", model=None, folder=tmp_path)

    assert "    prompt: $content " in text
    assert "    # images: $column.images " in text
    assert "    # temperature: 0.7                  # float, 0 to 2: the default" in text
    assert "    # voice: low                        # str, one of low, high: the default" in text
    assert yaml.safe_load(text)["model"]["url"] == MODEL
    assert yaml.safe_load(text)["calls"]["timeout"] == "5m"


@pytest.mark.parametrize(
    ("field", "source", "value"),
    [
        (
            Field("pictures", "LIST", required=True, type_args=(Field("i", "IMAGE"),)),
            "photos/*.jpg",
            ["$content"],
        ),
        (Field("blob", "BYTES", required=True), "photos/*.jpg", "$content"),
        (Field("sound", "AUDIO", required=True), "audio/*.wav", "$content"),
        (Field("message", "JSON_DATA", required=True), None, "$content"),
    ],
)
def test_the_source_follows_from_the_parameter(
    field: Field, source: str | None, value: object, tmp_path: Path
) -> None:
    method = Method("m", "UNARY_UNARY", (field,))
    written = yaml.safe_load(job_text(method, endpoint=None, model=MODEL, folder=tmp_path))

    assert written["source"].get("files") == source
    assert ("manifest" in written["source"]) == (source is None)
    assert written["model"]["arguments"] == {field.name: value}


def test_a_model_without_signatures_takes_pictures(tmp_path: Path) -> None:
    written = yaml.safe_load(job_text(legacy_method("image"), endpoint=None, model=MODEL, folder=tmp_path))

    assert written["model"]["arguments"] == {"image": "$content"}
    assert written["output"]["masks"] == "rle"


def test_the_words_of_a_model_stay_comments(tmp_path: Path) -> None:
    hostile = "nice\nmodel:\n  endpoint: https://evil.example\r\n\x1b[2J\u202e\u2028calls: {}"
    field = Field("a: b\n#", "STR", required=True, description=hostile, default=None)
    other = Field("n", "STR", default="x\nsource: evil", description="d")
    method = Method("m\nsource: {files: /etc/passwd}", "UNARY_UNARY", (field, other), description=hostile)
    text = job_text(method, endpoint=None, model=MODEL, folder=tmp_path)
    written = yaml.safe_load(text)

    assert set(written) == {"source", "model", "calls", "output"}
    assert written["source"] == {"files": "texts/*.txt"}
    assert written["model"] == {"url": MODEL, "method": method.name, "arguments": {"a: b\n#": "$content"}}
    assert all(one.isprintable() or one == "\n" for one in text)
