"""Rate limits of a fleet of any size, kept by a Redis server.

A divided limit suits a fixed fleet: each of four workers takes a quarter, and what one does not use is lost. Here
every worker asks one Redis for each call, so that the fleet may grow, shrink or work unevenly, several jobs may
use one endpoint's limit, and all of it is used. A worker that cannot reach Redis waits and sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from ...errors import ConfigError, StoreError
from .limiter import Permit
from .local import LocalLimiter
from .redis_script import SCRIPT
from .window import CATCH_UP

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["PASSWORD", "FleetLimiter", "check_limiter"]

logger = logging.getLogger(__name__)

PASSWORD = "REDIS_PASSWORD"  #: environment variable of launcher and workers
_KEY = "bulkinfer"
#: Calls of different hosts travel less alike than those of one process: they are spread over this much more than a
#: second, and no window of a second and a little less than this holds more than the limit.
SPREAD, GUARD = 0.075, 0.07
_TIMEOUT_S = 5.0
_WARN_S = 30.0
#: Seconds after which a Redis that refuses the script is not waited for any more; a failover is over by then.
_REFUSED_S = 60.0

#: Seconds without a call after which a limit's state is forgotten; the next call then waits for one window.
_KEEP_S = 86_400.0


class FleetLimiter:
    """The limits of all workers that name the same Redis and key.

    Args:
        url: redis://HOST:PORT/DB, or rediss:// for TLS; `?key=NAME` tells fleets apart.
        calls_per_second: most calls in any one second, None for no limit.
        inputs_per_second: most inputs in any one second, None for no limit.
    """

    def __init__(self, url: str, calls_per_second: float | None, inputs_per_second: float | None) -> None:
        _, self._key = _address(url)
        self._url = url
        limits = {"calls": calls_per_second, "inputs": inputs_per_second}
        self._limits = {name: limit for name, limit in limits.items() if limit}
        self._learned = LocalLimiter(None, None)  # what this process's own throttling answers teach
        self._turn = asyncio.Lock()
        self._client: redis.asyncio.Redis | None = None
        self._lost = False  # the connection was lost, and no window was waited for since
        self._asked = 0
        self._since = 0  # Redis's time when the call whose turn it is first asked
        self._name = f"{os.getpid()}.{os.urandom(4).hex()}"

    async def acquire(self, inputs: int) -> Permit:
        """Wait until a call with so many inputs may start.

        Raises:
            ConfigError: it may never start, because it is larger than the limit of inputs.
            StoreError: Redis refuses to keep the limit, and has for a minute.
        """
        permit = await self._learned.acquire(inputs)
        try:
            await self._wait_for_turn(inputs)
        except BaseException:
            self._learned.ended(permit)  # it will never start
            raise
        permit.time = time.monotonic()
        return permit

    async def _wait_for_turn(self, inputs: int) -> None:
        async with self._turn:
            self._asked += 1
            self._since = 0
            while wait := await self._ask(inputs):
                if wait < 0:
                    limit = self._limits["inputs"]
                    raise ConfigError(
                        f"a call of {inputs} inputs is larger than calls.inputs_per_second, {limit:g}, ever allows; "
                        f"send at most {max(1, int(limit))} a call"
                    )
                await asyncio.sleep(wait)

    def answered(self, permit: Permit, seconds: float) -> None:
        """The call succeeded after so many seconds."""
        self._learned.answered(permit, seconds)

    def throttled(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call for its rate: this process slows down."""
        self._learned.throttled(permit, retry_after)

    def refused(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call and did not say why: this process finds out."""
        self._learned.refused(permit, retry_after)

    def ended(self, permit: Permit) -> None:
        """The call ended, however it did."""
        self._learned.ended(permit)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            import redis.exceptions  # noqa: PLC0415  (an extra)

            with contextlib.suppress(redis.exceptions.RedisError):  # it may be lost already
                await client.aclose()

    async def _ask(self, inputs: int) -> float:
        """Seconds to wait before asking again; 0 when the call may start.

        Raises:
            StoreError: Redis refuses to keep the limit, and has for a minute.
            asyncio.CancelledError: the connection was given up, and the next ask waits as after any lost one.
        """
        import redis.exceptions  # noqa: PLC0415  (an extra)

        limits: list[str | int] = []
        for name, limit in self._limits.items():
            limits += [1 if name == "calls" else inputs, *_spacing(limit)]
        keys = [f"{{{self._key}}}:{name}" for name in self._limits]  # one slot of a cluster
        window_s = max(_spacing(limit)[2] for limit in self._limits.values()) / 1e6
        failing_since, warned = time.monotonic(), 0.0
        refused_since: float | None = None
        while True:
            if self._lost:
                # A replica that took over may not know the last starts; after one window they no longer count.
                await asyncio.sleep(window_s)
                self._lost = False
            try:
                client = self._client = self._client or _connect(self._url)
                member = f"{self._name}.{self._asked}"
                wait, self._since = await client.eval(SCRIPT, len(keys), *keys, member, self._since, *limits)
            except redis.exceptions.RedisError as error:
                now = time.monotonic()
                refused_since = (refused_since or now) if _refuses(error) else None
                if refused_since is not None and now - refused_since >= _REFUSED_S:
                    raise StoreError(_refusal(self._url, error)) from error
                if now - warned > _WARN_S:
                    logger.warning(
                        "limiter: no answer, calls wait: seconds=%.0f cause=%s",
                        now - failing_since,
                        type(error).__name__,
                    )
                    warned = now
                self._lost = True
                await self.close()
            except asyncio.CancelledError:
                # The library drops a connection whose answer it did not read, and would open another silently.
                self._lost = True
                await self.close()
                raise
            else:
                return float(wait) / 1e6


def check_limiter(url: str, *, remote: bool = False) -> str | None:
    """Check that a limiter answers and keeps limits.

    Args:
        remote: the workers run on other hosts, which may reach what this one does not.

    Returns:
        None, or for remote workers what could not be checked from here, and what follows if it is wrong.

    Raises:
        ConfigError: the address is malformed, holds a password, or is a loopback address of remote workers; or the
            `[redis]` extra is missing.
        StoreError: no Redis answers there, or it refuses what a limiter asks of it.
    """
    _, key = _address(url)
    if remote and _is_loopback(urlsplit(url).hostname or ""):
        raise ConfigError(
            f"calls.limiter: {url} is a loopback address, and each worker's host would have its own limit; name a "
            "Redis that all workers reach"
        )
    try:
        import redis  # noqa: PLC0415  (an extra)
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "calls.limiter needs a library that is not installed; pip install 'bulkinfer[redis]'"
        ) from error
    password = os.environ.get(PASSWORD) or None
    probe = f"{{{key}}}:check:{os.urandom(4).hex()}"  # beside the limits' keys; it expires after a second
    try:
        with redis.Redis.from_url(
            _plain(url), password=password, socket_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        ) as client:
            client.eval(SCRIPT, 1, probe, "check", 0, 1, *_spacing(1.0)[:-1], 1000)
    except redis.exceptions.RedisError as error:
        if _refuses(error):
            raise StoreError(_refusal(url, error)) from error
        silence = f"calls.limiter: no Redis answers at {url} ({type(error).__name__})"
        if remote:
            return f"{silence} from here; calls wait until one answers the workers"
        raise StoreError(f"{silence}; start it, or correct the address") from error
    return None


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def _refuses(error: Exception) -> bool:
    """True when Redis was reached and refused the command."""
    from redis import exceptions  # noqa: PLC0415  (an extra)

    return isinstance(error, (exceptions.ResponseError, exceptions.AuthenticationError))


def _refusal(url: str, error: Exception) -> str:
    return (
        f"calls.limiter: the Redis at {url} refuses to keep the limit ({type(error).__name__}: {error}); name one that "
        f"takes writes and scripts, give its password in {PASSWORD}, allow its user what docs/flink.md lists; then run "
        "the same command again"
    )


def _connect(url: str) -> redis.asyncio.Redis:
    import redis.asyncio  # noqa: PLC0415  (an extra)
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    password = os.environ.get(PASSWORD) or None
    # One connection, and no attempt of the library's own to make another: a lost one must be noticed.
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        _plain(url),
        single_connection_client=True,
        password=password,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return client


def _spacing(limit: float) -> tuple[int, int, int, int, int]:
    """A limit as the script takes it.

    Returns:
        Units in a window; in microseconds the step from one to the next, the window, and the delay that may be caught
        up; in milliseconds how long to keep the limit's state.
    """
    units, seconds = max(1, int(limit)), max(1.0, 1.0 / limit)
    step = (1.0 + SPREAD) * seconds / units
    window = (1.0 + GUARD) * seconds
    return (
        units,
        round(step * 1e6),
        round(window * 1e6),
        round(CATCH_UP * 1e6),
        round((window + _KEEP_S) * 1e3),
    )


def _address(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ConfigError("calls.limiter: this is no Redis address; write redis://HOST:PORT/DB")
    if parts.password:
        raise ConfigError(
            f"calls.limiter: the address holds a password; remove it and set {PASSWORD} for the launcher "
            "and the workers"
        )
    return _plain(url), parse_qs(parts.query).get("key", [_KEY])[0]


def _plain(url: str) -> str:
    return url.partition("?")[0]
