"""Connections to one server of the API: sends a call's JSON, and judges what comes home."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from ...calls.endpoint import Fault, Reply, Verdict
from ..bearer import Token
from ..over_grpc.codes import cut
from .address import ApiAddress
from .events import EventParser
from .methods import chat, embeddings, responses
from .methods.asked import Asked
from .methods.completion import Completion, MisreadError
from .methods.structured import MisfitError
from .statuses import fault_of_answer, fault_of_error, fault_of_http, lost

__all__ = ["METHODS", "EncodedInput", "HttpSession"]

METHODS = {"chat": chat, "responses": responses, "embeddings": embeddings}
_CONNECT_S = 10.0
#: What reading JSON of another shape than the API's raises; it is that input's fault and ends no job.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclasses.dataclass(slots=True)
class EncodedInput:
    """One input as the API takes it.

    Attributes:
        data: its JSON.
        unfit: its answer did not fit the schema; it is asked once more and no oftener.
    """

    data: bytes
    unfit: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of its JSON."""
        return len(self.data)


class HttpSession:
    """Sends inputs to one method of one server; lives on the engine's loop.

    Args:
        api: where it is served.
        method: by the job's name.
        asked: the method, bound.
        token: for the server.
        timeout: seconds, the deadline of one call.
    """

    def __init__(self, api: ApiAddress, method: str, asked: Asked, token: Token, timeout: float) -> None:
        self._url, self._method, self._asked, self._token = (
            f"{api.url}{asked.path}",
            METHODS[method],
            asked,
            token,
        )
        self._http = aiohttp.ClientSession(
            # The engine alone says how many calls are under way.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, _CONNECT_S)),
            headers={"content-type": "application/json", **token.headers()},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxy = api.proxy

    async def connect(self) -> Fault | None:
        """HTTP connects with the first call."""
        return None

    async def close(self) -> None:
        """Close all connections; calls under way are cancelled."""
        await self._http.close()

    async def send(self, batch: Sequence[EncodedInput]) -> Reply:
        """Send the inputs in one call and judge the answer."""
        request = self._asked.body([one.data for one in batch])
        reply = Reply(bytes_sent=len(request))
        try:
            async with self._http.post(
                self._url, data=request, proxy=self._proxy, allow_redirects=False
            ) as response:
                reply.request_id = response.headers.get("x-request-id")
                streams = response.status == 200 and response.content_type == "text/event-stream"
                data = await (self._events(response, reply) if streams else self._whole(response, reply))
            if reply.fault is None:
                self._read(data, batch, reply)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            reply.fault = lost(error)
        except (MisreadError, *_UNREADABLE) as error:
            verdict = Verdict.SPLIT if reply.partial else Verdict.MISMATCH
            reply.fault = Fault(verdict, "unexpected_answer", cut(f"the answer cannot be read: {error}"))
        if reply.fault is not None:
            reply.fault = dataclasses.replace(
                reply.fault, message=self._token.mask(reply.fault.message), request_id=reply.request_id
            )
        return reply

    async def _whole(self, response: aiohttp.ClientResponse, reply: Reply) -> Any:
        body = await response.read()
        reply.bytes_received = len(body)
        if response.status != 200:
            reply.fault = fault_of_http(response.status, response.headers, body)
            return None
        try:
            data = json.loads(body)
        except ValueError:
            reply.fault = fault_of_answer(response.headers, body)
            return None
        if not isinstance(data, Mapping):
            raise MisreadError(f"it is JSON, but no object: {str(data)[:100]}")
        return data

    async def _events(self, response: aiohttp.ClientResponse, reply: Reply) -> Any:
        parser, events = EventParser(), []
        async for piece in response.content.iter_any():
            reply.bytes_received += len(piece)
            for data in parser.feed(piece):
                if data == b"[DONE]":
                    continue
                try:
                    event = json.loads(data)
                except ValueError:
                    raise MisreadError(f"an event of the stream is no JSON: {data[:100]!r}") from None
                if not isinstance(event, Mapping):
                    raise MisreadError("an event of the stream is no object")
                error = event if event.get("type") == "error" else event.get("error")
                if error:
                    reply.fault = fault_of_error(
                        error.get("error") or error if isinstance(error, Mapping) else error
                    )
                    return None
                events.append(event)
                reply.partial = True
        joined = getattr(self._method, "joined", None)
        if joined is None:
            raise MisreadError("the answer is a stream, which embeddings are not")
        return joined(events)

    def _read(self, data: Mapping[str, Any], batch: Sequence[EncodedInput], reply: Reply) -> None:
        """Put the answers of a call into its reply."""
        if data.get("error"):
            reply.fault = fault_of_error(data["error"])
            return
        answers = self._method.answers(data)
        if len(answers) != len(batch):
            raise MisreadError(f"it holds {len(answers)} answers to {len(batch)} inputs")
        usage = data.get("usage")
        if isinstance(usage, Mapping):
            reply.prompt_tokens = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
            reply.completion_tokens = _count(usage.get("completion_tokens", usage.get("output_tokens")))
        body = (
            json.dumps(data, ensure_ascii=False).encode(errors="backslashreplace") if len(batch) == 1 else b""
        )
        reply.answers = [self._checked(answer, one, body) for answer, one in zip(answers, batch, strict=True)]

    def _checked(self, answer: Completion | Fault, one: EncodedInput, body: bytes) -> Completion | Fault:
        """The answer with its JSON where it is to have one; a fault where it does not fit."""
        if isinstance(answer, Fault):
            return answer
        answer.body = body
        structure, text = self._asked.structure, answer.columns.get("text")
        if structure is None or (text is None and answer.columns.get("tool_calls")):
            return answer
        try:
            answer.columns["json"] = structure.value_of(text or "")
        except MisfitError as misfit:
            return _unfit(misfit, text or "", answer.columns.get("finish_reason"), one)
        return answer


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _unfit(misfit: MisfitError, text: str, finish: str | None, one: EncodedInput) -> Fault:
    if finish == "length":
        message = (
            f"the answer was cut at the limit of its tokens, so that {misfit}; raise max_tokens: {text[:200]}"
        )
        return Fault(Verdict.BAD_INPUT, "truncated", cut(message))
    message = f"the answer does not fit what was asked: {misfit}: {text[:200]}"
    again, one.unfit = not one.unfit, True
    return Fault(Verdict.WAIT if again else Verdict.BAD_INPUT, "unfit_answer", cut(message))
