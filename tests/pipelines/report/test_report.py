"""The page of an output: complete, small, without secrets, and nobody's text becomes markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bulkinfer.pipelines.commands.run import written_report
from bulkinfer.pipelines.report.output import open_output
from bulkinfer.pipelines.report.report import report_page, write_report
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.job.job_file import check_sections
from bulkinfer.transforms.runs.job_text import without_secrets
from PIL import Image
from support.jobs import photo, run_cli, write_job
from support.outputs import error, mask, prediction, region, write_output
from support.pages import Read
from support.s3_server import s3_server

HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "]]><!--",
    "&lt;b&gt;&#x3c;i>",
    "\u202egpj.exe\u2066",
    "\x1b[31mred\x1b[0m\x07\x00",
    "a\nb\r\tc\u2028d",
    "../../../etc/passwd",
    "javascript:alert(1)",
    "x" * 10_000,
    "{{7*7}}${7*7}%s",
    "\ud83d\ude00 naïve 日本語 עברית".encode("utf-16", "surrogatepass").decode("utf-16"),
]


def page_of(folder: Path, **options: Any) -> str:
    return report_page(open_output(str(folder)), **options)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_anybody_becomes_markup(text: str, tmp_path: Path) -> None:
    pixels = np.ones((30, 40), bool)
    name = str(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(photo(size=(40, 30)))

    def write(folder: Path, word: str, plain: str) -> Path:
        concept = [{"id": word, "name": word, "value": 0.5}]
        regions = [region(0, label=word, track_id=word, score=0.5), region(1, label=word)]
        rows = [
            prediction(name, regions=regions, width=40, height=30, kept=word),
            prediction(f"b {word}", uri=word, label=word, score=0.5, concepts=concept, text=word, kept=word),
            prediction(
                f"c {word}", string_value=word, json=word, tool_calls=word, model_version=word, kept=word
            ),
            prediction(
                f"d {word}", colors=[{"raw_hex": word, "w3c_name": word, "value": 0.1}], model_url=word
            ),
            prediction("e", time_segments=[{"text": word, "begin_time": 0.0, "end_time": 1.0}], text=word),
        ]
        masks = [mask(name, 0, pixels, label=word, text=word, note=f"lossy: {word}", track_id=word)]
        errors = [error(f"e {word}", message=word, error_type=word)]
        job = {"model": {"method": word, "arguments": {word: word}}, "source": {"files": word}}
        keep = pa.schema([("kept", pa.string())])
        return write_output(folder, rows, masks, errors, keep=keep, job=job, job_file=plain)

    page = page_of(write(tmp_path / "hostile", text, text.replace("\x00", "")))
    tame = page_of(write(tmp_path / "tame", "tame", "tame"))
    read, expected = Read(page), Read(tame)

    for tag in ("script", "style", "img", "a", "b", "i", "title", "path", "rect", "article", "svg"):
        assert read.count(tag) == expected.count(tag), tag
    for tag, attributes in read.elements:
        assert not [one for one in attributes if one.startswith("on")], (tag, attributes)
        for target in (attributes.get("href"), attributes.get("src")):
            assert target is None or re.match(r"#|data:image/jpeg;|data:,$", target), target
    assert not set(page) & set("\x00\x07\x1b\u202e\u2066\u2028\r")
    assert len(page) < len(tame) + 500_000


def test_a_hostile_name_is_still_legible(tmp_path: Path) -> None:
    texts = Read(page_of(write_output(tmp_path, [prediction("x", text="<b>bold</b> \u202e\x1b[1m")]))).texts

    assert any("<b>bold</b> \u27e8202E\u27e9\u27e81B\u27e9[1m" in one for one in texts)


def test_secrets_are_on_no_page(tmp_path: Path) -> None:
    job = {
        "source": {
            "files": "https://me:hunter1@h/*.jpg?sig=hunter2",
            "storage": {"s3": {"secret": "hunter3"}},
        },
        "model": {"arguments": {"api_key": "hunter4", "prompt": "see https://h/?X-Amz-Signature=hunter5"}},
    }
    rows = [prediction("a", uri="https://***@127.0.0.1:9/a.jpg?sig=***")]
    page = page_of(write_output(tmp_path, rows, job=without_secrets(job)))

    assert "hunter" not in page
    assert "prompt" in page


def test_failures_come_first_with_the_command_that_tries_them_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    job = {"source": {"files": "*.jpg"}, "model": {"endpoint": "embedded"}, "output": {"uri": "elsewhere"}}
    write_job(tmp_path, **job)
    ran = {**job, "output": {"uri": "out it's"}}
    write_output(
        tmp_path / "out",
        [prediction("a")],
        [],
        [error("b", retryable=True, error_type="busy")],
        job=ran,
        job_file=str(tmp_path / "job.yaml"),
    )
    page = page_of(tmp_path / "out")
    text = "".join(Read(page).texts)

    command = f"bulkinfer run {tmp_path}/job.yaml --set 'output.uri=out it'\"'\"'s' --retry-failed"
    assert command in text
    assert "--error-type busy" in text
    sections = [attributes["id"] for tag, attributes in Read(page).elements if tag == "section"]
    assert sections == ["failures-section", "changes", "inputs", "figures", "runs-section", "job"]


def test_without_the_source_the_page_says_so_and_has_all_else(tmp_path: Path) -> None:
    rows = [prediction(f"/gone/{number}.jpg", label="cat") for number in range(3)]
    text = "".join(Read(page_of(write_output(tmp_path, rows))).texts)

    assert "No input could be read from its source, so that none is shown" in text
    assert "/gone/0.jpg is not there" in text
    assert "cat" in text


def test_an_output_of_failures_alone_has_a_page(tmp_path: Path) -> None:
    page = page_of(write_output(tmp_path, [], [], [error("a")]))

    assert "Failed inputs by type" in page
    assert 'id="inputs"' not in page


def test_a_page_of_many_large_pictures_stays_below_five_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(150):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)).save(path, compress_level=1)
        rows.append(prediction(str(path), width=320, height=240))
    page = page_of(write_output(tmp_path / "out", rows), sample=150)
    shown = page.count("<article")

    assert 4_000_000 < len(page.encode()) < 5_000_000
    assert f"{150 - shown} inputs are left out" in page


def test_pages_follow_one_another_without_a_gap_and_without_one_twice(tmp_path: Path) -> None:
    write_output(tmp_path, [prediction(f"in/{number}") for number in range(10)])
    seen: list[str] = []
    for start in (0, 4, 8):
        page = page_of(tmp_path, sample=4, start=start)
        seen += re.findall(r"<dd><bdi>(in/\d)</bdi>", page)

    assert sorted(seen) == [f"in/{number}" for number in range(10)]


def test_a_run_ends_by_writing_its_report(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(photo(number))
    model = {"endpoint": endpoint, "url": "https://clarifai.com/bulkinfer/embedded/models/demo"}
    job = write_job(tmp_path, source={"files": "in/*.jpg"}, model={**model, "method": "segment_anything"})

    first = run_cli("run", job, "--report", cwd=tmp_path)
    (tmp_path / "in" / "3.jpg").write_bytes(photo(3))
    (tmp_path / "in" / "0.jpg").unlink()
    second = run_cli("run", job, "--report", "--json", cwd=tmp_path)

    assert (first.code, second.code) == (0, 0), first.err + second.err
    page = tmp_path / "out" / "report.html"
    assert f"open it in a browser: {page.as_uri()}" in first.out
    assert second.json["report"] == str(page)
    text = page.read_text(encoding="utf-8")
    read = Read(text)
    assert read.count("article") == 4
    assert 'aria-label="3.jpg: ' in text
    facts = re.findall(r"<li><b>([^<]*)</b>([^<]*)</li>", text)
    assert ("1", "new") in facts
    assert ("1", "gone from the source") in facts
    assert ("2", "skipped: done before") in facts
    assert "New in the latest run (1)" in text
    record = json.loads((tmp_path / "out" / "_runs" / second.json["run_id"] / "run.json").read_text())
    assert record["outcome"] == {
        "new": 1,
        "changed": 0,
        "gone": 1,
        "dropped": 0,
        "skipped": 2,
        "remaining": 0,
        "cost": None,
    }
    assert (record["job_file"], record["folder"]) == (str(job), str(tmp_path))


def test_a_report_that_cannot_be_written_is_told_and_is_no_fault_of_the_run(
    tmp_path: Path, capsys: Any
) -> None:
    (write_output(tmp_path, [prediction("a")]) / "report.html").mkdir()
    job = check_sections(
        {"source": {"files": "*"}, "model": {"endpoint": "embedded"}, "output": {"uri": str(tmp_path)}}
    )

    assert written_report(job) is None
    assert "no report was written: " in capsys.readouterr().err


def test_the_command_says_where_the_page_is_and_what_is_wrong(tmp_path: Path) -> None:
    write_output(tmp_path / "out", [prediction("a")])
    (tmp_path / "pages").mkdir()

    made = run_cli("report", "out", "--to", "pages/one.html", "--sample", "0", cwd=tmp_path)
    assert (made.code, made.out) == (0, "pages/one.html\n"), made.err
    assert "<!doctype html>" in (tmp_path / "pages" / "one.html").read_text()
    assert run_cli("report", "out", cwd=tmp_path).out == f"{tmp_path}/out/report.html\n"
    nothing = run_cli("report", "nowhere", cwd=tmp_path)
    assert nothing.code == 2
    assert "nowhere holds no finished run" in nothing.err


def test_an_output_on_a_store_is_read_and_written_by_its_job_file(tmp_path: Path, monkeypatch: Any) -> None:
    with s3_server("lake") as server:
        folder = write_output(tmp_path / "made", [prediction("a", label="cat")])
        server.filesystem().put(str(folder), "lake/out", recursive=True)
        job = {"source": {"files": "*.jpg"}, "model": {"endpoint": "embedded"}}
        write_job(tmp_path, **job, output={"uri": "s3://lake/out", "storage": server.storage})
        output = open_output(str(tmp_path / "job.yaml"))
        where = write_report(output)

        assert where == "s3://lake/out/report.html"
        assert b"cat" in server.filesystem().cat_file("lake/out/report.html")


def test_a_broken_table_is_told_by_its_file(tmp_path: Path) -> None:
    write_output(tmp_path, [prediction("a")])
    path = next((tmp_path / "predictions").glob("*.parquet"))
    path.write_bytes(b"PAR1 this is none PAR1")

    with pytest.raises(StoreError, match=rf"{path} cannot be read"):
        page_of(tmp_path)


def test_a_record_of_a_newer_job_file_costs_the_pictures_alone(tmp_path: Path) -> None:
    job = {"source": {"files": "*.jpg", "invented": 1}}
    folder = write_output(tmp_path, [prediction("a", label="cat")], job=job)

    assert open_output(str(folder)).source is None
    assert "cat" in page_of(folder)


def test_numbers_are_in_the_page_as_they_are(tmp_path: Path) -> None:
    page = page_of(
        write_output(tmp_path, [prediction(str(n), label="cat", score=0.5) for n in range(1234)]), sample=1
    )

    assert '<data value="1234">1,234</data>' in page
