"""Start and stop the embedded server: a process on this machine that answers the model API with real models.

    with serve() as server:                       # a process of its own, on a free loopback port
        run_job(endpoint=server.endpoint)         # http://127.0.0.1:PORT

The server never runs inside the job's interpreter: its threads would take turns with the job's own, and a job
would be measured together with its model. So `serve` starts a process that serves; that one keeps a worker
process a core for the pictures. All of them end with the process that started them, however it ends.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import ipaddress
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable
from typing import IO, Any
from urllib.parse import unquote

from bulkinfer.transforms.errors import ConfigError, EndpointError, JobError

__all__ = ["EmbeddedServer", "run_forever", "serve"]

VERSION_ID = "embedded"
#: As in the vendor's local server, so that what passes here passes there.
MESSAGE_BYTES = 1024**3
CALL_THREADS = 32
START_SECONDS = 60.0
STOP_SECONDS = 2.0

_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append(sys.argv[1]); "
    f"from {__name__} import _serve_for_parent; _serve_for_parent()"
)
#: Where the child finds this module by its full name: the folder that holds `bulkinfer/`, such as site-packages.
_ROOT = pathlib.Path(__file__).parents[__name__.count(".")]

_MODEL_URL = re.compile(
    r"(?i:https://(?:www\.)?clarifai\.com)/([^\s/?#]+)/([^\s/?#]+)/models/([^\s/?#]+)/?(?:[?#].*)?"
)


class EmbeddedServer:
    """A running embedded server; a context manager that ends it.

    Attributes:
        endpoint: its address, as a job file names it: "http://127.0.0.1:PORT".
    """

    def __init__(self, process: subprocess.Popen[str], endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    @property
    def pid(self) -> int:
        """The serving process."""
        return self._process.pid

    def close(self) -> None:
        """Let calls under way finish for a moment, then end the server; harmless when it has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # the server takes this as the sign to stop
        try:
            self._process.wait(timeout=STOP_SECONDS + 8)
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
    model_url: str | None = None,
    required_key_env: str | None = None,
    workers: int = 0,
) -> EmbeddedServer:
    """Start the server in a process of its own and return once it answers.

    Args:
        port: where to listen; 0 takes a free one.
        host: the interface to listen on; anything but loopback lets other machines in.
        model_url: answer for this model alone; by default for any, as the vendor's local server does.
        required_key_env: environment variable with the key that calls must carry; by default they need none.
        workers: worker processes; 0 for one a core.

    Raises:
        JobError: the demo extra is not installed.
        ConfigError: the URL names no model, or the variable holds no key.
        EndpointError: the port is taken or the host is not this machine's; or the server did not start.
    """
    _require_demo_extra()
    _model_of(model_url)
    _required_key(required_key_env)
    options = {
        "port": port,
        "host": host,
        "model_url": model_url,
        "required_key_env": required_key_env,
        "workers": workers,
    }
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
            process.stdin.write(json.dumps(options) + "\n")
            process.stdin.flush()
            server.endpoint = _endpoint(process.stdout, complaints)
        except BaseException:
            process.kill()
            server.close()
            raise
    return server


def run_forever(
    port: int = 0,
    host: str = "127.0.0.1",
    *,
    model_url: str | None = None,
    required_key_env: str | None = None,
    workers: int = 0,
    on_ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve in this process until `stop` is set or an interrupt arrives (KeyboardInterrupt ends it quietly).

    Args:
        port, host, model_url, required_key_env, workers: as in `serve`.
        on_ready: called once with the address, "http://HOST:PORT", as soon as the server answers.
        stop: set it, from any thread, to end the server.

    Raises:
        JobError: the demo extra is not installed.
        ConfigError: the URL names no model, or the variable holds no key.
        EndpointError: the port is taken or the host is not this machine's.
    """
    _require_demo_extra()
    import grpc  # noqa: PLC0415 (late: the command line imports this module for its help)
    from clarifai_grpc.grpc.api import service_pb2_grpc  # noqa: PLC0415

    from .models.demo import METHODS  # noqa: PLC0415
    from .servicer import ModelServicer  # noqa: PLC0415
    from .workers import Workers  # noqa: PLC0415

    model, key = _model_of(model_url), _required_key(required_key_env)
    pool = Workers(workers)
    try:
        servicer = ModelServicer(
            METHODS, pool, model=model, version_id=VERSION_ID, key=key, local_files=_is_loopback(host)
        )
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),  # else a second server could take the same port and half of the calls
        ]
        threads = concurrent.futures.ThreadPoolExecutor(CALL_THREADS, "embedded-call")
        server = grpc.server(threads, options=options)
        service_pb2_grpc.add_V2Servicer_to_server(servicer, server)
        bound = _bind(server, host, port)
        pool.warm_up()
        server.start()
        try:
            if on_ready is not None:
                on_ready(f"http://{_bracketed(host)}:{bound}")
            (stop or threading.Event()).wait()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop(STOP_SECONDS).wait()
            threads.shutdown(wait=False, cancel_futures=True)
    finally:
        pool.close()


def _serve_for_parent() -> None:
    """What the process of `serve` runs: options in by stdin, the address out by stdout, the end by EOF."""
    options = json.loads(sys.stdin.readline())
    stop = threading.Event()

    def announce(endpoint: str) -> None:
        _say({"endpoint": endpoint})

    def watch() -> None:
        sys.stdin.read()  # returns when the parent closes the pipe, or has died
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        run_forever(**options, on_ready=announce, stop=stop)
    except JobError as error:
        _say({"error": str(error)})


def _say(message: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _endpoint(stdout: IO[str], complaints: IO[str]) -> str:
    """The address that a starting server names; EndpointError when it died or stays silent."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
    reader.start()
    reader.join(START_SECONDS)
    answer: dict[str, str] = json.loads(lines[0]) if lines and lines[0] else {}
    if "endpoint" in answer:
        return answer["endpoint"]
    complaints.seek(0)
    detail = answer.get("error") or complaints.read()[-500:].strip() or "it did not answer"
    raise EndpointError(f"the embedded server did not start: {detail}")


def _require_demo_extra() -> None:
    missing = [name for name in ("av", "cv2", "py3langid") if importlib.util.find_spec(name) is None]
    if missing:
        raise JobError(
            f"the embedded model server needs packages that are not installed ({', '.join(missing)}); "
            "install them with: pip install 'bulkinfer[demo]'"
        )


def _bind(server: Any, host: str, port: int) -> int:
    address = f"{_bracketed(host)}:{port}"
    try:
        bound = int(server.add_insecure_port(address))
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise EndpointError(
            f"cannot listen on {address}: the port is taken, or the host is no address of this machine; "
            "choose another port, or 0 for a free one"
        )
    return bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _model_of(url: str | None) -> tuple[str, str, str] | None:
    """User, app and model of a model's URL."""
    if url is None:
        return None
    found = _MODEL_URL.fullmatch(url.strip())
    if found is None:
        shown = re.sub(r"[^/]*@", "***@", url)  # what stands before an @ may be a password
        raise ConfigError(
            f"{shown!r} is not the URL of a model; write https://clarifai.com/USER/APP/models/MODEL, without a "
            "version or a method"
        )
    user_id, app_id, model_id = map(unquote, found.groups())
    return user_id, app_id, model_id


def _required_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"the environment variable {variable} holds no key; set it, or ask for none")
    return key
