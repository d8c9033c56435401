"""arq: a hundred jobs at once in each of two workers, and a short pause between polls."""

import asyncio
import logging
import os
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings
from clocked import main

SETTINGS = RedisSettings.from_dsn(os.environ["PEER_REDIS"])
AT_ONCE = 100
logging.disable(logging.INFO)  # a line for each job


async def empty(_context: dict[str, Any]) -> None:
    """Nothing."""


class WorkerSettings:
    functions: ClassVar = [empty]
    redis_settings = SETTINGS
    max_jobs = AT_ONCE
    poll_delay = 0.01
    keep_result = 3600


async def _one(count: int) -> None:
    pool = await create_pool(SETTINGS)
    for _ in range(count):
        await pool.enqueue_job("empty")
    await pool.aclose()


async def _many(count: int) -> None:
    pool = await create_pool(SETTINGS)
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        await asyncio.gather(*[pool.enqueue_job("empty") for _ in range(size)])
    await pool.aclose()


if __name__ == "__main__":
    main(lambda count: asyncio.run(_one(count)), lambda count: asyncio.run(_many(count)))
