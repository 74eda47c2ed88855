"""Measures an endpoint's highest throughput by a bare `grpc.aio` client with prebuilt requests, as a baseline.

It holds all requests in memory before the first call, reads no answer but its status, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import resource
import time
from pathlib import Path

import grpc.aio
from clarifai_grpc.grpc.api import service_pb2


def build(paths: list[str], kind: str) -> bytes:
    """One request, serialized."""
    request = service_pb2.PostModelOutputsRequest(model_id="echo")
    request.user_app_id.user_id, request.user_app_id.app_id = "acme", "lab"
    for value in paths:
        data = request.inputs.add().data
        data.metadata["_method_name"] = "measure" if kind == "image" else "predict"
        part = data.parts.add()
        part.id = kind
        if kind == "image":
            part.data.image.base64 = Path(value).read_bytes()
        else:
            part.data.string_value = value
    return request.SerializeToString()


async def send_all(target: str, requests: list[bytes], in_flight: int) -> float:
    """Send all requests, `in_flight` at a time; returns the seconds from the first to the last."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        await channel.channel_ready()
        call = channel.unary_unary(
            "/clarifai.api.V2/PostModelOutputs",
            request_serializer=None,
            response_deserializer=service_pb2.MultiOutputResponse.FromString,
        )
        waiting = iter(requests)

        async def worker() -> None:
            for request in waiting:
                response = await call(request, timeout=60)
                if response.status.code != 10000:
                    raise RuntimeError(response.status.description)

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(in_flight)))
        return time.perf_counter() - started


def main() -> None:
    """Print one JSON line: seconds, inputs a second, CPU of the sending alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("inputs", type=Path, help="a manifest with a `body` column, or a folder of images")
    parser.add_argument("--kind", choices=["text", "image"], default="text")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    if options.kind == "image":
        values = [str(path) for path in sorted(options.inputs.iterdir())]
    else:
        with options.inputs.open(newline="") as file:
            values = [row["body"] for row in csv.DictReader(file)]
    cut = [values[start : start + options.batch] for start in range(0, len(values), options.batch)]
    requests = [build(each, options.kind) for each in cut]
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = asyncio.run(send_all(options.endpoint.removeprefix("http://"), requests, options.in_flight))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps({"seconds": seconds, "inputs_s": len(values) / seconds, "cpu_us": cpu / len(values) * 1e6})
    )


if __name__ == "__main__":
    main()
