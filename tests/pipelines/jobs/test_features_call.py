"""`bulkinfer call` with files, and its messages when they do not fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.features import MODEL, call, command
from support.jobs import photo
from support.recording_server import RecordingServer, field, method, recording_server


@pytest.fixture(name="server")
def server_fixture() -> Iterator[RecordingServer]:
    images = field("images", "LIST", type_args=[field("images_item", "IMAGE")])
    signatures = {
        "read": method("UNARY_UNARY", field("text", "STR")),
        "see": method("UNARY_UNARY", images),
        "decide": method("UNARY_UNARY", field("text", "STR"), field("rules", "JSON_DATA")),
        "listen": method("STREAMING_STREAMING", field("audio", "AUDIO", iterator=True)),
    }
    with recording_server(signatures=signatures) as server:
        yield server


def test_a_text_file_is_text(tmp_path, server):
    (tmp_path / "a.txt").write_text("schön")

    assert call(server.endpoint, "read", None, "--file", f"text={tmp_path / 'a.txt'}") == "re schön"


def test_several_files_are_a_list(tmp_path, server):
    for n in range(2):
        (tmp_path / f"{n}.jpg").write_bytes(photo(n))
    files = [word for n in range(2) for word in ("--file", f"images={tmp_path / f'{n}.jpg'}")]

    call(server.endpoint, "see", None, *files)

    (images,) = server.seen[0].request.inputs[0].data.parts
    assert [part.data.image.base64 for part in images.data.parts] == [photo(0), photo(1)]


def test_a_json_file_is_a_value(tmp_path, server):
    (tmp_path / "rules.json").write_text('{"a": [1, 2]}')

    call(server.endpoint, "decide", {"text": "x"}, "--file", f"rules={tmp_path / 'rules.json'}")

    rules = server.seen[0].request.inputs[0].data.parts[1].data.struct_value
    assert list(rules["a"]) == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--method", "read", "--file", "text=bytes"),
            r"--file text: str is text, but the file is not UTF-8 at byte 0",
        ),
        (
            ("--method", "decide", "--file", "rules=bytes"),
            r"--file rules: JSON is text, but the file is not UTF-8",
        ),
        (
            ("--method", "decide", "--file", "rules=text"),
            r"--file rules: JSON is read from JSON, but the file is none",
        ),
        (
            ("--method", "read", "--file", "text=text", "--file", "text=text"),
            r"--file text: it takes one file, not 2",
        ),
        (("--method", "read", "--file", "text"), r"--file text: expected ARG=PATH"),
        (("--method", "read", "--file", "text=gone"), r"--file text=.*gone: cannot be read \(No such file"),
        (
            ("--method", "read", "--nodepool", "u/n"),
            r"--nodepool u/n: expected USER_ID/COMPUTE_CLUSTER_ID/ID",
        ),
        (("--method", "read", "--deployment", "d"), r"--deployment d: expected USER_ID/ID"),
        (
            ("--method", "listen", "--stream", "pieces=2"),
            r"--stream pieces=2: expected piece_bytes=SIZE or piece_sec",
        ),
        (("--method", "listen", "--stream", "fast"), r"--stream fast: expected piece_bytes=SIZE"),
        (
            ("--method", "read", "--inputs", '{"text": "x"}', "--stream", "piece_bytes=2"),
            "has no argument that streams",
        ),
        (("--method", "reed", "--inputs", "{}"), r"no method 'reed'; did you mean 'read'"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_sent(tmp_path, server, options, said):
    (tmp_path / "bytes").write_bytes(b"\xff\x00")
    (tmp_path / "text").write_text("no json")
    words = [
        word.replace("=bytes", f"={tmp_path}/bytes").replace("=text", f"={tmp_path}/text") for word in options
    ]
    words = [word.replace("=gone", f"={tmp_path}/gone") for word in words]

    with pytest.raises(pytest.fail.Exception, match=r"exit 2: bulkinfer: .*" + said):
        command("call", "--endpoint", server.endpoint, "--model", MODEL, *words)
    assert not server.seen
