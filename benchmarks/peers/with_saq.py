"""SAQ: a hundred jobs at once in each of two workers."""

import asyncio
import logging
import os
from typing import Any

from clocked import main
from saq import Queue

queue = Queue.from_url(os.environ["PEER_REDIS"])
AT_ONCE = 100
logging.disable(logging.INFO)  # a line for each job


async def empty(_context: dict[str, Any]) -> None:
    """Nothing."""


settings = {"queue": queue, "functions": [("empty", empty)], "concurrency": AT_ONCE}


async def _one(count: int) -> None:
    mine = Queue.from_url(os.environ["PEER_REDIS"])
    await mine.connect()
    for _ in range(count):
        await mine.enqueue("empty", ttl=3600)
    await mine.disconnect()


async def _many(count: int) -> None:
    mine = Queue.from_url(os.environ["PEER_REDIS"])
    await mine.connect()
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        await asyncio.gather(*[mine.enqueue("empty", ttl=3600) for _ in range(size)])
    await mine.disconnect()


if __name__ == "__main__":
    main(lambda count: asyncio.run(_one(count)), lambda count: asyncio.run(_many(count)))
