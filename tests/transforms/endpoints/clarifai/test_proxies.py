"""Environments of offices: a proxy in the variables that gRPC reads."""

from __future__ import annotations

import asyncio

import pytest
from bulkinfer.transforms.endpoints.clarifai.addresses import ModelAddress, parse_endpoint
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.clarifai.session import GrpcSession
from bulkinfer.transforms.endpoints.over_grpc.address import ServerAddress
from bulkinfer.transforms.endpoints.over_grpc.channel import open_async_channel, open_channel
from bulkinfer.transforms.endpoints.over_grpc.proxies import proxy_variable
from bulkinfer.transforms.errors import EndpointError
from support.calls import call_to, items, texts
from support.fault_server import running

NOWHERE = "http://user:hunter2@127.0.0.1:9"


@pytest.fixture(autouse=True)
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    with running() as server:
        call = call_to(f"http://{host}:{server.port}")  # asks for the signatures

        async def send() -> object:
            session = await call.endpoint.open(5.0)
            try:
                return await session.connect() or await session.send(
                    [one.encoded for one in items(call, texts(["a"]))]
                )
            finally:
                await session.close()

        reply = asyncio.run(send())

    assert reply.answers[0][0].data.parts[0].data.string_value == "ok a"  # type: ignore[attr-defined]


def test_a_remote_endpoint_behind_a_proxy_is_told_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkinfer.transforms.endpoints.clarifai.model_client.CONNECT_S", 0.3)
    monkeypatch.setattr("bulkinfer.transforms.endpoints.over_grpc.channel.CONNECT_S", 0.3)
    remote = parse_endpoint("http://models.example:80")

    with (
        ModelClient(remote, ModelAddress("u", "a", "m")) as client,
        pytest.raises(
            EndpointError, match=r"models.example:80 through the proxy of the variable grpc_proxy"
        ) as told,
    ):
        client.methods()
    assert "hunter2" not in str(told.value)

    async def connect() -> str:
        session = GrpcSession(remote, b"", "UNARY_UNARY", 5.0, allow_plaintext=True)
        try:
            fault = await session.connect()
            return fault.message if fault else ""
        finally:
            await session.close()

    assert "through the proxy of the variable grpc_proxy" in asyncio.run(connect())


@pytest.mark.parametrize("tls", [True, False])
def test_each_kind_of_channel_opens(tls: bool) -> None:
    server = ServerAddress("localhost:9", tls=tls)

    async def open_one() -> None:
        await open_async_channel(server).close()

    open_channel(server).close()
    asyncio.run(open_one())


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"http_proxy": "p"}, "http_proxy"),
        ({"http_proxy": "p", "https_proxy": "q"}, "https_proxy"),
        ({"http_proxy": "p", "grpc_proxy": ""}, "http_proxy"),
        ({"HTTP_PROXY": "p"}, None),  # gRPC reads lower case alone
        ({"http_proxy": "p", "no_proxy": "other.org, example.com"}, None),
        ({"http_proxy": "p", "no_proxy": ".org,,"}, "http_proxy"),
        ({"http_proxy": "p", "no_proxy": "example.com", "no_grpc_proxy": "other.org"}, "http_proxy"),
    ],
)
def test_the_variable_is_the_one_that_grpc_reads(environment: dict[str, str], name: str | None) -> None:
    assert proxy_variable(parse_endpoint("https://api.example.com"), environment) == name
    assert proxy_variable(parse_endpoint("http://localhost:9001"), environment) is None
