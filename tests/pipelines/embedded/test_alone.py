"""The embedded server's room, copied away with `errors` and nothing else of the product, still serves."""

from __future__ import annotations

import ast
import base64
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bulkinfer.pipelines.embedded import server as module
from bulkinfer.pipelines.embedded.server import EmbeddedServer
from bulkinfer.transforms import errors
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2
from PIL import Image
from support.embedded import request_of, stub_of

ROOM = Path(module.__file__).parent
ROOM_NAME = module.__name__.rpartition(".")[0]

# By `sys.path` and not by PYTHONPATH: the serving process has to find its way by itself.
PROGRAM = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
assert importlib.util.find_spec("bulkinfer.transforms.records") is None, "the installed product is in reach"
from bulkinfer.pipelines.embedded.server import serve
with serve(workers=1, http_port=0) as server:
    print(server.endpoint, server.http_endpoint, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="alone")
def alone_fixture(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """The server, started from the copy in an environment that holds third-party packages alone."""
    product = tmp_path / "tree" / "bulkinfer"
    shutil.copytree(ROOM, product / "pipelines" / "embedded", ignore=shutil.ignore_patterns("__pycache__"))
    (product / "transforms").mkdir()
    shutil.copy(errors.__file__, product / "transforms" / "errors.py")
    (product / "__init__.py").touch()  # else an installed product would add its folders to the package
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # Folders that a .pth file names are searched, but their own .pth files, as of editable installs, are not read.
    third_party = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    (site / "third_party.pth").write_text("\n".join(third_party))
    process = subprocess.Popen(
        [str(tmp_path / "venv" / "bin" / "python"), "-c", PROGRAM, str(product.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )
    assert process.stdout is not None
    with EmbeddedServer(process, *process.stdout.readline().split()) as server:
        assert server.endpoint, "the server did not start; its error stands in the captured stderr"
        yield server


def test_it_serves_without_the_product(alone: EmbeddedServer) -> None:
    version = service_pb2.GetModelVersionRequest(
        user_app_id=resources_pb2.UserAppIDSet(user_id="u", app_id="a"), model_id="m"
    )
    text = resources_pb2.Data()
    text.parts.add(id="text").data.string_value = "guten Morgen euch allen"
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG")
    picture = resources_pb2.Data()
    picture.parts.add(id="image").data.image.base64 = file.getvalue()
    with stub_of(alone) as stub:
        signatures = stub.GetModelVersion(version).model_version.method_signatures
        asked = stub.PostModelOutputs(request_of("_GET_SIGNATURES", resources_pb2.Data()))
        answer = stub.PostModelOutputs(request_of("classify", text))
        # Heavy, so that a worker process answers it, which has to find the room too.
        from_worker = stub.PostModelOutputs(request_of("picture_size", picture))
    assert alone.http_endpoint is not None
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    question = {"model": "describe", "messages": [{"role": "user", "content": content}]}
    chat = httpx.post(f"{alone.http_endpoint}/chat/completions", json=question, timeout=60).json()

    assert {"predict", "generate", "classify", "levels"} <= {signature.name for signature in signatures}
    assert chat["choices"][0]["message"]["content"].startswith("A picture of 4 x 3 pixels")
    assert len(json.loads(asked.outputs[0].data.text.raw)) == len(signatures)
    assert answer.status.code == status_code_pb2.SUCCESS
    assert answer.outputs[0].data.parts[0].data.concepts[0].id == "de"
    assert from_worker.status.code == status_code_pb2.SUCCESS, from_worker.status.details
    assert [part.data.int_value for part in from_worker.outputs[0].data.parts[0].data.parts] == [4, 3]


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_it_imports_nothing_of_the_product_but_errors(path: Path) -> None:
    """Imports within functions too, which wait for a call that the test above may not make."""
    package = ".".join((ROOM_NAME, *path.relative_to(ROOM).parent.parts))
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(importlib.util.resolve_name("." * node.level + (node.module or ""), package))
    product = ROOM_NAME.partition(".")[0]
    outside = {name for name in imported if f"{name}.".startswith(f"{product}.")} - {errors.__name__}

    assert [name for name in outside if not f"{name}.".startswith(f"{ROOM_NAME}.")] == []
