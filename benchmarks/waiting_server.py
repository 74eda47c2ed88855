"""A server of the OpenAI-compatible API that only waits: every chat is answered with its own prompt after `--ms`.

It is one bare protocol without a framework, so that two cores can serve it beside a client of 5,000 calls a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys


class Connection(asyncio.Protocol):
    """One keep-alive connection; HTTP/1.1 with content lengths is all that it reads."""

    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.seconds if body else 0, self.answer, body)

    def answer(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        data = json.dumps(answer_to(json.loads(body)) if body else {"data": [{"id": "echo"}]}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)


def answer_to(asked: dict) -> dict:
    """A chat whose text is that of the last message."""
    message = {"role": "assistant", "content": asked["messages"][-1]["content"], "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200},
    }


async def serve(ms: float) -> None:
    Connection.seconds = ms / 1000
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ms", type=float, default=50)
    asyncio.run(serve(parser.parse_args().ms))
