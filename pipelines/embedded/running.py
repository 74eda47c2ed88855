"""Serves in this process: the model API over gRPC, the OpenAI-compatible API over HTTP, or both."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ipaddress
import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bulkinfer.transforms.errors import EndpointError, JobError

from .settings import Settings, require_demo_extra
from .workers import Workers

__all__ = ["Addresses", "run_forever", "serve_for_parent"]

VERSION_ID = "embedded"
#: As in the vendor's local server, so that what passes here passes there.
MESSAGE_BYTES = 1024**3
CALL_THREADS = 32
STOP_SECONDS = 2.0


class Addresses(NamedTuple):
    """Where the server answers.

    Attributes:
        grpc: the model API, "http://HOST:PORT"; None when it is not served.
        http: the OpenAI-compatible API, "http://HOST:PORT/v1"; None when it is not served.
    """

    grpc: str | None
    http: str | None


def run_forever(
    settings: Settings,
    *,
    on_ready: Callable[[Addresses], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until `stop` is set or an interrupt arrives (KeyboardInterrupt ends it quietly).

    Args:
        settings: where to serve, and what.
        on_ready: called once with the addresses, as soon as the server answers.
        stop: set it, from any thread, to end the server.

    Raises:
        JobError: the demo extra is not installed.
        ConfigError: the URL names no model, or the variable holds no key.
        EndpointError: a port is taken or the host is not this machine's.
    """
    require_demo_extra()
    settings.model()
    settings.key()
    pool = Workers(settings.workers)
    try:
        with contextlib.ExitStack() as servers:
            grpc_port = servers.enter_context(_grpc_server(settings, pool))
            http_port = servers.enter_context(_http_server(settings, pool))
            pool.warm_up()
            base = f"http://{_bracketed(settings.host)}"
            addresses = Addresses(
                None if grpc_port is None else f"{base}:{grpc_port}",
                None if http_port is None else f"{base}:{http_port}/v1",
            )
            with contextlib.suppress(KeyboardInterrupt):
                if on_ready is not None:
                    on_ready(addresses)
                (stop or threading.Event()).wait()
    finally:
        pool.close()


def serve_for_parent() -> None:
    """What the process of `serve` runs: settings in by stdin, the addresses out by stdout, the end by EOF."""
    settings = Settings(**json.loads(sys.stdin.readline()))
    stop = threading.Event()

    def watch() -> None:
        sys.stdin.read()  # returns when the parent closes the pipe, or has died
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    try:
        run_forever(settings, on_ready=lambda addresses: _say(addresses._asdict()), stop=stop)
    except JobError as error:
        _say({"error": str(error)})


@contextlib.contextmanager
def _grpc_server(settings: Settings, pool: Workers) -> Iterator[int | None]:
    if settings.port is None:
        yield None
        return
    import grpc  # noqa: PLC0415 (late: the command line imports this module for its help)
    from clarifai_grpc.grpc.api import service_pb2_grpc  # noqa: PLC0415

    from .models.demo import METHODS  # noqa: PLC0415
    from .servicer import ModelServicer  # noqa: PLC0415

    servicer = ModelServicer(
        METHODS,
        pool,
        model=settings.model(),
        version_id=VERSION_ID,
        key=settings.key(),
        local_files=_is_loopback(settings.host),
    )
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),  # else a second server could take the same port and half of the calls
    ]
    threads = concurrent.futures.ThreadPoolExecutor(CALL_THREADS, "embedded-call")
    server = grpc.server(threads, options=options)
    service_pb2_grpc.add_V2Servicer_to_server(servicer, server)
    bound = _bind(server, settings.host, settings.port)
    server.start()
    try:
        yield bound
    finally:
        server.stop(STOP_SECONDS).wait()
        threads.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _http_server(settings: Settings, pool: Workers) -> Iterator[int | None]:
    if settings.http_port is None:
        yield None
        return
    from .http_thread import HttpThread  # noqa: PLC0415 (an HTTP server is only loaded where one is asked for)
    from .models.demo import METHODS  # noqa: PLC0415
    from .openai_api.catalogue import Catalogue  # noqa: PLC0415
    from .openai_api.limits import RateLimits  # noqa: PLC0415
    from .openai_api.service import Service  # noqa: PLC0415

    model = settings.model()
    only = (
        None if model is None else (f"https://clarifai.com/{model[0]}/{model[1]}/models/{model[2]}", model[2])
    )
    catalogue = Catalogue(METHODS, pool, only)
    limits = RateLimits(settings.requests_per_minute, settings.tokens_per_minute)
    service = Service(catalogue, key=settings.key(), limits=limits)
    thread = HttpThread(service.app(), settings.host, settings.http_port, stop_seconds=STOP_SECONDS)
    try:
        yield thread.port
    finally:
        thread.close()
        catalogue.close()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


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
