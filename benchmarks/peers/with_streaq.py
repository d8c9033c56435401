"""streaq: a hundred jobs at once in each of two workers, submitted by its bulk call."""

import logging
import os

import anyio
from clocked import main
from streaq import Worker

worker = Worker(
    redis_url=os.environ["PEER_REDIS"], concurrency=100, anyio_kwargs={"use_uvloop": True}
)
CHUNK = 500
logging.disable(logging.INFO)  # a line for each job


@worker.task(ttl=3600)
async def empty() -> None:
    """Nothing."""


async def _one(count: int) -> None:
    async with worker:
        for _ in range(count):
            await empty.enqueue()


async def _many(count: int) -> None:
    async with worker:
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            await worker.enqueue_many([empty.enqueue() for _ in range(size)])


if __name__ == "__main__":
    main(lambda count: anyio.run(_one, count), lambda count: anyio.run(_many, count))
