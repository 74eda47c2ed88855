"""The requests of a job and of one call: model, key, compute, batching and parameters as the server gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bulkinfer.transforms.calls.model_call import within_limits
from bulkinfer.transforms.endpoints.clarifai.addresses import PUBLIC_API, parse_endpoint
from bulkinfer.transforms.endpoints.clarifai.prepare import published_limits
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig
from clarifai_grpc.grpc.api import resources_pb2
from support.features import MODEL, call, jsonl, predictions, run
from support.jobs import photo, rows
from support.recording_server import RecordingServer, field, method, recording_server


@pytest.fixture(name="server")
def server_fixture() -> Iterator[RecordingServer]:
    with recording_server() as server:
        yield server


def _texts(folder: Any, count: int = 2) -> dict[str, Any]:
    return jsonl(folder, *({"id": f"t{n}", "body": f"text {n}"} for n in range(count)))


@pytest.mark.parametrize(
    ("model", "sent", "recorded"),
    [
        ({"url": MODEL}, "", "v9"),
        ({"url": MODEL + "/versions/v3"}, "v3", "v3"),
        ({"url": MODEL, "version_id": "v4"}, "v4", "v4"),
        ({"user_id": "tester", "app_id": "tests", "model_id": "demo"}, "", "v9"),
        ({"user_id": "tester", "app_id": "tests", "model_id": "demo", "version_id": "v5"}, "v5", "v5"),
    ],
)
def test_a_model_is_named_by_url_or_ids_and_its_version_is_recorded(tmp_path, server, model, sent, recorded):
    found = predictions(tmp_path, _texts(tmp_path), {**model, "endpoint": server.endpoint})

    assert [row["text"] for row in found] == ["re text 0", "re text 1"]
    assert {row["model_version"] for row in found} == {recorded}
    request = server.seen[0].request
    owner = request.user_app_id
    assert (owner.user_id, owner.app_id, request.model_id, request.version_id) == (
        "tester",
        "tests",
        "demo",
        sent,
    )
    assert (request.model.id, request.model.model_version.id) == ("demo", sent)


def test_one_call_names_a_model_and_its_version_by_url(server):
    assert call(server.endpoint, "predict", {"text": "hi"}, "--model", MODEL + "/versions/v3") == "re hi"
    assert server.seen[0].request.version_id == "v3"


@pytest.mark.parametrize(
    ("variable", "header", "value"),
    [
        ("CLARIFAI_PAT", "authorization", "Key s3cret-key"),
        ("CLARIFAI_SESSION_TOKEN", "x-clarifai-session-token", "s3cret-key"),
    ],
)
def test_a_key_travels_in_its_header_and_nowhere_else(tmp_path, server, monkeypatch, variable, header, value):
    monkeypatch.setenv(variable, "s3cret-key")

    run(tmp_path, _texts(tmp_path), {"endpoint": server.endpoint})
    call(server.endpoint, "predict", {"text": "hi"})

    assert [seen.headers.get(header) for seen in server.seen] == [value, value]
    assert not any("s3cret-key" in str(seen.request) for seen in server.seen)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"s3cret-key" not in written


def test_a_deployment_or_a_nodepool_is_asked_for(tmp_path, server):
    deployment = {"id": "d", "user_id": "u"}
    nodepool = {"id": "n", "compute_cluster_id": "c", "user_id": "u"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    run(tmp_path / "a", _texts(tmp_path), {"endpoint": server.endpoint, "deployment": deployment})
    run(tmp_path / "b", _texts(tmp_path), {"endpoint": server.endpoint, "nodepool": nodepool})
    call(server.endpoint, "predict", {"text": "hi"}, "--deployment", "u/d")
    call(server.endpoint, "predict", {"text": "hi"}, "--nodepool", "u/c/n")

    asked = [seen.request.runner_selector for seen in server.seen]
    assert [(one.deployment.id, one.deployment.user_id) for one in (asked[0], asked[2])] == [("d", "u")] * 2
    pools = [asked[1].nodepool, asked[3].nodepool]
    assert [(one.id, one.compute_cluster.id, one.compute_cluster.user_id) for one in pools] == [
        ("n", "c", "u")
    ] * 2


@pytest.mark.parametrize(
    ("kind", "rpc", "text"),
    [
        ("UNARY_UNARY", "post", "re a\nb"),
        ("UNARY_STREAMING", "generate", "re a\nb"),
        ("STREAMING_STREAMING", "stream", "re are b"),
    ],
)
def test_the_method_type_decides_the_call_whatever_the_name(tmp_path, server, kind, rpc, text):
    streams = {"iterator": True} if kind == "STREAMING_STREAMING" else {}
    server.signatures = {"generate_stream_predict": method(kind, field("text", "STR", **streams))}
    model = {"endpoint": server.endpoint, "method": "generate_stream_predict"}

    (row,) = predictions(tmp_path, jsonl(tmp_path, {"id": "x", "body": "a\nb"}), model)
    answer = call(server.endpoint, "generate_stream_predict", {"text": "a\nb"})

    assert row["text"] == answer == text
    assert [seen.rpc for seen in server.seen] == [rpc, rpc]
    names = {each.data.metadata["_method_name"] for seen in server.seen for each in seen.request.inputs}
    assert names == {"generate_stream_predict"}


def test_a_job_sends_batches_and_a_call_a_batch_of_one(tmp_path, server):
    done = run(tmp_path, _texts(tmp_path, 10), {"endpoint": server.endpoint}, calls={"batch_size": 4})
    call(server.endpoint, "predict", {"text": "hi"})

    assert done["calls"] == len(server.seen) - 1
    sizes = [len(seen.texts) for seen in server.seen]
    assert sum(sizes) == 11
    assert max(sizes) == 4
    assert sizes[-1] == 1
    assert sorted(text for seen in server.seen[:-1] for text in seen.texts) == [
        f"text {n}" for n in range(10)
    ]


def test_a_batch_size_of_one_sends_every_input_alone(tmp_path, server):
    run(tmp_path, _texts(tmp_path, 5), {"endpoint": server.endpoint}, calls={"batch_size": 1})

    assert [len(seen.texts) for seen in server.seen] == [1] * 5


def test_streams_are_called_for_one_input_each(tmp_path, server):
    server.signatures = {"predict": method("UNARY_STREAMING", field("text", "STR"))}

    run(tmp_path, _texts(tmp_path, 5), {"endpoint": server.endpoint})

    assert [len(seen.texts) for seen in server.seen] == [1] * 5


def test_tokens_status_attempts_and_latency_are_in_the_table(tmp_path, server):
    (row,) = predictions(tmp_path, _texts(tmp_path, 1), {"endpoint": server.endpoint})

    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (3, 2, 1)
    assert (row["status_code"], row["attempts"], row["output_id"]) == (10000, 1, "o-text 0")
    assert row["latency_ms"] > 0


@pytest.mark.parametrize("kind", ["UNARY_UNARY", "UNARY_STREAMING"])
def test_the_raw_message_parses_back(tmp_path, server, kind):
    server.signatures = {"predict": method(kind, field("text", "STR"))}
    found = predictions(
        tmp_path, _texts(tmp_path, 1), {"endpoint": server.endpoint}, output={"raw": True, "pieces": True}
    )
    one = call(server.endpoint, "predict", {"text": "text 0"}, "--raw")

    output = resources_pb2.Output.FromString(found[-1]["raw"])
    assert (output.id, output.data.parts[0].data.string_value) == ("o-text 0", "re text 0")
    assert (one if kind == "UNARY_UNARY" else one[0])["data"]["parts"][0]["data"][
        "string_value"
    ] == "re text 0"


def test_an_older_model_gets_plain_data_and_its_parameters(tmp_path):
    def concepts(each: Any) -> list[Any]:
        output = resources_pb2.Output()
        output.data.concepts.add(id="cat", name="cat", value=0.9)
        output.data.embeddings.add(vector=[1.0, 2.0], num_dimensions=2)
        return [output]

    (tmp_path / "a.jpg").write_bytes(photo())
    with recording_server(signatures=None, answer=concepts) as server:
        model = {"endpoint": server.endpoint, "arguments": {"image": "$content", "top_k": 3}}
        (row,) = predictions(tmp_path, {"files": str(tmp_path / "*.jpg")}, model)
        answer = call(server.endpoint, "predict", {"top_k": 3}, "--file", f"image={tmp_path / 'a.jpg'}")

    assert (row["label"], row["embedding"], row["model_version"]) == ("cat", [1.0, 2.0], "v9")
    assert "cat" in str(answer)
    for seen in server.seen:
        (each,) = seen.request.inputs
        assert each.data.image.base64 == photo()
        assert not each.data.parts
        assert seen.request.model.model_version.output_info.params["top_k"] == 3


def test_a_server_that_declares_a_list_of_nothing_is_at_fault(tmp_path, server):
    server.signatures = {"predict": method("UNARY_UNARY", field("text", "LIST"))}
    job = _texts(tmp_path)

    with pytest.raises(pytest.fail.Exception, match=r"exit 2: .*declares 'predict' with 'text' as a list"):
        run(tmp_path, job, {"endpoint": server.endpoint})
    assert not server.seen
    assert not rows(tmp_path / "out", "predictions")


def test_the_public_api_gets_what_it_allows():
    public, model = parse_endpoint(PUBLIC_API), ModelConfig(url=MODEL)
    dedicated = ModelConfig(url=MODEL, deployment={"id": "d", "user_id": "u"})

    def allowed(calls, named=model, server=public):
        return within_limits(calls, published_limits(named, server), server.url)

    calls = allowed(CallsConfig())
    assert calls.calls_per_second == 15
    assert (calls.batch_size <= 128, calls.batch_bytes <= 128_000_000) == (True, True)
    assert allowed(CallsConfig(calls_per_second=40)).calls_per_second == 40
    assert allowed(CallsConfig(), dedicated).calls_per_second is None
    assert allowed(CallsConfig(), server=parse_endpoint("http://127.0.0.1:1")).calls_per_second is None
    with pytest.raises(
        ConfigError, match=r"calls.batch_bytes=200000000 is more than the 128000000 bytes .* 128MB"
    ):
        allowed(CallsConfig(batch_bytes="200MB"))
