"""Connects to the API: credentials, and calls that send raw bytes.

The vendor's channel factories retry UNAVAILABLE by themselves and multiply calls, and their stub serializes messages
that we have framed already; so the calls are made by name on channels of our own.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clarifai_grpc.grpc.api import service_pb2
from google.protobuf.message import DecodeError

from ...errors import CredentialsError
from ..over_grpc.address import ServerAddress

__all__ = [
    "METHODS",
    "Credentials",
    "check_plaintext",
    "stub",
]

PAT = "CLARIFAI_PAT"
PAT_FILE = "CLARIFAI_PAT_FILE"
SESSION_TOKEN = "CLARIFAI_SESSION_TOKEN"

#: The RPC of each method type.
METHODS: Mapping[str, str] = {
    "UNARY_UNARY": "/clarifai.api.V2/PostModelOutputs",
    "UNARY_STREAMING": "/clarifai.api.V2/GenerateModelOutputs",
    "STREAMING_STREAMING": "/clarifai.api.V2/StreamModelOutputs",
}


@dataclasses.dataclass(frozen=True)
class Credentials:
    """A personal access token or a session token, from the environment of the process that calls.

    They never show in a repr and never pickle, so that they reach no log, no run record and no cluster.
    """

    pat: str | None = dataclasses.field(default=None, repr=False)
    session_token: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Credentials:
        """Read CLARIFAI_PAT, else the file that CLARIFAI_PAT_FILE names, else CLARIFAI_SESSION_TOKEN.

        All may be missing. A secret that a cluster mounts as a file needs no copy in a process's environment.

        Raises:
            CredentialsError: the file cannot be read, or is empty.
        """
        environment = os.environ if environment is None else environment
        pat = environment.get(PAT, "").strip() or _key_in(environment.get(PAT_FILE, ""))
        return cls(pat, None if pat else environment.get(SESSION_TOKEN, "").strip() or None)

    def __bool__(self) -> bool:
        return bool(self.pat or self.session_token)

    def __repr__(self) -> str:
        kind = "pat=***" if self.pat else "session_token=***" if self.session_token else "none"
        return f"Credentials({kind})"

    def __reduce__(self) -> Any:
        raise TypeError("credentials do not travel; each worker reads its own environment")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of a call."""
        if self.pat:
            return (("authorization", f"Key {self.pat}"),)
        if self.session_token:
            return (("x-clarifai-session-token", self.session_token),)
        return ()

    def mask(self, text: str) -> str:
        """The text without the secret, should a server repeat it."""
        for secret in (self.pat, self.session_token):
            if secret:
                text = text.replace(secret, "***")
        return text


def _key_in(path: str) -> str | None:
    if not path:
        return None
    try:
        key = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(
            f"{PAT_FILE}: {path} cannot be read ({error}); write the key into it"
        ) from error
    if not key:
        raise CredentialsError(f"{PAT_FILE}: {path} is empty; write the key into it")
    return key


def check_plaintext(endpoint: ServerAddress, credentials: Credentials, *, allow_plaintext: bool) -> None:
    """Refuse to send a key unencrypted to another machine.

    Raises:
        CredentialsError: the address is plaintext and not this machine, and nobody allowed it.
    """
    if credentials and not endpoint.tls and not endpoint.is_loopback and not allow_plaintext:
        raise CredentialsError(
            f"model.endpoint: {endpoint.url} is not encrypted and not this machine, so the key in {PAT} "
            "would be readable on the way; write https://, or set model.allow_plaintext: true"
        )


def stub(channel: Any, method_type: str) -> Any:
    """The call of a method type on a channel, sync or async: request bytes in, `MultiOutputResponse` out.

    For an answer that is no such message an async call gives None, and a sync one fails with the gRPC code INTERNAL.
    """
    make = {
        "UNARY_UNARY": channel.unary_unary,
        "UNARY_STREAMING": channel.unary_stream,
        "STREAMING_STREAMING": channel.stream_stream,
    }[method_type]
    return make(
        METHODS[method_type],
        request_serializer=None,
        response_deserializer=_answer_of,
    )


def _answer_of(data: bytes) -> Any:
    try:
        return service_pb2.MultiOutputResponse.FromString(data)
    except DecodeError:
        return None  # gRPC would log a traceback, and then give None as well
