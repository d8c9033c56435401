"""The bare chain: what any queue of this shape does between a submit and a start, and nothing else.

    client: EVALSHA enqueue ─▶ Redis ── PUBLISH ─▶ waker: EVALSHA fetch ─▶ pipe ─▶ child: the time

The same scripts and the same pub/sub wake as taskrunner's, by redis-py alone, over loopback; the
waker and the child are processes that do nothing else. What a wait for taskrunner takes more than
this is what taskrunner adds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import monotonic
from typing import Final

from benchmarks.harness.floor import NODE, Floor
from benchmarks.harness.stage import Stage
from benchmarks.tasks import empty
from taskrunner.brokers.redis.replies import deliveries

QUEUE: Final = "chain"
LONGEST_S: Final = 30.0


class Chain:
    """Both processes, and the client's end."""

    def __init__(self, stage: Stage) -> None:
        self._floor = Floor(stage.server.url)
        context = multiprocessing.get_context("spawn")
        self._times, theirs = context.Pipe(duplex=False)
        self._ready, told = context.Pipe(duplex=False)
        arguments = (stage.server.url, theirs, told)
        self._waker = context.Process(target=_wake, args=arguments, daemon=False)
        self._waker.start()
        theirs.close()
        told.close()
        if not self._ready.poll(LONGEST_S):
            self._waker.kill()  # its child ends with its pipe
            raise TimeoutError("the bare chain did not start")
        self._ready.recv()

    def submit(self) -> None:
        """Start one; `started` says when each did, in the same order."""
        self._floor.send(self._floor.enqueue(QUEUE, [empty.message()])[0])

    def started(self, count: int) -> list[float]:
        """When the next so many started, by the monotonic clock."""
        return [self._started() for _ in range(count)]

    def _started(self) -> float:
        if not self._times.poll(LONGEST_S):
            raise TimeoutError("the bare chain stands still")
        started: float = self._times.recv()
        return started

    def close(self) -> None:
        self._floor.client.publish(self._floor.bell(), "stop")
        self._waker.join(LONGEST_S)
        if self._waker.is_alive():
            self._waker.kill()
        self._floor.close()


@contextmanager
def chain(stage: Stage) -> Iterator[Chain]:
    """It runs as long as the block does."""
    made = Chain(stage)
    try:
        yield made
    finally:
        made.close()


def _wake(url: str, times: Connection, ready: Connection) -> None:
    """The waker's process: sleep until a bell, fetch, write to the pipe."""
    floor = Floor(url)
    floor.join(QUEUE)
    heard = floor.client.pubsub()  # type: ignore[no-untyped-call]
    heard.subscribe(floor.bell())
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=_start, args=(theirs, times))
    child.start()
    theirs.close()
    mine.recv_bytes()
    first = _run_ready(floor, mine, 1)
    ready.send(True)
    while _rung(heard):
        first = _run_ready(floor, mine, first)
    mine.send_bytes(b"")
    child.join()
    floor.close()


def _run_ready(floor: Floor, child: Connection, first: int) -> int:
    """Hand over what is ready, one by one; the number of the next delivery. Ends with a fetch that
    finds nothing, from which on this node counts as idle and is rung."""
    while True:
        found = list(deliveries(QUEUE, NODE, floor.send(floor.fetch(QUEUE, first, 1))))
        if not found:
            break
        child.send_bytes(found[0].wire)
        child.recv_bytes()
        floor.send(floor.settle(QUEUE, [found[0].id], first)[0])
        first += 1
    return first


def _rung(heard: object) -> bool:
    """Wait for a bell; False: it was the last one."""
    while True:
        message = heard.get_message(timeout=None)  # type: ignore[attr-defined]
        if message is not None and message["type"] == "message":
            return bool(message["data"] != b"stop")


def _start(line: Connection, times: Connection) -> None:
    """The child's process: note the time at which a job arrives."""
    line.send_bytes(b"ready")
    while line.recv_bytes():
        started = monotonic()
        line.send_bytes(b"done")
        times.send(started)
