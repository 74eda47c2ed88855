"""The address of a gRPC server."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

__all__ = ["ServerAddress", "shown", "split_url"]


@dataclasses.dataclass(frozen=True)
class ServerAddress:
    """Where the API is served.

    Attributes:
        target: "host:port" as gRPC wants it; an IPv6 host stands in brackets.
        tls: False for plaintext.
    """

    target: str
    tls: bool

    @property
    def host(self) -> str:
        """The host without brackets and port."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def is_loopback(self) -> bool:
        """True when the traffic cannot leave this machine, so that plaintext is harmless.

        >>> ServerAddress("127.0.0.1:9001", tls=False).is_loopback
        True
        """
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name may resolve to anything, now or later

    @property
    def url(self) -> str:
        """The address with its scheme, which a job file may hold."""
        return f"{'https' if self.tls else 'http'}://{self.target}"


def split_url(url: str) -> SplitResult | None:
    """The URL's parts, or None where it or its port is malformed."""
    try:
        parts = urlsplit(url)
        port = parts.port  # the standard library checks it only when it is read
    except ValueError:
        return None
    return None if port == 0 else parts


def shown(url: str) -> str:
    """The URL as a message may show it: what stands before an @ may be a password."""
    return repr(re.sub(r"(?<=//)[^/@]*@|^[^/@]*@(?!.*//)", "***@", url))
