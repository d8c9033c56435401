"""RQ: no fork for each job (SimpleWorker), and its bulk call for many."""

import os

from clocked import main
from redis import Redis
from rq import Queue
from with_rq_task import empty

queue = Queue(connection=Redis.from_url(os.environ["PEER_REDIS"]))
CHUNK = 500


def one(count: int) -> None:
    for _ in range(count):
        queue.enqueue(empty, result_ttl=3600)


def many(count: int) -> None:
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        queue.enqueue_many([Queue.prepare_data(empty, result_ttl=3600) for _ in range(size)])


if __name__ == "__main__":
    main(one, many)
