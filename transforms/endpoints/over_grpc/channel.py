"""Channels with our own settings, which retry nothing by themselves: our retries are counted and paced."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc
import grpc.aio

from .address import ServerAddress
from .proxies import proxy_variable

__all__ = ["channel_options", "connected", "open_async_channel", "open_channel"]

MAX_MESSAGE_BYTES = 256 * 1024 * 1024
CONNECT_S = 20.0


def channel_options(endpoint: ServerAddress) -> list[tuple[str, Any]]:
    """Settings of the channels to a server."""
    return [
        # What runs on this machine is behind no proxy, whatever an office's environment says.
        ("grpc.enable_http_proxy", 0 if endpoint.is_loopback else 1),
        # By default a channel retries UNAVAILABLE up to five times by itself; our retries are counted and paced.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "waitForReady": False}]})),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # A load balancer that drops a silent connection must not look like a slow model. Servers refuse pings
        # that come more often than every five minutes without data, or faster than this with it.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def open_channel(endpoint: ServerAddress) -> grpc.Channel:
    """A channel for calls one at a time."""
    if endpoint.tls:
        return grpc.secure_channel(
            endpoint.target, grpc.ssl_channel_credentials(), options=channel_options(endpoint)
        )
    return grpc.insecure_channel(endpoint.target, options=channel_options(endpoint))


def open_async_channel(endpoint: ServerAddress) -> grpc.aio.Channel:
    """A channel for the engine's loop."""
    if endpoint.tls:
        return grpc.aio.secure_channel(
            endpoint.target, grpc.ssl_channel_credentials(), options=channel_options(endpoint)
        )
    return grpc.aio.insecure_channel(endpoint.target, options=channel_options(endpoint))


async def connected(channel: grpc.aio.Channel, server: ServerAddress) -> str | None:
    """Wait for the connection, so that a call starts when it is told to; what to say when there is none."""
    deadline = time.monotonic() + CONNECT_S
    pause = 0.005
    while channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
        if time.monotonic() > deadline:
            proxy = proxy_variable(server)
            through = f" through the proxy of the variable {proxy}" if proxy else ""
            return f"no connection to {server.url}{through} within {CONNECT_S:g} s"
        await asyncio.sleep(pause)
        pause = min(0.1, pause * 1.5)
    return None
