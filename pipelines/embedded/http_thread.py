"""Serves an HTTP application in a thread with an event loop of its own, beside whatever else the process does."""

from __future__ import annotations

import asyncio
import logging
import threading

from aiohttp import http_exceptions, web
from bulkinfer.transforms.errors import EndpointError

__all__ = ["HttpThread"]

logger = logging.getLogger(__name__)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """A client that speaks something else, such as gRPC, gets 400, and is no fault of the server's."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, http_exceptions.HttpProcessingError)


logger.addFilter(_is_worth_telling)


class HttpThread:
    """A running HTTP server.

    Attributes:
        port: where it listens.
    """

    def __init__(self, app: web.Application, host: str, port: int, *, stop_seconds: float) -> None:
        """Start to serve.

        Args:
            app: what answers.
            host: the interface to listen on.
            port: 0 takes a free one.
            stop_seconds: how long requests under way may take when it is closed.

        Raises:
            EndpointError: the port is taken, or the host is not this machine's.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-http", daemon=True)
        self._thread.start()
        # A client that goes away must not keep the cores from those who wait: its handler is cancelled.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=stop_seconds, logger=logger
        )
        try:
            self.port = asyncio.run_coroutine_threadsafe(self._start(host, port), self._loop).result()
        except OSError as error:
            self.close()
            raise EndpointError(
                f"cannot listen on {host}:{port} for HTTP: the port is taken, or the host is no address of this "
                "machine; choose another (--http-port, or http_port in Python), or 0 for a free one"
            ) from error

    def close(self) -> None:
        """Let requests under way finish for a moment, then end."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self, host: str, port: int) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])
