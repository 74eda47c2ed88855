"""The vendor's own model server, `python -m clarifai.runners.server --grpc`, with a model of every type."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

__all__ = ["VENDOR_MODEL", "vendor_server"]

VENDOR_MODEL = pathlib.Path(__file__).parent / "vendor_model"


@contextlib.contextmanager
def vendor_server(model: pathlib.Path = VENDOR_MODEL) -> Iterator[str]:
    """Run the server on a free port of this machine and give its address, "http://127.0.0.1:PORT"."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "clarifai.runners.server", "--grpc", "--port", str(port)]
    # A home of its own and no credentials: it must not look for a context, and must not reach the network.
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARIFAI_")}
        environment = {**kept, "HOME": home, "CLARIFAI_PAT": "", "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [*command, "--model_path", str(model)], stdout=log, stderr=log, env=environment, cwd=home
        )
        try:
            deadline = time.monotonic() + 60
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the vendor's server did not start:\n{log.read()[-3000:]}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
