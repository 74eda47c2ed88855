"""Loopback is spared from an office's proxies."""

from __future__ import annotations

import pytest
from bulkinfer.pipelines.runners.proxies import spare_loopback


@pytest.mark.parametrize(
    ("given", "set_to"),
    [
        ({}, {}),
        ({"no_proxy": "x.org"}, {"no_proxy": "x.org"}),
        ({"http_proxy": "p"}, {"no_proxy": "localhost,127.0.0.1,::1"}),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "x.org"}, {"no_proxy": "x.org,localhost,127.0.0.1,::1"}),
        ({"grpc_proxy": "p", "no_proxy": "127.0.0.1, x.org"}, {"no_proxy": "127.0.0.1,x.org,localhost,::1"}),
        (
            {"grpc_proxy": "p", "no_grpc_proxy": "x.org"},
            {"no_grpc_proxy": "x.org,localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1"},
        ),
    ],
)
def test_loopback_joins_the_hosts_without_a_proxy(given: dict[str, str], set_to: dict[str, str]) -> None:
    environment = dict(given)

    spare_loopback(environment)

    assert environment == {**given, **set_to}
    spare_loopback(environment)  # once is enough
    assert environment == {**given, **set_to}
