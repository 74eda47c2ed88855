"""The worker pool: starts workers for a runner, stops them, and leaves none behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from bulkinfer.pipelines.runners.worker_pool import serve
from bulkinfer.transforms.errors import RunnerError


@pytest.fixture
def runner_socket() -> Iterator[socket.socket]:
    """A socket that a worker can connect to and that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def _request(name: str, address: socket.socket) -> beam_fn_api_pb2.StartWorkerRequest:
    endpoint = endpoints_pb2.ApiServiceDescriptor(url=f"127.0.0.1:{address.getsockname()[1]}")
    return beam_fn_api_pb2.StartWorkerRequest(
        worker_id=name, control_endpoint=endpoint, logging_endpoint=endpoint
    )


def _workers_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and "pool_worker" in command:
            found.append(int(folder.name))
    return found


def _is_gone(process: int) -> bool:
    """Whether a process has ended; one that is ending has no command line any more but still holds its pipe."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _gone(process: int) -> bool:
    for _ in range(600):
        if _is_gone(process):
            return True
        time.sleep(0.1)
    return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_a_worker_is_started_and_stopped(runner_socket: socket.socket) -> None:
    """It runs our own interpreter, and connects to the runner that it is given."""
    with serve() as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        assert not pool.StartWorker(_request("w1", runner_socket), timeout=20).error
        (worker,) = _workers_of(os.getpid())
        runner_socket.settimeout(60)
        runner_socket.accept()[0].close()
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="w1"), timeout=20)
        assert _gone(worker)
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="unknown"), timeout=20)


@linux
def test_two_runners_with_equal_worker_ids_stop_their_own_workers(runner_socket: socket.socket) -> None:
    """Each TaskManager, and each job in it, calls its first worker 1-1."""
    apart = [("grpc.use_local_subchannel_pool", 1)]
    with (
        serve() as port,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=apart) as one,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=apart) as other,
    ):
        pools = [beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel) for channel in (one, other)]
        pools[0].StartWorker(_request("1-1", runner_socket), timeout=20)
        (first,) = _workers_of(os.getpid())
        pools[1].StartWorker(_request("1-1", runner_socket), timeout=20)
        (second,) = set(_workers_of(os.getpid())) - {first}
        pools[0].StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), timeout=20)
        assert _gone(first)
        assert not _is_gone(second)
    assert _gone(second)


@linux
def test_a_terminated_pool_leaves_no_worker_behind(runner_socket: socket.socket) -> None:
    """Beam's own pool leaves them running."""
    command = [
        sys.executable,
        "-m",
        "bulkinfer.pipelines.worker_pool",
        "--port",
        "0",
        "--spares",
        "1",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(line for line in process.stderr if "listens on" in line).rpartition(":")[2].strip()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            pool.StartWorker(_request("w1", runner_socket), timeout=20)
        workers = _workers_of(process.pid)
        assert len(workers) == 2  # one works, one is in reserve
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
    assert process.returncode == 0
    assert all(_gone(worker) for worker in workers)


@linux
def test_workers_in_reserve_end_with_a_pool_that_is_killed(runner_socket: socket.socket) -> None:
    command = [
        sys.executable,
        "-m",
        "bulkinfer.pipelines.worker_pool",
        "--port",
        "0",
        "--spares",
        "1",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(line for line in process.stderr if "listens on" in line).rpartition(":")[2].strip()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
            pool.StartWorker(_request("w1", runner_socket), timeout=20)
            busy = next(line for line in process.stderr if "worker started" in line)
        worker = int(busy.rpartition("pid=")[2])
        (spare,) = set(_workers_of(process.pid)) - {worker}
        process.kill()
        assert _gone(spare)
        os.kill(worker, signal.SIGKILL)  # it would try for a minute to reach a runner that never answers
        process.communicate()


@linux
def test_the_next_worker_is_the_one_in_reserve(runner_socket: socket.socket) -> None:
    """It imported Beam while the first one worked; as many are in reserve as have run at once."""
    with serve(spares=2) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        pool.StartWorker(_request("w1", runner_socket), timeout=20)
        first = set(_workers_of(os.getpid()))
        assert len(first) == 2
        pool.StartWorker(_request("w2", runner_socket), timeout=20)
        assert len(set(_workers_of(os.getpid())) - first) == 2
        assert len(_workers_of(os.getpid())) == 4
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="w2"), timeout=20)
        assert len(first & set(_workers_of(os.getpid()))) == 1


@linux
def test_a_worker_in_reserve_that_was_killed_is_not_given_out(runner_socket: socket.socket) -> None:
    with serve(spares=1) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        pool.StartWorker(_request("w1", runner_socket), timeout=20)
        for process in _workers_of(os.getpid()):
            os.kill(process, signal.SIGKILL)
            assert _gone(process)
        assert not pool.StartWorker(_request("w2", runner_socket), timeout=20).error
        assert len(_workers_of(os.getpid())) == 2


def test_a_taken_port_is_named() -> None:
    with (
        serve() as port,
        pytest.raises(RunnerError, match=rf"cannot listen on 127\.0\.0\.1:{port}; choose another"),
        serve(port=port),
    ):
        pass


def test_it_listens_on_loopback_alone() -> None:
    """A pool runs any code that it is sent."""
    with serve() as port:
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        assert f"00000000:{port:04X}" not in listening
        assert f"{'0' * 32}:{port:04X}" not in listening
