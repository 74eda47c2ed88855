"""Calls that ask a limiter, also in processes of their own: spawned ones import this module, and no test."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bulkinfer.transforms.calls.limits.redis_limiter import FleetLimiter

__all__ = ["take", "work"]


async def take(limiter: FleetLimiter, seconds: float, inputs: int = 1) -> list[float]:
    starts, end = [], time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            permit = await limiter.acquire(inputs)
            starts.append(permit.time)
    finally:
        await limiter.close()
    return starts


def work(address: str, seconds: float, found: Any) -> None:
    found.put(asyncio.run(take(FleetLimiter(address, 15, None), seconds)))
