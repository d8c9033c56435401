"""The others: how each is installed, started at its fastest documented settings, and counted.

`done` says, from what stands in Redis, how many of so many submitted jobs have ended with a result
that was stored. Each keeps results, as taskrunner does by default, and has two processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

Done = Callable[[Redis, int], int]
"""Given the store and how many jobs were submitted."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One queue, in one way of running it."""

    name: str
    script: str
    """`with_NAME.py` beside this file: declares the task, and submits"""
    package: str
    requirements: tuple[str, ...]
    workers: tuple[str, ...]
    """program and arguments"""
    done: Done
    jobs: int
    """how many are run: some seconds of work"""
    starts: int = 1
    """how often the program is started: twice where it is one process"""
    environ: Mapping[str, str] = field(default_factory=dict)


def counted_in(key: str) -> Done:
    """A sorted set holds what is done."""
    return lambda redis, _: _number(redis.zcard(key))


def database_grows() -> Done:
    """Every result is a key. A handful of others come and go: they are some in a thousand."""
    return lambda redis, _: _number(redis.dbsize())


def left_in(key: str) -> Done:
    """A sorted set holds what is not done yet."""
    return lambda redis, submitted: submitted - _number(redis.zcard(key))


def _number(found: Any) -> int:
    return int(found)


REDIS: Final = "redis[hiredis]"
CELERY: Final = ("celery", "-A", "with_celery", "worker", "-c", "2", "-l", "ERROR")
CELERY_QUIET: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")
CELERY_NEEDS: Final = ("celery[redis]>=5.6,<6", REDIS)
TASKIQ_NEEDS: Final = ("taskiq[uvloop]>=0.12,<1", "taskiq-redis>=1.2,<2", REDIS)

PEERS: Final = (
    Peer(
        "Celery, prefork", "with_celery", "celery", CELERY_NEEDS,
        (*CELERY, "-P", "prefork", *CELERY_QUIET), database_grows(), 3_000,
    ),
    Peer(
        "Celery, threads", "with_celery", "celery", CELERY_NEEDS,
        (*CELERY, "-P", "threads", *CELERY_QUIET), database_grows(), 3_000,
    ),
    Peer(
        "Dramatiq", "with_dramatiq", "dramatiq", ("dramatiq[redis]>=2,<3", REDIS),
        ("dramatiq", "with_dramatiq", "-p", "2"), database_grows(), 15_000,
    ),
    Peer(
        "RQ", "with_rq", "rq", ("rq>=2.6,<4", REDIS),
        ("rq", "worker-pool", "-n", "2", "-w", "rq.SimpleWorker", "-q"),
        counted_in("rq:finished:default"), 2_000,
    ),
    Peer(
        "arq", "with_arq", "arq", ("arq>=0.26,<1", "redis[hiredis]"),
        ("arq", "with_arq.WorkerSettings"), left_in("arq:queue"), 5_000, starts=2,
    ),
    Peer(
        "huey", "with_huey", "huey", ("huey>=3,<4", REDIS),
        ("huey_consumer", "with_huey.huey", "-w", "2", "-k", "process", "-d", "0.001", "-n", "-q"),
        lambda redis, _: _number(redis.hlen("huey.results.peer")), 15_000,
    ),
    Peer(
        "taskiq, list", "with_taskiq", "taskiq", TASKIQ_NEEDS,
        ("taskiq", "worker", "with_taskiq:broker", "-w", "2", "--log-level", "ERROR"),
        database_grows(), 10_000,
    ),
    Peer(
        "taskiq, stream", "with_taskiq", "taskiq", TASKIQ_NEEDS,
        ("taskiq", "worker", "with_taskiq:broker", "-w", "2", "--log-level", "ERROR"),
        database_grows(), 10_000, environ={"PEER_KIND": "stream"},
    ),
    Peer(
        "SAQ", "with_saq", "saq", ("saq[hiredis,redis]>=0.24,<1", "typing_extensions"),
        ("saq", "with_saq.settings", "--quiet"), left_in("saq:default:incomplete"), 10_000, starts=2,
    ),
    Peer(
        "streaq", "with_streaq", "streaq", ("streaq>=7,<8", "uvloop"),
        ("streaq", "run", "with_streaq:worker", "-w", "2"), counted_in("streaq:default:index:results"), 6_000,
    ),
)  # fmt: skip
