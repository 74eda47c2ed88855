"""LoadContent: bytes with their version, faults as rows, everything else lands."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import SlidingWindows, TimestampedValue
from bulkinfer.transforms.content import prefetch
from bulkinfer.transforms.content.faults import PassingReadError
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.content.loader import _Pace
from bulkinfer.transforms.content.prefetch import Budget, Prefetcher
from bulkinfer.transforms.errors import ReadError
from bulkinfer.transforms.records import Content, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from PIL import Image
from support.http_server import HttpServer, http_server
from support.s3_server import S3Server, s3_server


def png(width: int = 8, height: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def fetcher(**options: Any) -> Fetcher:
    return Fetcher(**{"max_bytes": 1_000_000, "storage": {}, **options})


def fault(uri: str, media: str = "image", **options: Any) -> ReadError:
    with pytest.raises(ReadError) as caught:
        fetcher(**options).content(Reference(uri, uri, media))
    return caught.value


@pytest.fixture(scope="module")
def web() -> Iterator[HttpServer]:
    with http_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server("photos") as server:
        yield server


@pytest.mark.parametrize("by_url", [False, True])
def test_a_data_uri_is_the_content_for_every_reader(by_url: bool) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    here = fetcher(by_url=by_url, reference_columns=("other",))
    reference = Reference("a", uri, "image", columns={"other": uri})

    content = here.content(reference)

    assert (content.data, content.width, content.columns) == (png(), 8, {"other": png()})
    assert here.version(reference) == content.reference.version


def test_a_broken_data_uri_is_told_without_its_content() -> None:
    broken = fault("data:image/png;base64,a" + "!" * 500)
    assert broken.error_type == "unreadable"
    assert len(broken.message) < 200
    assert fault("data:image/png;base64," + "A" * 500, max_bytes=100).error_type == "too_large"


def test_a_long_reference_is_cut_in_every_message(tmp_path: Path) -> None:
    long = str(tmp_path / ("a" * 120) / ("b" * 120) / "c.png")
    assert 50 < len(fault(long).message) < 300
    assert long not in fault(long).message


def test_a_path_with_a_nul_costs_its_own_input(tmp_path: Path) -> None:
    assert "null byte" in fault(f"{tmp_path}/a\0b.png").message
    refers = fetcher(reference_columns=("mask",))
    for value, word in (("a\0b.png", "column 'mask'"), ("[" * 100_000, "column 'mask'")):
        with pytest.raises(ReadError, match=word):
            refers.content(Reference("a", None, "text", inline="x", columns={"mask": value}))


def test_an_image_has_its_bytes_size_and_version(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    content = fetcher().content(Reference("a", str(path), "image"))
    assert content.data == png()
    assert (content.width, content.height) == (8, 4)
    stat = path.stat()
    assert content.reference.version == f"size:{stat.st_size},mtime:{stat.st_mtime_ns}"


@pytest.mark.parametrize(
    ("data", "media", "kind", "message"),
    [
        (b"", "image", "empty", r"f: the content has no bytes"),
        (b"", "text", "empty", r"the content has no bytes"),
        (
            b"<html>",
            "image",
            "not_an_image",
            r"f: the 6 bytes are no image that can be read \(they begin 3c 68 74 6d\)",
        ),
        (b"gr\xfc", "text", "not_utf8", r"the text is not UTF-8"),
        (
            b"x" * 2000,
            "audio",
            "too_large",
            r"has 2000 bytes, more than the 1500 that source\.max_bytes allows",
        ),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x40\0\0\0\x40\0",
            "image",
            "too_many_pixels",
            r"16384 x 16384 pixels",
        ),
    ],
)
def test_content_that_cannot_be_sent_says_why(
    tmp_path: Path, data: bytes, media: str, kind: str, message: str
) -> None:
    (tmp_path / "f").write_bytes(data)
    error = fault(str(tmp_path / "f"), media, max_bytes=1500)
    assert error.error_type == kind
    with pytest.raises(ReadError, match=message):
        raise error


def test_a_picture_is_sent_upright_where_that_is_asked_in_columns_too(tmp_path: Path) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(out, "PNG", exif=exif)
    (tmp_path / "a.png").write_bytes(out.getvalue())
    reference = Reference("a", str(tmp_path / "a.png"), "image", columns={"other": "a.png"})
    options: dict[str, Any] = {"reference_columns": ("other",), "base": str(tmp_path)}

    kept = fetcher(**options).content(reference)
    turned = fetcher(**options, turn=True).content(reference)

    assert (kept.width, kept.height, kept.orientation, kept.data) == (8, 4, 6, out.getvalue())
    assert (turned.width, turned.height, turned.orientation) == (4, 8, 1)
    assert turned.data == turned.columns["other"]
    assert Image.open(io.BytesIO(turned.data or b"")).size == (4, 8)
    assert kept.reference.version == turned.reference.version


def test_a_picture_may_be_as_large_as_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8, 4))
    reference = Reference("a", str(tmp_path / "a.png"), "image")

    assert fetcher(max_pixels=32).content(reference).width == 8
    assert fetcher(max_pixels=None).content(reference).width == 8
    assert fault(str(tmp_path / "a.png"), max_pixels=31).error_type == "too_many_pixels"


def test_a_file_that_vanished_is_missing(tmp_path: Path) -> None:
    assert fault(f"{tmp_path}/gone.jpg").error_type == "missing"
    assert fault(f"{tmp_path}/gone.jpg").message.endswith("it may have been moved since it was listed")


def test_a_folder_and_a_pipe_are_unreadable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert fault(f"{tmp_path}/pipe.jpg").error_type == "unreadable"
    assert fault(str(tmp_path)).error_type == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(png())
    path.chmod(0)
    assert fault(str(path)).error_type == "unreadable"


def test_inline_content_has_a_hash_for_a_version() -> None:
    content = fetcher().content(Reference("1", None, "text", inline="hi"))
    assert content.data == b"hi"
    assert content.reference.inline is None
    assert content.reference.version.startswith("blake2b:")


def test_what_is_passed_by_url_is_not_fetched(web: HttpServer) -> None:
    uri = web.link("by-url.jpg")
    content = fetcher(by_url=True).content(Reference(uri, uri, "image"))
    assert content.data is None
    assert web.requests["by-url.jpg"] == 0


def test_a_column_that_holds_a_reference_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(png())
    loader = fetcher(by_url=True, reference_columns=("mask",), base=str(tmp_path))
    assert loader.content(Reference("1", "x", "image", columns={"mask": "mask.png"})).columns == {
        "mask": png()
    }
    with pytest.raises(ReadError, match=r"column 'mask', .*none\.png.* is not there"):
        loader.content(Reference("1", "x", "image", columns={"mask": "none.png"}))


def test_http_content_takes_one_request(web: HttpServer) -> None:
    web.files["one.png"] = png()
    content = fetcher().content(Reference("1", web.link("one.png"), "image"))
    assert content.data == png()
    assert content.reference.version.startswith("etag:")
    assert web.requests["one.png"] == 1


def test_http_faults_that_pass_are_tried_again(web: HttpServer) -> None:
    web.files["flaky.png"] = png()
    web.faults["flaky.png"] = [503, 0, 429]
    assert fetcher().content(Reference("1", web.link("flaky.png"), "image")).data == png()
    assert web.requests["flaky.png"] == 4


def test_http_faults_that_stay_are_told(web: HttpServer) -> None:
    assert fault(web.link("none.png")).message.endswith("none.png is not there: HTTP 404")
    assert web.requests["none.png"] == 1
    web.files["slow.png"], web.delays["slow.png"] = png(), 1.0
    slow = fault(web.link("slow.png"), timeout=0.1, attempts=1)
    assert slow.error_type == "timeout"
    web.faults["down.png"] = [500] * 9
    down = fault(web.link("down.png") + "?token=secret", attempts=2)
    assert isinstance(slow, PassingReadError)
    assert isinstance(down, PassingReadError)
    assert "secret" not in down.message
    web.files["big.png"] = bytes(5000)
    assert fault(web.link("big.png"), max_bytes=4999).error_type == "too_large"


def test_a_server_that_falls_silent_is_given_up_and_asked_again(web: HttpServer) -> None:
    web.files["silent.png"], web.delays["silent.png"] = png(), 1.0

    error = fault(web.link("silent.png"), idle=0.1, attempts=2)

    assert isinstance(error, PassingReadError)
    assert "silent.png was not read in time: no byte came for 0.1 s (source.timeout.idle)" in error.message
    assert web.requests["silent.png"] == 2


def test_a_file_that_drips_is_given_up_after_its_time_and_not_asked_for_again(web: HttpServer) -> None:
    web.files["drips.png"], web.drips["drips.png"] = png(), 0.05

    error = fault(web.link("drips.png"), idle=5.0, timeout=0.3)

    assert isinstance(error, PassingReadError)
    assert "drips.png was not read in time: it took 0.3 s (source.timeout.file)" in error.message
    assert web.requests["drips.png"] == 1


def test_an_object_that_does_not_come_is_given_up_after_its_time(s3: S3Server) -> None:
    s3.filesystem().pipe("photos/late.txt", b"text")
    loader = fetcher(storage=s3.storage, timeout=0.3)
    s3.hanging = 1.0
    try:
        with pytest.raises(PassingReadError, match=r"late.txt was not read in time: it took 0.3 s"):
            loader.content(Reference("1", "s3://photos/late.txt", "text"))
    finally:
        s3.hanging = 0.0


def test_fetches_that_take_long_never_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    places = prefetch.Places(4, 0.05)
    monkeypatch.setattr(prefetch, "_places", lambda: places)
    monkeypatch.setattr(prefetch, "SLOW_S", 0.05)
    goes_on = threading.Event()

    def fetch(reference: Reference) -> Content:
        if reference.uri == "http://slow":
            goes_on.wait(30)
        return Content(reference, b"x")

    ahead: Prefetcher[int] = Prefetcher(fetch, count=4, budget=Budget(30 << 20))
    done = set()
    for number in range(160):
        uri = "http://slow" if number % 4 == 0 else "http://quick"
        done |= {one for one, _, _ in ahead.submit(number, Reference(str(number), uri, "text"))}

    assert (
        len(done) >= 120 - 4
    )  # all quick ones but those under way, although 40 slow ones came to nothing yet
    assert ahead.pending <= 40 + 4
    goes_on.set()
    assert len(done | {one for one, _, _ in ahead.drain()}) == 160


def test_no_server_at_the_address_is_a_fault_that_passes() -> None:
    error = fault("http://127.0.0.1:9/a.png", attempts=1)
    assert isinstance(error, PassingReadError)
    assert "could not be read" in error.message


def test_objects_of_s3_are_read_through_faults(s3: S3Server) -> None:
    filesystem = s3.filesystem()
    for index in range(20):
        filesystem.pipe(f"photos/{index}.png", png())
    loader = fetcher(storage=s3.storage)
    s3.failing = 0.1
    try:
        contents = [loader.content(Reference(str(i), f"s3://photos/{i}.png", "image")) for i in range(20)]
    finally:
        s3.failing = 0.0
    assert {content.data for content in contents} == {png()}
    assert contents[0].reference.version.startswith("etag:")
    assert fault("s3://photos/none.png", storage=s3.storage).error_type == "missing"
    assert fault("s3://photos/1.png", storage=s3.storage, max_bytes=10).error_type == "too_large"


def test_a_listed_object_takes_one_request_and_a_changed_one_its_new_version(s3: S3Server) -> None:
    filesystem = s3.filesystem()
    filesystem.pipe("photos/listed.txt", b"four")
    version = f"etag:{filesystem.info('photos/listed.txt')['ETag'].strip(chr(34))}"
    listed = Reference("1", "s3://photos/listed.txt", "text", version, 4)
    loader = fetcher(storage=s3.storage)
    loader.content(listed)
    before = s3.requests
    assert loader.content(listed).data == b"four"
    assert s3.requests == before + 1
    filesystem.pipe("photos/listed.txt", b"longer")
    changed = loader.content(listed)
    assert changed.data == b"longer"
    assert changed.reference.version not in ("", version)


def test_members_of_a_zip_file_are_read_by_many_threads(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for index in range(50):
            archive.writestr(f"{index}.txt", f"text {index}" * 100)
    ahead: Prefetcher[int] = Prefetcher(fetcher().content, count=16, budget=Budget(1 << 20))
    done: dict[int, Any] = {}
    for index in range(50):
        reference = Reference(str(index), f"zip://{index}.txt::{tmp_path}/p.zip", "text", size=700)
        done.update((token, result) for token, _, result in ahead.submit(index, reference))
    done.update((token, result) for token, _, result in ahead.drain())
    assert {token: result.data for token, result in done.items()} == {
        index: f"text {index}".encode() * 100 for index in range(50)
    }


def test_fetching_ahead_keeps_its_bounds() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def fetch(reference: Reference) -> Content:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.002)
        with lock:
            under_way -= 1
        return Content(reference, bytes(100))

    budget = Budget(1000)
    ahead: Prefetcher[None] = Prefetcher(fetch, count=64, budget=budget)
    seen = 0
    for index in range(100):
        seen += sum(1 for _ in ahead.submit(None, Reference(str(index), "s3://b/x", "audio", size=100)))
        assert budget.held <= 1000
    seen += sum(1 for _ in ahead.drain())
    assert seen == 100
    assert 1 < most <= 10
    assert budget.held == 0


def test_one_input_larger_than_the_budget_still_passes() -> None:
    budget = Budget(10)
    ahead: Prefetcher[None] = Prefetcher(lambda item: Content(item, bytes(100)), count=4, budget=budget)
    results = [item for _ in range(3) for item in ahead.submit(None, Reference("1", "x", "audio", size=100))]
    results += ahead.drain()
    assert len(results) == 3
    assert budget.held == 0


def test_a_cancelled_bundle_gives_its_bytes_back() -> None:
    budget, gate = Budget(1000), threading.Event()

    def fetch(reference: Reference) -> Content:
        gate.wait(5)
        return Content(reference, bytes(10))

    ahead: Prefetcher[None] = Prefetcher(fetch, count=8, budget=budget)
    for index in range(8):
        list(ahead.submit(None, Reference(str(index), "s3://b/x", "audio", size=10)))
    ahead.cancel()
    gate.set()
    deadline = time.monotonic() + 5
    while budget.held and time.monotonic() < deadline:
        time.sleep(0.01)
    assert budget.held == 0


@pytest.mark.parametrize("every", [10, 5], ids=["one window", "two windows"])
def test_every_input_leaves_once_in_each_of_its_windows(tmp_path: Path, every: int) -> None:
    for index in range(40):
        (tmp_path / f"{index}.txt").write_text("x" if index % 4 else "")

    def windowed(item: Any, window: Any = beam.DoFn.WindowParam) -> tuple[int, float]:
        return int(item.reference.input_id), float(window.start)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        references = (
            pipeline
            | beam.Create(range(40))
            | beam.Map(
                lambda i, root=str(tmp_path): TimestampedValue(
                    Reference(str(i), f"{root}/{i}.txt", "text"), i
                )
            )
            | beam.WindowInto(SlidingWindows(10, every))
        )
        loaded = references | LoadContent()
        good, bad = loaded.contents | beam.Map(windowed), loaded.failures | "Bad" >> beam.Map(windowed)
        assert_that(
            good | "G" >> beam.WindowInto(beam.window.GlobalWindows()),
            equal_to([(i, start) for i in range(40) if i % 4 for start in _starts(i, every)]),
        )
        assert_that(
            bad | "B" >> beam.WindowInto(beam.window.GlobalWindows()),
            equal_to([(i, start) for i in range(0, 40, 4) for start in _starts(i, every)]),
            label="b",
        )


def _starts(second: int, every: int) -> list[float]:
    """Where the windows of ten seconds begin that hold a second."""
    last = second // every * every
    return [float(start) for start in range(last, last - 10, -every)]


def test_a_stopped_job_loads_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    spec = ControlSpec(str(tmp_path / "out"), {}, "run-1")
    control = JobControl.shared(spec)
    control.stop("interrupt", "the user said so")
    try:
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            loaded = (
                pipeline
                | beam.Create([Reference("a", f"{tmp_path}/a.txt", "text")])
                | LoadContent(control=spec)
            )
            assert_that(loaded.contents, equal_to([]))
            assert_that(loaded.failures, equal_to([]), label="failures")
    finally:
        control.close()


def test_a_fast_disk_is_read_at_once_and_a_slow_one_by_threads_until_it_is_fast_again() -> None:
    pace = _Pace()
    assert all(pace.is_fast for _ in range(100))

    for _ in range(2):  # a stall now and then is no slow disk
        pace.took(0.5)
    assert pace.is_fast
    for _ in range(9):
        pace.took(0.01)

    asked = [pace.is_fast for _ in range(65)]
    assert asked == [False] * 64 + [True]
    for _ in range(9):
        pace.took(0.00003)
    while not pace.is_fast:
        pass
    assert all(pace.is_fast for _ in range(100))


def test_an_http_client_is_imported_for_http_alone() -> None:
    code = "import sys, bulkinfer.transforms.content.load_content; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
