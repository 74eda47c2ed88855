"""One HTTP GET, given up as soon as its answer is known to be too large or no byte of it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["http_get"]


async def http_get(
    filesystem: Any,
    url: str,
    *,
    idle: float,
    check_status: Callable[[int], None],
    check_size: Callable[[int], None],
) -> tuple[bytes, dict[str, Any]]:
    """The bytes of an address, and what its server says about them; fsspec's own asks twice.

    Args:
        filesystem: fsspec's for HTTP.
        idle: seconds without a byte after which it is given up.
        check_status, check_size: raise where the answer is none to read.

    Raises:
        TimeoutError: no byte came for so long.
    """
    import aiohttp  # noqa: PLC0415  (takes a tenth of a second, which jobs of local files need not spend)

    session = await filesystem.set_session()
    silence = aiohttp.ClientTimeout(total=None, sock_connect=idle, sock_read=idle)
    options = {**filesystem.kwargs, "timeout": silence}
    try:
        async with session.get(filesystem.encode_url(url), **options) as answer:
            check_status(answer.status)
            if answer.content_length is not None:
                check_size(answer.content_length)
            chunks, size = [], 0
            async for chunk in answer.content.iter_any():
                size += len(chunk)
                check_size(size)
                chunks.append(chunk)
    except aiohttp.ServerTimeoutError:
        raise TimeoutError(f"no byte came for {idle:g} s (source.timeout.idle)") from None
    info = {"ETag": answer.headers.get("ETag"), "size": size, "mtime": answer.headers.get("Last-Modified")}
    return b"".join(chunks), info
