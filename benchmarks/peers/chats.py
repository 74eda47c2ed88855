"""The bare client of benchmarks/openai_chat.py: the same HTTP library, no retry, no limit, no resume.

python chats.py ENDPOINT MANIFEST OUTPUT IN_FLIGHT
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq


async def main(endpoint: str, manifest: str, output: str, in_flight: int) -> None:
    rows = [json.loads(line) for line in Path(manifest).read_text().splitlines()]
    names, texts, left = [], [], iter(rows)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for row in left:
                body = {"model": "echo", "messages": [{"role": "user", "content": row["text"]}]}
                data = json.dumps(body).encode()
                async with session.post(
                    f"{endpoint}/chat/completions", data=data, headers={"content-type": "application/json"}
                ) as response:
                    answer = json.loads(await response.read())
                names.append(row["id"])
                texts.append(answer["choices"][0]["message"]["content"])

        await asyncio.gather(*(work() for _ in range(in_flight)))
    Path(output).mkdir(parents=True)
    pq.write_table(pa.table({"id": names, "text": texts}), f"{output}/part.parquet")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
