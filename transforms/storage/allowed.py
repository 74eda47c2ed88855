"""Which references a manifest may name: its lines may have been written by somebody else than the job.

`source.allow` names the schemes. Without it a manifest that came over the network may name everything but files of
this machine and addresses that only this machine reaches; redirects, and names that resolve, obey the same rule.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..errors import ReadError
from .references import is_data, shown

__all__ = ["EVERYTHING", "Allowed", "is_own_address"]

LOOPBACK = "loopback"  #: the word in `source.allow` for addresses of this machine and its links
_ARCHIVES = ("zip", "tar", "libarchive", "simplecache", "filecache", "blockcache")
_LOCAL = ("file", "local", "asynclocal", "git", "dir", "dirfs", "reference", "generic", "memory")
#: What stands behind their `://` is a bucket or a content, and no host.
_WITHOUT_HOST = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "oss", "data")
#: Metadata services of clouds, whose addresses are no link-local ones.
_METADATA = ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What references may name.

    Attributes:
        schemes: all that are allowed; None for every one.
        files: files of this machine may be named.
        loopback: addresses of this machine and its links may be named.
    """

    schemes: tuple[str, ...] | None = None
    files: bool = True
    loopback: bool = True

    @classmethod
    def of(cls, allow: Sequence[str] | None, manifest: str) -> Allowed:
        """The rule of a manifest.

        Args:
            allow: `source.allow`.
            manifest: where the manifest lies, a path or any fsspec URL.
        """
        far = any(map(_is_far, manifest.split("::")))
        if allow is None:
            return cls(None, files=not far, loopback=not far)
        schemes = tuple(word.lower() for word in allow)
        # A scheme that the job names itself is meant.
        return cls(schemes, files=True, loopback=not far or LOOPBACK in schemes)

    @property
    def everything(self) -> bool:
        """Whether there is nothing to check."""
        return self.schemes is None and self.files and self.loopback

    def fault(self, reference: str) -> str | None:
        """Why a reference may not be read, and what to do; None when it may. Asks no name server."""
        if self.everything:
            return None
        bits = [reference] if is_data(reference) else reference.split("::")
        return next(filter(None, map(self._fault_of, bits, [len(bits) > 1] * len(bits))), None)

    def check(self, reference: str) -> None:
        """Check a reference; asks no name server.

        Raises:
            ReadError: it may not be read.
        """
        fault = self.fault(reference)
        if fault is not None:
            raise ReadError("not_allowed", fault)

    def check_host(self, reference: str) -> None:
        """Ask the name server for the host of a reference; those of HTTP are asked for where they are connected to.

        Raises:
            ReadError: it has an address of this machine or its links.
            OSError: it has none.
        """
        protocol = reference.partition("://")[0].lower()
        if self.loopback or "::" in reference or protocol in ("http", "https", *_WITHOUT_HOST):
            return
        host = _host(reference) or ""
        for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            if is_own_address(str(address[0])):
                raise ReadError("not_allowed", _inside(reference, host))

    def __str__(self) -> str:
        if self.everything:
            return "any reference"
        schemes = "any scheme" if self.schemes is None else ", ".join(self.schemes)
        left_out = [name for name, may in (("files", self.files), ("addresses", self.loopback)) if not may]
        return f"{schemes}; no {' and no '.join(left_out)} of this machine" if left_out else schemes

    def client(self) -> Callable[..., Any] | None:
        """What makes fsspec's HTTP sessions keep the rule, behind redirects and name servers too; None without one."""
        return None if self.everything else functools.partial(_guarded_session, allowed=self)

    def _fault_of(self, url: str, chained: bool) -> str | None:
        protocol, sep, _ = url.partition("://")
        protocol = protocol.lower() if sep else "data" if is_data(url) else "file"
        if not sep and chained and protocol == "file" and url in _ARCHIVES:
            return None  # `zip::s3://...` without a member
        if chained and protocol in _ARCHIVES:
            return None
        if self.schemes is not None and protocol not in self.schemes:
            names = ", ".join(self.schemes)
            return (
                f"{shown(url)} is of the scheme {protocol}, which source.allow ({names}) does not name; add "
                f"{protocol} to it if the manifest is yours"
            )
        if not self.files and protocol in _LOCAL:
            return (
                f"{shown(url)} is on this machine, which a manifest that came over the network may not name; if it is "
                f"yours, write source.allow with {protocol} and the other schemes that it names"
            )
        if not self.loopback and protocol not in _WITHOUT_HOST and sep:
            host = _host(url)
            if host is None or is_own_address(host):
                return _inside(url, host or "it")
        return None


EVERYTHING = Allowed()


def is_own_address(host: str) -> bool:
    """Whether only this machine, or one on its link, has such an address: loopback, link-local, unspecified, metadata.

    >>> [is_own_address(host) for host in ("localhost", "127.1", "[::1]", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, True, True, True, True]
    >>> [is_own_address(host) for host in ("example.org", "10.0.0.1", "8.8.8.8")]
    [False, False, False]
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address: Any = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, 2130706433 and their like
        except OSError:
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    own = address.is_loopback or address.is_link_local or address.is_unspecified
    return bool(own) or str(address) in _METADATA


def _inside(reference: str, host: str) -> str:
    return (
        f"{shown(reference)}: {host} is an address of this machine or its links, which a manifest that came over the "
        f"network may not name; if it is yours, write source.allow with {LOOPBACK} and the schemes that it names"
    )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_far(url: str) -> bool:
    """Whether a manifest's bytes came over the network."""
    protocol, sep, _ = url.partition("://")
    if not sep or protocol.lower() in (*_ARCHIVES, *_LOCAL):
        return False
    return protocol.lower() in _WITHOUT_HOST or not is_own_address(_host(url) or "")


async def _guarded_session(*, allowed: Allowed, **options: Any) -> Any:
    """An aiohttp session that refuses to go where its rule forbids, by a name's addresses and by redirects."""
    import aiohttp  # noqa: PLC0415  (the checks of a job need no HTTP client)
    from aiohttp.abc import AbstractResolver, ResolveResult  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    class Resolver(AbstractResolver):
        def __init__(self) -> None:
            self._real = aiohttp.ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await self._real.resolve(host, port, family)
            if not allowed.loopback and any(is_own_address(str(one["host"])) for one in found):
                raise ReadError("not_allowed", _inside(f"{host}:{port}", host))
            return found

        async def close(self) -> None:
            await self._real.close()

    async def redirected(_: Any, __: Any, parameters: Any) -> None:
        answer = parameters.response
        location = answer.headers.get("Location") or answer.headers.get("URI") or ""
        fault = allowed.fault(str(answer.url.join(URL(location))))
        if fault is not None:
            raise ReadError("not_allowed", f"{shown(str(answer.url))} redirects: {fault}")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(redirected)
    connector = aiohttp.TCPConnector(resolver=Resolver())
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace], **options)
