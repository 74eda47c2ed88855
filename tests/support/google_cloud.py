"""What a launcher of Dataflow jobs talks to, on loopback: the metadata server, a bucket, and Dataflow's own REST API.

Beam's real runner uploads to it and submits to it. A job that it is given runs at once on the in-process engine, from
nothing but the staged pipeline: what Dataflow itself would have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from bulkinfer.pipelines.runners.local_runner import LocalRunner

__all__ = ["GoogleCloud", "google_cloud"]


@dataclasses.dataclass
class GoogleCloud:
    """A running stand-in, and what it was sent.

    Attributes:
        objects: bodies of all uploads, by gs:// path.
        jobs: Job messages that were created, by id.
    """

    port: int
    objects: dict[str, bytes] = dataclasses.field(default_factory=dict)
    jobs: dict[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """For `--dataflow_endpoint`; Beam speaks REST to what is called localhost."""
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Leads Google's own libraries here, as on a machine of Google's that has a service account.

        And hides the developer's own credentials from them.
        """
        host = f"127.0.0.1:{self.port}"
        return {
            "CLOUDSDK_CONFIG": "/nowhere",
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "STORAGE_EMULATOR_HOST": f"http://{host}",
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
        }

    def pipeline_of(self, job: Mapping[str, Any]) -> beam_runner_api_pb2.Pipeline:
        """The pipeline that a job names."""
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        return beam_runner_api_pb2.Pipeline.FromString(self.objects[url])

    def run(self, job: Mapping[str, Any]) -> str:
        """Run a job in this process, and return Beam's name for the state that it ended in."""
        pipeline = self.pipeline_of(job)
        for environment in pipeline.components.environments.values():
            environment.urn = python_urns.EMBEDDED_PYTHON
            environment.ClearField("payload")
            environment.ClearField("dependencies")
        return str(LocalRunner().run_via_runner_api(pipeline, PipelineOptions()).wait_until_finish())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: GoogleCloud

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._dispatch()

    def do_POST(self) -> None:
        self._dispatch()

    def do_PUT(self) -> None:
        self._dispatch()

    def _dispatch(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, url.path)
            if found and method == self.command:
                groups = [urllib.parse.unquote(group) for group in found.groups()]
                answer(self, body, *groups)
                return
        self._reply({"error": {"code": 404, "message": f"no {self.path}"}}, status=404)

    def _reply(self, values: Any, *, status: int = 200, **headers: str) -> None:
        data = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Metadata-Flavor", "Google")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _account(self, _: bytes) -> None:
        self._reply({"email": "launcher@pro-ject.iam.gserviceaccount.com", "scopes": [], "aliases": []})

    def _token(self, _: bytes) -> None:
        self._reply({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})

    def _bucket(self, _: bytes, bucket: str) -> None:
        self._reply({"name": bucket})

    def _begin_upload(self, body: bytes, bucket: str) -> None:
        place = urllib.parse.quote(f"{bucket}/{json.loads(body)['name']}")
        self._reply({}, Location=f"http://{self.headers['Host']}/upload/{place}")

    def _finish_upload(self, body: bytes, place: str) -> None:
        self.cloud.objects[f"gs://{place}"] = body
        # The client compares the checksum that it sent with the one that came to be stored.
        self._reply(dict([self.headers["X-Goog-Hash"].split("=", 1)]))

    def _create_job(self, body: bytes, _: str, region: str) -> None:
        job = json.loads(body)
        identity = f"job-{len(self.cloud.jobs)}"
        ended = self.cloud.run(job)
        self.cloud.jobs[identity] = {**job, "id": identity, "currentState": f"JOB_STATE_{ended}"}
        self._reply({"id": identity, "location": region, "currentState": "JOB_STATE_PENDING"})

    def _get_job(self, _: bytes, identity: str) -> None:
        job = self.cloud.jobs[identity]
        self._reply({"id": identity, "currentState": job["currentState"]})

    def _nothing(self, _: bytes, *__: str) -> None:
        self._reply({})


_ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", "/", _Handler._nothing),
    ("GET", "/computeMetadata/v1/instance/service-accounts/[^/]+/", _Handler._account),
    ("GET", "/computeMetadata/v1/instance/service-accounts/[^/]+/token", _Handler._token),
    ("GET", "/storage/v1/b/([^/]+)", _Handler._bucket),
    ("POST", "/upload/storage/v1/b/([^/]+)/o", _Handler._begin_upload),
    ("PUT", "/upload/(.+)", _Handler._finish_upload),
    ("POST", "/v1b3/projects/([^/]+)/locations/([^/]+)/jobs", _Handler._create_job),
    ("GET", "/v1b3/projects/[^/]+/locations/[^/]+/jobs/([^/]+)", _Handler._get_job),
    ("GET", "/v1b3/projects/[^/]+/locations/[^/]+/jobs/([^/]+)/(?:messages|metrics)", _Handler._nothing),
)


@contextlib.contextmanager
def google_cloud() -> Iterator[GoogleCloud]:
    """Serve on a free loopback port until the block ends."""
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        cloud = GoogleCloud(server.server_address[1])
        handler.cloud = cloud  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
