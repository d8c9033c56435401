"""`async def` tasks, submitted and awaited from asyncio: a hundred waits at a time in one process.

python docs/examples/async_tasks.py
"""

from __future__ import annotations

import asyncio
import time

from taskrunner import App

app = App("memory://")


@app.task
async def nap(number: int, seconds: float) -> int:
    """Stands for a request to somewhere slow."""
    await asyncio.sleep(seconds)
    return number


async def submit_and_wait() -> None:
    started = time.perf_counter()
    jobs = await app.aenqueue_many([nap.message(n, 0.2) for n in range(200)])
    results = await asyncio.gather(*(job.aresult(timeout=30) for job in jobs))
    assert results == list(range(200))
    seconds = time.perf_counter() - started
    print(f"200 naps of 0.2 s, one after the other: 40 s; here: {seconds:.1f} s")


def main() -> None:
    with app.running(processes=1, concurrency=100):
        asyncio.run(submit_and_wait())


if __name__ == "__main__":
    main()
