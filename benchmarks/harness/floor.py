"""The floor: what bare redis-py loops reach with taskrunner's own scripts and nothing around them.

Arguments are made beforehand, so what is timed is redis-py (with hiredis, over the unix socket), the
socket, and the server doing the same bookkeeping. No worker could be faster with these scripts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis import Redis

from benchmarks.harness.stage import NAMESPACE
from taskrunner.brokers.base import Outcome, OutcomeKind, Take
from taskrunner.brokers.redis.batches import blobs, message_row
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.scripts import Command, Scripts
from taskrunner.message import Message

Request = tuple[Any, ...]

NODE: Final = "floor"
LEASE_MS: Final = 3_600_000
BATCH: Final = 100
NIL: Final = b"\xc0"
"""A result as tasks that answer nothing have it."""


class Floor:
    """Ready-made requests, and a redis-py client to send them with."""

    def __init__(self, url: str) -> None:
        self._names = Keys(NAMESPACE)
        self._scripts = Scripts(self._names, keep_ms=3_600_000)
        self._shas: dict[str, str] = {}
        self.client: Redis = Redis.from_url(url, protocol=2)

    def close(self) -> None:
        self.client.close()

    # -- requests

    def enqueue(self, queue: str, messages: Sequence[Message]) -> list[Request]:
        """One for each message, none of which asks for anything special."""
        return [
            self._request(self._scripts.enqueue_one(queue, *message_row(message)))
            for message in messages
        ]

    def fetch(self, queue: str, first: int, limit: int) -> Request:
        return self._request(
            self._scripts.fetch(Take(queue, limit), node=NODE, first=first, limit=limit, slots=None)
        )

    def settle(self, queue: str, ids: Sequence[str], first: int) -> list[Request]:
        """Successes, of deliveries with numbers from `first`."""
        rows = [
            Outcome(queue, job_id, number, OutcomeKind.SUCCEEDED, result=NIL)
            for number, job_id in enumerate(ids, first)
        ]
        return [
            self._request(self._scripts.settle(queue, node=NODE, outcomes=blob.packed))
            for blob in blobs(rows)
        ]

    def rounds(self, queue: str, ids: Sequence[str]) -> Iterator[tuple[Request, list[Request]]]:
        """A fetch and its settle for each BATCH of jobs that wait in this order."""
        for at in range(0, len(ids), BATCH):
            part = ids[at : at + BATCH]
            yield self.fetch(queue, at + 1, len(part)), self.settle(queue, part, at + 1)

    def join(self, queue: str) -> None:
        """Be a node, with a lease that outlives the benchmark."""
        self.send(self._request(self._scripts.join(queue, node=NODE, lease_ms=LEASE_MS)))

    def bell(self) -> str:
        """The channel on which this node is woken."""
        return self._names.mailbox(NODE)

    # -- sending

    def send(self, request: Request) -> Any:
        return self.client.execute_command(*request)  # type: ignore[no-untyped-call]

    def pipelined(self, requests: Sequence[Request]) -> None:
        """Send them, BATCH in each pipeline."""
        for at in range(0, len(requests), BATCH):
            pipeline = self.client.pipeline(transaction=False)
            for request in requests[at : at + BATCH]:
                pipeline.execute_command(*request)  # type: ignore[no-untyped-call]
            pipeline.execute()

    def _request(self, command: Command[Any]) -> Request:
        sha = self._shas.get(command.script)
        if sha is None:
            sha = self._shas[command.script] = self._load(command.script)
        return ("EVALSHA", sha, len(command.keys), *command.keys, *command.arguments)

    def _load(self, name: str) -> str:
        body = self._scripts._body(name)
        self.client.script_load(body)
        return hashlib.sha1(body, usedforsecurity=False).hexdigest()
