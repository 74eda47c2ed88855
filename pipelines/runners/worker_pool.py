"""A service that starts Beam worker processes on a cluster host without containers.

    python -m bulkinfer.pipelines.worker_pool --host 127.0.0.1 --port 50000

Run one on every host that runs tasks (a Flink TaskManager, a Spark executor), in an environment that has
bulkinfer installed, and give the job `environment_config: "localhost:50000"`.

It replaces Beam's `worker_pool_main`, which takes whatever `python` is on the PATH, listens on all interfaces although
it runs any code that it is sent, drops the workers' logs, and leaves the workers running when it is terminated. Beam's
also imports Beam for each worker while a task waits, which takes seconds, and Flink starts new workers for each stage
of a job; this one can keep some in reserve.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from bulkinfer.transforms.errors import RunnerError
from google.protobuf import text_format

from .proxies import spare_loopback

__all__ = ["WorkerPool", "main", "serve"]

logger = logging.getLogger(__name__)
_STOP_SECONDS = 10


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes for a runner.

    Args:
        log_level: of the workers; they log to the runner and to this process's stderr.
        spares: most workers in reserve. There are never more than have run at once, and each takes some 150 MB.
    """

    def __init__(self, log_level: str = "INFO", spares: int = 0) -> None:
        self._options = json.dumps({"options": {"default_sdk_harness_log_level": log_level}})
        # Keyed by the asking peer too: each TaskManager, job and executor numbers its workers from 1-1.
        self._workers: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self._spares: list[subprocess.Popen[bytes]] = []
        self._most = spares
        self._wanted = 0
        self._lock = threading.Lock()

    def StartWorker(  # noqa: N802  (a name of Beam's protocol)
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start one worker; the runner waits until it connects to the control endpoint."""
        environment = {
            "WORKER_ID": request.worker_id,
            "PIPELINE_OPTIONS": self._options,
            "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(request.control_endpoint),
            "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(request.logging_endpoint),
        }
        with self._lock:
            try:
                worker = self._spares.pop(0) if self._spares else _spare()
                if not _give(worker, environment):
                    worker = _spare()  # the one in reserve was killed
                    _give(worker, environment)
            except OSError as error:
                return beam_fn_api_pb2.StartWorkerResponse(
                    error=f"the pool cannot start {sys.executable}: {error}"
                )
            self._workers = {key: known for key, known in self._workers.items() if known.poll() is None}
            self._workers[context.peer(), request.worker_id] = worker
            self._refill()
        logger.info("worker started: id=%s pid=%d", request.worker_id, worker.pid)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802  (a name of Beam's protocol)
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Stop one worker of the asking peer.

        An unknown one has stopped already, or was started over a connection that has since been closed as idle: it ends
        by itself, because its runner closes the control stream before it asks here.
        """
        with self._lock:
            worker = self._workers.pop((context.peer(), request.worker_id), None)
        if worker is not None:
            _stop([worker])
            logger.info("worker stopped: id=%s pid=%d", request.worker_id, worker.pid)
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Stop all workers, also those in reserve."""
        with self._lock:
            workers = [*self._workers.values(), *self._spares]
            self._workers.clear()
            self._spares.clear()
        _stop(workers)

    def _refill(self) -> None:
        """Start workers in reserve, as many as have run at once or `spares`: the next stage needs that many."""
        self._wanted = max(self._wanted, len(self._workers))
        self._spares = [spare for spare in self._spares if spare.poll() is None]
        wanted = min(self._wanted, self._most)
        with contextlib.suppress(OSError):  # the next StartWorker then tries again and reports it
            while len(self._spares) < wanted:
                self._spares.append(_spare())


@contextlib.contextmanager
def serve(host: str = "127.0.0.1", port: int = 0, log_level: str = "INFO", spares: int = 0) -> Iterator[int]:
    """Run a pool until the block ends; yields its port.

    Raises:
        RunnerError: the address is taken or not of this host.
    """
    pool = WorkerPool(log_level, spares)
    # Runners ping idle channels; a server that counts pings as abuse would close them.
    options = [
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise RunnerError(
            f"the worker pool cannot listen on {host}:{port}; choose another --port or --host"
        ) from error
    server.start()
    try:
        yield bound
    finally:
        server.stop(grace=None).wait()
        pool.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a pool until SIGTERM or SIGINT."""
    spare_loopback()
    parser = argparse.ArgumentParser(
        prog="python -m bulkinfer.pipelines.worker_pool",
        description="Start Beam worker processes for a Flink TaskManager or a Spark executor of this host.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=50000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--log-level", default="INFO", help="of the workers (default: %(default)s)")
    parser.add_argument(
        "--spares",
        type=int,
        default=0,
        help="workers in reserve, of some 150 MB each: one a slot makes stages begin at once (default: %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(chosen.host, chosen.port, chosen.log_level, chosen.spares) as port:
            logger.info("worker pool listens on %s:%d", chosen.host, port)
            stop.wait()
    except RunnerError as error:
        parser.exit(2, f"{error}\n")


def _descriptor(endpoint: endpoints_pb2.ApiServiceDescriptor) -> str:
    return str(text_format.MessageToString(endpoint, as_one_line=True))


def _spare() -> subprocess.Popen[bytes]:
    """Start a process that imports what workers need, and waits."""
    # Keys come from the pool's own environment, never from the runner.
    # Arrow's allocator as in the command's processes, see `cli.main`.
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "system", **os.environ}
    command = [sys.executable, "-m", "bulkinfer.pipelines.runners.pool_worker"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)


def _give(worker: subprocess.Popen[bytes], environment: Mapping[str, str]) -> bool:
    """Send a waiting process its environment variables; False when it has ended."""
    assert worker.stdin is not None
    try:
        with worker.stdin as line:
            line.write(f"{json.dumps(environment)}\n".encode())
    except BrokenPipeError:
        worker.wait()
    return worker.poll() is None


def _stop(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.stdin is not None:
            worker.stdin.close()  # it is still in reserve
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
