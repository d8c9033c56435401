"""Dramatiq, with its middleware for results and its default number of threads."""

import os

import dramatiq
from clocked import main
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=os.environ["PEER_REDIS"])
results = RedisBackend(url=os.environ["PEER_REDIS"])
broker.add_middleware(Results(backend=results, result_ttl=3_600_000))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def empty() -> int:
    return 0


def submit(count: int) -> None:
    for _ in range(count):
        empty.send()


if __name__ == "__main__":
    main(submit, submit)
