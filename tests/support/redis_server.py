"""A real Redis server on a free port: the machine's own, or the one in Debian's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster_downloads import CACHE
from .services import start

__all__ = ["redis_server"]

_PACKAGES = (
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-cjson",
    "lua-bitop",
)


@contextlib.contextmanager
def redis_server(host: str = "127.0.0.1", password: str = "", *options: str) -> Iterator[str]:
    """Start a server that keeps nothing on disk; yields its redis:// address.

    Args:
        options: of `redis-server`, after ours.
    """
    binary, libraries = _installed()
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            binary,
            "--bind",
            host,
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        command += ["--protected-mode", "no"] + (["--requirepass", password] if password else [])
        command += options
        service = start("redis", command, Path(folder) / "redis.log", {"LD_LIBRARY_PATH": libraries})
        try:
            service.wait_for((host, port), timeout=10)
            yield f"redis://{host}:{port}/0"
        finally:
            service.stop()


def _installed() -> tuple[str, str]:
    """The server's binary, and where its libraries are."""
    found = shutil.which("redis-server")
    if found:
        return found, os.environ.get("LD_LIBRARY_PATH", "")
    root = CACHE / "redis"
    if not root.exists():
        # Unpacked and not installed: an installed package would start a server of its own.
        if not shutil.which("apt-get"):
            pytest.skip("needs redis-server on the PATH, or apt-get to fetch it")
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=CACHE))  # several test processes may come here at once
        subprocess.run(["apt-get", "-qq", "update"], check=False, capture_output=True)
        subprocess.run(["apt-get", "download", *_PACKAGES], cwd=partial, check=True, capture_output=True)
        for package in partial.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(partial)], check=True)
        try:
            partial.rename(root)
        except OSError:  # another process was quicker
            shutil.rmtree(partial)
    libraries = sorted({str(path.parent) for path in root.rglob("*.so*")})
    return str(root / "usr" / "bin" / "redis-server"), os.pathsep.join(libraries)
