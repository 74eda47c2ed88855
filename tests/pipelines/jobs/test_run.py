"""`bulkinfer run` as a user types it: its tables, its output and its exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from PIL import Image
from pycocotools import mask as coco
from support.archives import tar, zipped
from support.http_server import http_server
from support.jobs import photo, rows, run_cli, write_job
from support.s3_server import s3_server

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"
SUMMARY_KEYS = {
    "run_id",
    "inputs",
    "predictions",
    "errors",
    "skipped",
    "masks",
    "calls",
    "retries",
    "seconds",
    "output",
    "remaining",
    "new",
    "changed",
}


def model(endpoint, method="classify", **more):
    return {"url": MODEL, "endpoint": endpoint, "method": method, **more}


def texts(folder, count):
    (folder / "texts").mkdir()
    for n in range(count):
        (folder / "texts" / f"{n:03}.txt").write_text(f"This is the text with the number {n}.")


def test_texts_become_one_prediction_each(tmp_path, endpoint):
    texts(tmp_path, 40)
    job = write_job(tmp_path, source={"files": "texts/*.txt"}, model=model(endpoint))

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    assert ran.json.keys() >= SUMMARY_KEYS
    assert (ran.json["inputs"], ran.json["predictions"], ran.json["errors"]) == (40, 40, 0)
    assert ran.json["calls"] <= 4
    found = rows(tmp_path / "out", "predictions")
    assert [row["input_id"] for row in found] == [f"{tmp_path}/texts/{n:03}.txt" for n in range(40)]
    assert {row["label"] for row in found} == {"English"}
    assert {row["run_id"] for row in found} == {ran.json["run_id"]}
    assert not rows(tmp_path / "out", "errors")


def test_masks_decode_and_lie_on_the_object(tmp_path, endpoint):
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        (tmp_path / "photos" / f"{seed}.jpg").write_bytes(photo(seed))
    job = write_job(tmp_path, source={"files": "photos/*.jpg"}, model=model(endpoint, "segment_anything"))

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    masks = rows(tmp_path / "out", "masks")
    assert ran.json["masks"] == len(masks) >= 3
    for row in masks:
        picture = coco.decode(row["segmentation"])
        assert picture.shape == (72, 96)
        assert int(picture.sum()) == row["area"]
    discs = [row for row in masks if abs(row["area"] - 3.14 * 15 * 15) < 250]
    assert {row["input_id"] for row in discs} == {f"{tmp_path}/photos/{seed}.jpg" for seed in range(3)}


@pytest.mark.parametrize("masks", ["png", "both", "none"])
def test_masks_are_stored_as_asked(tmp_path, endpoint, masks):
    (tmp_path / "a.jpg").write_bytes(photo())
    job = write_job(
        tmp_path,
        source={"files": "*.jpg"},
        model=model(endpoint, "segment_anything"),
        output={"uri": "out", "masks": masks},
    )

    assert run_cli("run", job, cwd=tmp_path).code == 0
    found = rows(tmp_path / "out", "masks")
    assert bool(found) == (masks != "none")
    for row in found:
        assert (row["segmentation"] is not None) == (masks == "both")
        assert Image.open(io.BytesIO(row["mask"]["bytes"])).size == (96, 72)


def test_bad_inputs_become_errors_and_every_other_input_lands(tmp_path, endpoint):
    texts(tmp_path, 10)
    (tmp_path / "texts" / "empty.txt").write_bytes(b"")
    (tmp_path / "texts" / "latin1.txt").write_bytes(b"caf\xe9 cr\xe8me")
    (tmp_path / "texts" / "long.txt").write_text("long " * 1000)
    job = write_job(tmp_path, source={"files": "texts/*.txt", "max_bytes": 2000}, model=model(endpoint))

    ran = run_cli("run", job, "--json", "--set", "stop.error_ratio=1", cwd=tmp_path)

    assert ran.code == 3, ran.err
    assert (ran.json["predictions"], ran.json["errors"]) == (10, 3)
    errors = {row["input_id"]: row for row in rows(tmp_path / "out", "errors")}
    assert set(errors) == {f"{tmp_path}/texts/{name}.txt" for name in ("empty", "latin1", "long")}
    assert {row["stage"] for row in errors.values()} == {"read"}
    assert len({row["error_type"] for row in errors.values()}) == 3
    assert len(rows(tmp_path / "out", "predictions")) == 10


def test_bytes_that_are_no_image_cost_their_own_row_only(tmp_path, endpoint):
    (tmp_path / "good.jpg").write_bytes(photo())
    (tmp_path / "bad.jpg").write_bytes(b"this is no JPEG at all" * 10)
    (tmp_path / "cut.jpg").write_bytes(photo()[:700])
    job = write_job(tmp_path, source={"files": "*.jpg"}, model=model(endpoint, "segment_anything"))

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 3, ran.err
    assert f"{tmp_path}/good.jpg" in {row["input_id"] for row in rows(tmp_path / "out", "predictions")}
    assert f"{tmp_path}/bad.jpg" in {row["input_id"] for row in rows(tmp_path / "out", "errors")}
    assert ran.json["predictions"] + ran.json["errors"] == 3


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_manifest_row_is_an_input_and_kept_columns_are_copied(tmp_path, endpoint, suffix):
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [
        {"name": f"n{n}", "body": f"Ein kurzer Satz, Nummer {n}.", "city": f"c{n % 2}"} for n in range(6)
    ]
    path = tmp_path / f"refs.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        comma = "," if suffix == "csv" else "\t"
        quoted = [comma.join(f'"{value}"' for value in record.values()) for record in records]
        path.write_text("\n".join([comma.join(records[0]), *quoted]) + "\n")
    job = write_job(
        tmp_path,
        source={
            "manifest": path.name,
            "media": "text",
            "columns": {"content": "body", "id": "name", "keep": ["city"]},
        },
        model=model(endpoint),
    )

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "out", "predictions")
    assert [(row["input_id"], row["city"], row["label"]) for row in found] == [
        (f"n{n}", f"c{n % 2}", "German") for n in range(6)
    ]


def test_a_broken_line_and_a_duplicate_id_are_errors_and_the_rest_lands(tmp_path, endpoint):
    lines = [json.dumps({"id": f"n{n}", "body": f"Sentence number {n} is here."}) for n in range(5)]
    lines.insert(2, '{"id": "broken", "body": ')
    lines.append(json.dumps({"id": "n1", "body": "The same id once more."}))
    (tmp_path / "refs.jsonl").write_text("\n".join(lines) + "\n")
    job = write_job(
        tmp_path,
        source={"manifest": "refs.jsonl", "media": "text", "columns": {"content": "body", "id": "id"}},
        model=model(endpoint),
    )

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 3, ran.err
    assert (ran.json["inputs"], ran.json["predictions"], ran.json["errors"]) == (7, 5, 2)
    assert [row["input_id"] for row in rows(tmp_path / "out", "predictions")] == [f"n{n}" for n in range(5)]
    errors = rows(tmp_path / "out", "errors")
    assert {row["stage"] for row in errors} == {"list"}
    assert any("refs.jsonl:3" in row["message"] for row in errors)
    assert any("n1" in row["message"] for row in errors)


def test_a_vanished_file_of_a_manifest_is_an_error(tmp_path, endpoint):
    texts(tmp_path, 2)
    (tmp_path / "refs.csv").write_text("uri\ntexts/000.txt\ntexts/gone.txt\ntexts/001.txt\n")
    job = write_job(
        tmp_path, source={"manifest": "refs.csv", "columns": {"uri": "uri"}}, model=model(endpoint)
    )

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 3, ran.err
    assert [row["input_id"] for row in rows(tmp_path / "out", "errors")] == ["texts/gone.txt"]
    assert len(rows(tmp_path / "out", "predictions")) == 2


def test_members_of_archives_are_inputs_and_are_done_once(tmp_path, endpoint):
    zipped(tmp_path / "texts.zip", {f"in/{n}.txt": b"This is a member of a ZIP file." for n in range(3)})
    for shard in range(2):
        contents = {f"./{n}.txt": f"This is number {n} of a shard.".encode() for n in range(4)}
        tar(tmp_path / f"shard-{shard}.tar.gz", contents, "w:gz")
    files = ["zip://in/*.txt::texts.zip", "tar://*.txt::shard-*.tar.gz"]
    job = write_job(tmp_path, source={"files": files}, model=model(endpoint))

    ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "out", "predictions")
    assert [row["input_id"] for row in found] == [
        *(f"tar://{n}.txt::{tmp_path}/shard-{shard}.tar.gz" for n in range(4) for shard in range(2)),
        *(f"zip://in/{n}.txt::{tmp_path}/texts.zip" for n in range(3)),
    ]
    assert {row["uri"] for row in found} == {row["input_id"] for row in found}
    contents["./1.txt"] += b" It has changed."
    tar(tmp_path / "shard-1.tar.gz", contents, "w:gz")
    plan = run_cli("plan", job, "--json", cwd=tmp_path).json
    assert (plan["inputs"], plan["done"], plan["changed"], plan["new"], plan["exact"]) == (11, 10, 1, 0, True)
    again = run_cli("run", job, "--json", cwd=tmp_path).json
    assert (again["changed"], again["skipped"], again["calls"], again["gone"]) == (1, 10, 1, 0)


@pytest.mark.parametrize("argument", ["$content", "$uri"])
def test_inputs_from_http_are_fetched_or_passed_by_url(tmp_path, endpoint, argument):
    with http_server() as server:
        server.files["a.jpg"] = photo(1)
        server.files["b.jpg"] = photo(2)
        (tmp_path / "refs.csv").write_text(f"uri\n{server.link('a.jpg')}\n{server.link('b.jpg')}\n")
        job = write_job(
            tmp_path,
            source={"manifest": "refs.csv", "columns": {"uri": "uri"}},
            model=model(endpoint, "segment_anything", arguments={"image": argument}),
        )

        ran = run_cli("run", job, "--json", cwd=tmp_path)

    assert ran.code == 0, ran.err
    assert len(rows(tmp_path / "out", "predictions")) == 2
    assert ran.json["masks"] >= 2


def test_s3_holds_the_inputs_and_the_tables(tmp_path, endpoint):
    with s3_server("photos") as server:
        filesystem = server.filesystem()
        for n in range(5):
            filesystem.pipe(f"photos/in/{n}.txt", f"The quick brown fox number {n}.".encode())
        job = write_job(
            tmp_path,
            source={"files": "s3://photos/in/*.txt", "storage": server.storage},
            model=model(endpoint),
            output={"uri": "s3://photos/out", "storage": server.storage},
        )

        ran = run_cli("run", job, "--json", cwd=tmp_path)

        assert ran.code == 0, ran.err
        assert (ran.json["predictions"], ran.json["output"]) == (5, "s3://photos/out")
        filesystem.get("photos/out", str(tmp_path / "copy"), recursive=True)
        again = run_cli("run", job, "--json", cwd=tmp_path)
        record = "".join(path.read_text() for path in (tmp_path / "copy" / "_runs").rglob("*.json"))
    assert [row["input_id"] for row in rows(tmp_path / "copy", "predictions")] == [
        f"s3://photos/in/{n}.txt" for n in range(5)
    ]
    assert (again.json["skipped"], again.json["calls"]) == (5, 0)
    assert "testing" not in record


def test_the_second_run_of_a_finished_job_sends_nothing(tmp_path, endpoint):
    texts(tmp_path, 5)
    (tmp_path / "texts" / "empty.txt").write_bytes(b"")
    job = write_job(tmp_path, source={"files": "texts/*.txt"}, model=model(endpoint))
    first = run_cli("run", job, "--json", cwd=tmp_path)
    before = rows(tmp_path / "out", "predictions")

    second = run_cli("run", job, "--json", cwd=tmp_path)

    assert (first.json["predictions"], first.json["errors"]) == (5, 1)
    assert (second.json["skipped"], second.json["calls"], second.json["predictions"]) == (6, 0, 0)
    assert rows(tmp_path / "out", "predictions") == before
    assert len(rows(tmp_path / "out", "errors")) == 1


def test_limit_takes_the_first_inputs_and_set_overrides(tmp_path, endpoint):
    texts(tmp_path, 10)
    job = write_job(tmp_path, source={"files": "texts/*.txt"}, model=model(endpoint))

    ran = run_cli("run", job, "--json", "--limit", "3", "--set", "output.uri=elsewhere", cwd=tmp_path)

    assert ran.code == 0, ran.err
    assert ran.json["output"] == "elsewhere"
    assert [row["input_id"] for row in rows(tmp_path / "elsewhere", "predictions")] == [
        f"{tmp_path}/texts/{n:03}.txt" for n in range(3)
    ]


def test_a_job_of_one_worker_needs_no_beam_and_gives_the_same_rows(tmp_path, endpoint):
    """Beam's local runner does what has options for it."""
    texts(tmp_path, 30)
    job = write_job(tmp_path, source={"files": "texts/*.txt"}, model=model(endpoint))
    script = (
        "import sys; from bulkinfer.pipelines.cli import main\n"
        "try: main(['run', sys.argv[1], '--json', '--set', 'output.uri=' + sys.argv[2], *sys.argv[3:]])\n"
        "finally: print('Beam' if 'apache_beam' in sys.modules else 'no Beam')"
    )

    said = {}
    for out, flags in (("none", []), ("beam", ["--", "--job_name=mine"])):
        ran = subprocess.run(
            [sys.executable, "-c", script, job, out, *flags],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        summary, said[out] = ran.stdout.splitlines()
        assert json.loads(summary)["predictions"] == 30

    assert said == {"none": "no Beam", "beam": "Beam"}
    answers = [
        [(row["input_id"], row["label"], row["concepts"]) for row in rows(tmp_path / out, "predictions")]
        for out in said
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 30


def test_two_worker_processes_give_the_same_rows(tmp_path, endpoint):
    texts(tmp_path, 30)
    job = write_job(tmp_path, source={"files": "texts/*.txt"}, model=model(endpoint))

    one = run_cli("run", job, "--json", cwd=tmp_path)
    two = run_cli("run", job, "--json", "--set", "output.uri=two", "--set", "runner.workers=2", cwd=tmp_path)

    assert (one.code, two.code) == (0, 0), one.err + two.err
    answers = [
        [(row["input_id"], row["label"], row["concepts"]) for row in rows(tmp_path / out, "predictions")]
        for out in ("out", "two")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 30
