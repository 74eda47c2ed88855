"""The HTTP server of the embedded models, and clients that speak something else."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web
from bulkinfer.pipelines.embedded.http_thread import HttpThread


def answer_to(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        return client.recv(4096)


def test_a_client_that_speaks_grpc_is_refused_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("a fault of the server's own")

    app = web.Application()
    app.router.add_get("/broken", broken)
    thread = HttpThread(app, "127.0.0.1", 0, stop_seconds=1.0)
    try:
        answer_to(thread.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x24\x04")
        assert caplog.records == []
        assert b" 500 " in answer_to(thread.port, b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n")
        assert "a fault of the server's own" in caplog.text
    finally:
        thread.close()
