"""Start and stop the embedded server: a process on this machine that answers with real models.

    with serve() as server:                       # the model API, on a free loopback port
        run_job(endpoint=server.endpoint)         # http://127.0.0.1:PORT

    with serve_http() as server:                  # the OpenAI-compatible API
        OpenAI(base_url=server.endpoint)          # http://127.0.0.1:PORT/v1

The server never runs inside the job's interpreter: its threads would take turns with the job's own, and a job
would be measured together with its model. So `serve` starts a process that serves; that one keeps a worker
process a core for the pictures. All of them end with the process that started them, however it ends.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import types
from typing import IO

from bulkinfer.transforms.errors import EndpointError

from .settings import Settings, require_demo_extra

__all__ = ["EmbeddedServer", "serve", "serve_http"]

START_SECONDS = 60.0
END_SECONDS = 10.0

_RUNNING = f"{__name__.rpartition('.')[0]}.running"
_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv[1]); "
    f"from {_RUNNING} import serve_for_parent; serve_for_parent()"
)
#: Where the child finds this module by its full name: the folder that holds `bulkinfer/`, such as site-packages.
_ROOT = pathlib.Path(__file__).parents[__name__.count(".")]


class EmbeddedServer:
    """A running embedded server; a context manager that ends it.

    Attributes:
        endpoint: its address, as a job file names it: "http://127.0.0.1:PORT", of `serve_http` with "/v1" behind.
        http_endpoint: the address of its OpenAI-compatible API; None when it has none.
    """

    def __init__(
        self, process: subprocess.Popen[str], endpoint: str, http_endpoint: str | None = None
    ) -> None:
        self._process = process
        self.endpoint, self.http_endpoint = endpoint, http_endpoint

    @property
    def pid(self) -> int:
        """The serving process."""
        return self._process.pid

    def close(self) -> None:
        """Let calls under way finish for a moment, then end the server; harmless when it has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # the server takes this as the sign to stop
        try:
            self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()


def serve(
    port: int = 0,
    host: str = "127.0.0.1",
    *,
    http_port: int | None = None,
    model_url: str | None = None,
    required_key_env: str | None = None,
    workers: int = 0,
) -> EmbeddedServer:
    """Start the server in a process of its own and return once it answers the model API.

    Args:
        port: where to listen; 0 takes a free one.
        host: the interface to listen on; anything but loopback lets other machines in.
        http_port: where to serve the OpenAI-compatible API as well; 0 takes a free port, None does not serve it.
        model_url: answer for this model alone; by default for any, as the vendor's local server does.
        required_key_env: environment variable with the key that calls must carry; by default they need none.
        workers: worker processes; 0 for one a core.

    Raises:
        JobError: the demo extra is not installed.
        ConfigError: the URL names no model, or the variable holds no key.
        EndpointError: a port is taken or the host is not this machine's; or the server did not start.
    """
    return _start(
        Settings(
            port=port,
            host=host,
            http_port=http_port,
            model_url=model_url,
            required_key_env=required_key_env,
            workers=workers,
        )
    )


def serve_http(
    port: int = 0,
    host: str = "127.0.0.1",
    *,
    model_url: str | None = None,
    required_key_env: str | None = None,
    workers: int = 0,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
) -> EmbeddedServer:
    """As `serve`, of the OpenAI-compatible API alone.

    Args:
        port, host, model_url, required_key_env, workers: as in `serve`.
        requests_per_minute, tokens_per_minute: limits, told in headers; None for none.

    Raises:
        JobError, ConfigError, EndpointError: as in `serve`.
    """
    return _start(
        Settings(
            port=None,
            http_port=port,
            host=host,
            model_url=model_url,
            required_key_env=required_key_env,
            workers=workers,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
    )


def _start(settings: Settings) -> EmbeddedServer:
    require_demo_extra()
    settings.model()
    settings.key()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            # Out of the terminal's process group: an interrupt lets a job finish what is in flight.
            start_new_session=True,
        )
        server = EmbeddedServer(process, "")
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(dataclasses.asdict(settings)) + "\n")
            process.stdin.flush()
            addresses = _addresses(process.stdout, complaints)
            server.http_endpoint = addresses["http"]
            server.endpoint = addresses["grpc"] or addresses["http"] or ""
        except BaseException:
            process.kill()
            server.close()
            raise
    return server


def _addresses(stdout: IO[str], complaints: IO[str]) -> dict[str, str | None]:
    """The addresses that a starting server names; EndpointError when it died or stays silent."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
    reader.start()
    reader.join(START_SECONDS)
    answer: dict[str, str | None] = json.loads(lines[0]) if lines and lines[0] else {}
    if answer and "error" not in answer:
        return answer
    complaints.seek(0)
    detail = answer.get("error") or complaints.read()[-500:].strip() or "it did not answer"
    raise EndpointError(f"the embedded server did not start: {detail}")
