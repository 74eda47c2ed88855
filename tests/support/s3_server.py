"""Runs a real S3 API server on loopback (moto behind werkzeug) that fails a seeded fraction of requests."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

__all__ = ["S3Server", "s3_server", "s3_storage"]

_SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message><RequestId>0</RequestId></Error>"""


def s3_storage(endpoint: str) -> dict[str, Any]:
    """Make the fsspec options that reach the server: for `source.storage`, `output.storage` and s3fs itself."""
    return {
        "key": "testing",
        "secret": "testing",
        "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }


@dataclasses.dataclass
class S3Server:
    """A running server.

    Attributes:
        url: its endpoint.
        failing: fraction of requests that get 503 SlowDown; may be changed while it runs.
        hanging: fraction of requests that are answered only after `hang_s`; may be changed, too.
        hang_s: seconds, best longer than the client's read timeout.
        requests: requests seen.
        failed: requests that got 503.
        hung: requests that were answered late.
    """

    url: str
    failing: float = 0.0
    hanging: float = 0.0
    hang_s: float = 2.0
    requests: int = 0
    failed: int = 0
    hung: int = 0

    @property
    def storage(self) -> dict[str, Any]:
        """fsspec options that reach the server."""
        return s3_storage(self.url)

    def filesystem(self) -> s3fs.S3FileSystem:
        """A fresh s3fs on the server, without a listings cache."""
        return s3fs.S3FileSystem(**self.storage, use_listings_cache=False, skip_instance_cache=True)


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Log nothing."""


class _Failing:
    """WSGI middleware that refuses a fraction of the requests, the same ones for the same seed and order."""

    def __init__(self, app: Any, server: S3Server, seed: int) -> None:
        self._app, self._server = app, server
        self._random, self._lock = random.Random(seed), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self._server.requests += 1
            fails = self._random.random() < self._server.failing
            self._server.failed += fails
            hangs = not fails and self._server.hanging > 0 and self._random.random() < self._server.hanging
            self._server.hung += hangs
        if hangs:
            time.sleep(self._server.hang_s)
        if not fails:
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        # An unread body would be taken for the next request of a kept connection.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))]
        start_response("503 Slow Down", headers)
        return [_SLOW_DOWN]


@contextlib.contextmanager
def s3_server(*buckets: str, failing: float = 0.0, seed: int = 0, port: int = 0) -> Iterator[S3Server]:
    """Serve S3 on a free loopback port until the block ends, with empty buckets of the given names.

    Args:
        buckets: of 3 letters at least; created before the block starts.
        failing: fraction of requests, after the buckets are made, that get 503 SlowDown.
        seed: chooses which ones.
        port: a fixed port, or 0.
    """
    served = S3Server("")
    app = _Failing(DomainDispatcherApplication(create_backend_app), served, seed)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_QuietHandler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        filesystem = served.filesystem()
        for bucket in buckets:
            if filesystem.exists(bucket):
                filesystem.rm(bucket, recursive=True)  # moto keeps its buckets for the life of the process
            filesystem.call_s3("create_bucket", Bucket=bucket)
        served.failing = failing
        yield served
    finally:
        served.failing = served.hanging = 0.0
        server.shutdown()
        thread.join()
        server.server_close()
