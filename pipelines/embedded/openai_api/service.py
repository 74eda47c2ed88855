"""Answers the requests of the OpenAI-compatible API: from an HTTP request to a reply, and the reply on the wire."""

from __future__ import annotations

import dataclasses
import hmac
import json
import logging
import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from . import chat, embeddings, responses
from .answering import answer, prompt_tokens_of
from .api_error import ApiError
from .catalogue import Catalogue
from .limits import RateLimits
from .reading import json_object

__all__ = ["Reply", "Service", "written_event"]

logger = logging.getLogger(__name__)

#: The forms in which a chat model is asked, by path.
_CHATS = {"/v1/chat/completions": chat, "/v1/responses": responses}
_POSTS = (*_CHATS, "/v1/embeddings")

CONTEXT_TOKENS = 128_000
REQUEST_BYTES = 64 * 1024**2
#: Tokens of an answer that a request without `max_tokens` is thought to want, until it is known.
_ANSWER_TOKENS = 16


@dataclasses.dataclass
class Reply:
    """What is answered.

    Attributes:
        body: what goes out as JSON.
        events: a stream's events in its place, each its name and what goes out as JSON, a text as it stands.
        tokens: of the prompt and the answer.
    """

    status: int = 200
    body: Any = None
    events: Iterable[tuple[str, Any]] | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    tokens: int = 0


class Service:
    """The API's answers.

    Args:
        catalogue: the models.
        key: what every request must carry as a bearer token; None asks for none.
        limits: what may be asked a minute.
        context_tokens: of prompt and answer, at most.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        key: str | None = None,
        limits: RateLimits | None = None,
        context_tokens: int = CONTEXT_TOKENS,
    ) -> None:
        self.catalogue, self.limits, self.context_tokens = catalogue, limits or RateLimits(), context_tokens
        self.key = key

    def app(self, request_bytes: int = REQUEST_BYTES) -> web.Application:
        """The HTTP application; requests above `request_bytes` are refused."""
        app = web.Application(client_max_size=request_bytes)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, from its bytes to its answer's."""
        try:
            self._check_key(request)
            reply = await self.reply(request)
        except ApiError as error:
            reply = Reply(error.status, error.body(), headers=error.headers)
        except web.HTTPRequestEntityTooLarge as error:
            message = f"Maximum content size limit exceeded: {error.text}"
            reply = Reply(413, ApiError(413, message, code="request_too_large").body())
        except Exception as error:  # noqa: BLE001 (whatever a model raises, the client gets an error object)
            # The error's type only: its text may quote an input.
            logger.warning("a request failed: error=%s", type(error).__name__)
            message = "The server had an error while processing your request."
            reply = Reply(500, ApiError(500, message, kind="server_error").body())
        reply.headers = {**self.limits.headers(), "x-request-id": f"req_{uuid.uuid4().hex}", **reply.headers}
        return await self.send(request, reply)

    async def reply(self, request: web.Request) -> Reply:
        """The answer to a request; ApiError when it is refused."""
        path = request.path.rstrip("/")
        if path == "/v1/models" or path.startswith("/v1/models/"):
            _check_method(request, "GET")
            return Reply(body=self._models(path.removeprefix("/v1/models").lstrip("/")))
        if path not in _POSTS:
            raise ApiError(404, f"Invalid URL ({request.method} {request.path})")
        _check_method(request, "POST")
        return await self.answer(path, json_object(await request.read()))

    async def answer(self, path: str, body: dict[str, Any]) -> Reply:
        """The answer to what was posted to a path; ApiError when it is refused."""
        form = _CHATS.get(path)
        return await (self._embeddings(body) if form is None else self._chat(form, body))

    async def send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Write a reply."""
        if reply.events is None:
            body = json.dumps(reply.body).encode()
            return web.Response(
                status=reply.status, headers=reply.headers, body=body, content_type="application/json"
            )
        response = web.StreamResponse(headers={"Cache-Control": "no-cache", **reply.headers})
        response.content_type, response.charset = "text/event-stream", "utf-8"
        await response.prepare(request)
        for name, value in reply.events:
            await response.write(written_event(name, value))
        await response.write_eof()
        return response

    async def _chat(self, form: Any, body: dict[str, Any]) -> Reply:
        ask = form.ask_of(body)
        self.catalogue.model(ask.model)
        prompt = prompt_tokens_of(ask)
        self._check_context(prompt, ask.max_tokens or 0, ask.param)
        reserved = prompt + (ask.max_tokens or _ANSWER_TOKENS)
        self.limits.admit(reserved, ask.model)
        used = 0
        try:
            answered = await answer(ask, self.catalogue)
            used = prompt + len(answered.tokens)
        finally:
            self.limits.settle(reserved, used)
        if ask.stream:
            return Reply(events=list(form.events(ask, answered)), tokens=used)
        return Reply(body=form.whole(ask, answered), tokens=used)

    async def _embeddings(self, body: dict[str, Any]) -> Reply:
        ask = embeddings.ask_of(body)
        self.catalogue.model(ask.model)
        self.limits.admit(ask.prompt_tokens, ask.model)
        vectors = await self.catalogue.embed(ask.model, ask.inputs, ask.dimensions, "input")
        return Reply(body=embeddings.embeddings(ask, vectors), tokens=ask.prompt_tokens)

    def _models(self, name: str) -> dict[str, Any]:
        def entry(model: str) -> dict[str, Any]:
            return {"id": model, "object": "model", "created": 0, "owned_by": "bulkinfer"}

        if name:
            self.catalogue.model(name)
            return entry(name)
        return {"object": "list", "data": [entry(model) for model in self.catalogue.names()]}

    def _check_key(self, request: web.Request) -> None:
        if self.key is None:
            return
        sent = request.headers.get("Authorization", "")
        scheme, _, key = sent.partition(" ")
        if scheme.lower() in ("bearer", "key") and hmac.compare_digest(
            key.strip().encode(), self.key.encode()
        ):
            return
        message = "Incorrect API key provided." if key else "You didn't provide an API key."
        headers = {"WWW-Authenticate": "Bearer"}
        raise ApiError(
            401, f"{message} Send it as 'Authorization: Bearer KEY'.", code="invalid_api_key", headers=headers
        )

    def _check_context(self, prompt: int, wanted: int, param: str) -> None:
        if prompt + wanted > self.context_tokens:
            raise ApiError(
                400,
                f"This model's maximum context length is {self.context_tokens} tokens. However, you requested "
                f"{prompt + wanted} tokens ({prompt} in the messages, {wanted} in the completion).",
                param=param,
                code="context_length_exceeded",
            )


def written_event(name: str, value: Any) -> bytes:
    """A server-sent event."""
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def _check_method(request: web.Request, method: str) -> None:
    if request.method != method:
        raise ApiError(
            405,
            f"Not allowed to {request.method} on {request.path} (HINT: Perhaps you meant to make a {method} request?)",
            code="method_not_supported",
            headers={"Allow": method},
        )
