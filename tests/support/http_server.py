"""A real HTTP server on loopback: files with etags and ranges, and faults on request."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator

__all__ = ["HttpServer", "http_server"]


@dataclasses.dataclass
class HttpServer:
    """What a running server serves and has seen.

    Attributes:
        files: body by path without the leading slash.
        faults: HTTP statuses by path, answered one per request before the file itself is served; 0 cuts the
            connection.
        delays: seconds to wait before answering, by path.
        drips: seconds from one byte to the next, by path.
        redirects: where else to ask, by path.
        requests: requests seen by path.
        ranges: whether ranges of bytes are answered.
    """

    url: str
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    faults: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    delays: dict[str, float] = dataclasses.field(default_factory=dict)
    drips: dict[str, float] = dataclasses.field(default_factory=dict)
    redirects: dict[str, str] = dataclasses.field(default_factory=dict)
    requests: Counter[str] = dataclasses.field(default_factory=Counter)
    ranges: bool = True

    def link(self, path: str) -> str:
        """The URL of a path."""
        return f"{self.url}/{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: HttpServer

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        self.served.requests[path] += 1
        time.sleep(self.served.delays.get(path, 0.0))
        faults = self.served.faults.get(path)
        status = faults.pop(0) if faults else 200
        if status == 0:
            self.close_connection = True
            return
        if path in self.served.redirects:
            self.send_response(302)
            self.send_header("Location", self.served.redirects[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.served.files.get(path)
        if status == 200 and data is None:
            status = 404
        if status != 200 or data is None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, stop = self._range(len(data))
        part = data[start:stop]
        self.send_response(206 if len(part) < len(data) else 200)
        self.send_header("Content-Length", str(len(part)))
        if self.served.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        if len(part) < len(data):
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if body:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                pause = self.served.drips.get(path)
                for piece in [part] if pause is None else [part[at : at + 1] for at in range(len(part))]:
                    self.wfile.write(piece)
                    time.sleep(pause or 0.0)

    def _range(self, size: int) -> tuple[int, int]:
        header = self.headers.get("Range", "")
        if not header.startswith("bytes=") or not self.served.ranges:
            return 0, size
        first, _, last = header[6:].partition("-")
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1 if last else size)


@contextlib.contextmanager
def http_server() -> Iterator[HttpServer]:
    """Serve on a free loopback port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        served = HttpServer(f"http://127.0.0.1:{server.server_address[1]}")
        handler.served = served  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
