"""taskiq: two workers, on a list or on a stream (PEER_KIND)."""

import asyncio
import os

from clocked import main
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["PEER_REDIS"]
AT_ONCE = 100
kind = RedisStreamBroker if os.environ.get("PEER_KIND") == "stream" else ListQueueBroker
broker = kind(url=URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=3600))


@broker.task(task_name="empty")
async def empty() -> None:
    """Nothing."""


async def _one(count: int) -> None:
    await broker.startup()
    for _ in range(count):
        await empty.kiq()
    await broker.shutdown()


async def _many(count: int) -> None:
    await broker.startup()
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        await asyncio.gather(*[empty.kiq() for _ in range(size)])
    await broker.shutdown()


if __name__ == "__main__":
    main(lambda count: asyncio.run(_one(count)), lambda count: asyncio.run(_many(count)))
