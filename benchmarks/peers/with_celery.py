"""Celery: acknowledged early, as by default; prefetch high, so that children need not wait; no
events, no heartbeats, one connection for submitting."""

import os

from celery import Celery
from clocked import main

app = Celery("peer", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])
app.conf.update(
    worker_prefetch_multiplier=100,
    worker_send_task_events=False,
    task_ignore_result=False,
    result_expires=3600,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="empty")
def empty() -> None:
    """Nothing."""


def submit(count: int) -> None:
    with app.producer_pool.acquire() as producer:
        for _ in range(count):
            empty.apply_async(producer=producer)


if __name__ == "__main__":
    main(submit, submit)
