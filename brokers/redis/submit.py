"""Storing messages, and having it confirmed where that is wanted.

messages ─▶ blobs by queue ─▶ windows ─▶ enqueue.lua each ─▶ a receipt each
one alone, nothing but defaults ───────▶ enqueue_one.lua
                                 └─ with what `durability` asks for, in the same exchange
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgpack
from redis.exceptions import NoScriptError, ResponseError

from taskrunner.brokers.base import ACCEPTED, Receipt
from taskrunner.brokers.redis import durability
from taskrunner.brokers.redis.batches import PLAIN, Blob, blobs, message_row, windows
from taskrunner.brokers.redis.calls import places
from taskrunner.brokers.redis.connection import Talk
from taskrunner.brokers.redis.durability import Means
from taskrunner.brokers.redis.failures import is_full, translate
from taskrunner.brokers.redis.keys import Keys
from taskrunner.brokers.redis.line import Reply, Request
from taskrunner.brokers.redis.replies import text
from taskrunner.brokers.redis.scripts import Command, Scripts
from taskrunner.message import DEFAULT, REJECT, Message

PATIENCE: Final = 0.8
"""The part of a connection's own timeout that a server may take to confirm."""

STORED: Final[list[int]] = []
"""What enqueue.lua and enqueue_one.lua answer where everything was accepted."""

Window = Sequence[tuple[str, Blob]]
Reasons = Mapping[str, Mapping[str, str]]
"""By queue and durability: why it is not confirmed."""


class Submitting:
    """`within`: seconds that a confirmation may take. `has_parts`: queues are on several servers."""

    def __init__(
        self, scripts: Scripts, keys: Keys, *, shown: str, within: float, has_parts: bool
    ) -> None:
        self._scripts = scripts
        self._keys = keys
        self._shown = shown
        self._within_ms = max(1, round(1000 * within))
        self._has_parts = has_parts

    def short(self, message: Message) -> Request | None:
        """What stores a message that asks for no confirmation; STORED is the usual answer. After any
        other, and where this is None, `store` has to be asked: it may be, although this was. A
        message that another job may take, or stand for, often has another answer."""
        lock = message.lock
        if message.durability != DEFAULT or (lock is not None and lock.on_conflict != REJECT):
            return None
        return self._scripts.request(self._alone(message))

    def taught(self, message: Message, replies: Sequence[Reply]) -> Talk[bool]:
        """Where the server did not know the script: the same again, with its text. Whether that
        stored the message."""
        if not isinstance(replies[0], NoScriptError):
            return False
        return (yield from self._scripts.run([self._alone(message)])) == [STORED]

    def _alone(self, message: Message) -> Command[list[Any]]:
        row = message_row(message)
        if len(row) == PLAIN:
            return self._scripts.enqueue_one(message.queue, *row)
        packed = msgpack.packb((row,), use_bin_type=False)
        return self._scripts.enqueue(message.queue, packed)

    def store(self, messages: Sequence[Message]) -> Talk[list[Receipt]]:
        """A receipt for each. Raises BrokerError, and BrokerFull only where nothing was stored."""
        call = _Call(messages, self._shown)
        wanted = call.wanted()
        found = (yield from self._means(wanted)) if wanted else {}
        if wanted:
            call.refuse(found)
            wanted = call.wanted()
        for window in windows(call.packed()):
            commands = [self._scripts.enqueue(queue, blob.packed) for queue, blob in window]
            if wanted:
                after = self._confirmations(window, wanted, found)
                results, answers = yield from self._scripts.run_with(commands, _flat(after))
                call.answered(window, results, self._reasons(window, after, answers))
            else:
                call.answered(window, (yield from self._scripts.run(commands)), {})
        if call.full and not call.has_stored:
            raise translate(call.full, self._shown) from call.full
        return call.receipts

    # -- confirmations

    def _means(self, queues: Iterable[str]) -> Talk[dict[str, Means]]:
        """What the servers of these queues can confirm."""
        asked = list(queues) if self._has_parts else list(queues)[:1]
        questions = [durability.questions(self._keys.meta(queue)) for queue in asked]
        answers = iter((yield [request for part in questions for request in part]))
        found = [durability.means(list(islice(answers, len(part)))) for part in questions]
        if not self._has_parts:
            return dict.fromkeys(queues, found[0])
        return dict(zip(asked, found, strict=True))

    def _confirmations(
        self, window: Window, wanted: Mapping[str, set[str]], found: Mapping[str, Means]
    ) -> dict[str, list[Request]]:
        """What to send after the scripts, by the queue whose server it is for."""
        here = {queue: wanted[queue] for queue, _ in window if queue in wanted}
        if here and not self._has_parts:
            here = {next(iter(here)): set[str]().union(*here.values())}
        # One after the other may take its time; all together no more than one alone.
        within_ms = self._within_ms // max(1, len(here))
        return {
            queue: durability.confirmations(
                some, found[queue], key=self._keys.meta(queue), within_ms=max(1, within_ms)
            )
            for queue, some in here.items()
        }

    def _reasons(
        self, window: Window, sent: Mapping[str, Sequence[Request]], answers: Sequence[Reply]
    ) -> Reasons:
        left = iter(answers)
        found = {
            queue: durability.unconfirmed(
                requests, list(islice(left, len(requests))), within_ms=self._within_ms
            )
            for queue, requests in sent.items()
        }
        if self._has_parts or not found:
            return found
        return dict.fromkeys((queue for queue, _ in window), next(iter(found.values())))


class _Call:
    """One call: the messages, and what has become of each so far."""

    def __init__(self, messages: Sequence[Message], shown: str) -> None:
        self._shown = shown
        self.receipts: list[Receipt] = [ACCEPTED] * len(messages)
        self.has_stored = False
        self.full: ResponseError | None = None
        self._messages = messages
        self._where = places(message.queue for message in messages)

    def wanted(self) -> dict[str, set[str]]:
        """By queue: what is to be confirmed of what is to be stored. Empty for most calls."""
        wanted: dict[str, set[str]] = {}
        for message, receipt in zip(self._messages, self.receipts, strict=True):
            if message.durability != DEFAULT and receipt.accepted:
                wanted.setdefault(message.queue, set()).add(message.durability)
        return wanted

    def refuse(self, found: Mapping[str, Means]) -> None:
        """Nothing is stored of what could not be confirmed."""
        for queue, positions in self._where.items():
            for at in positions:
                wanted = self._messages[at].durability
                why = queue in found and durability.obstacle(wanted, found[queue])
                if why:
                    self.receipts[at] = Receipt(False, unconfirmed=why)
            self._where[queue] = [at for at in positions if self.receipts[at].accepted]

    def packed(self) -> list[tuple[str, Blob]]:
        """What is to be stored."""
        return [
            (queue, blob)
            for queue, positions in self._where.items()
            for blob in blobs([message_row(self._messages[at]) for at in positions])
            if positions
        ]

    def answered(
        self, window: Window, results: Sequence[list[Any] | ResponseError], reasons: Reasons
    ) -> None:
        """What scripts answered. Raises BrokerError for what is neither stored nor refused."""
        for (queue, blob), refused in zip(window, results, strict=True):
            positions = self._where[queue][blob.start : blob.start + blob.size]
            if not isinstance(refused, ResponseError):
                self.has_stored = True
                for row in refused:
                    self._refused(positions, row)
                if reasons:
                    self._confirm(positions, reasons.get(queue, {}))
            elif is_full(refused):
                self.full = refused
                for at in positions:
                    self.receipts[at] = Receipt(False, rejection="the store is full")
            else:
                raise translate(refused, self._shown) from refused

    def _refused(self, positions: Sequence[int], row: Any) -> None:
        """One that was not stored under its own id; `row` as enqueue.lua answers it."""
        if isinstance(row, int):
            at = positions[row - 1]
            self.receipts[at] = Receipt(False, duplicate_of=self._messages[at].id)
            return
        place, other, stands = row
        name = text(other)
        receipt = Receipt(True, existing=name) if stands else Receipt(False, duplicate_of=name)
        self.receipts[positions[place - 1]] = receipt

    def _confirm(self, positions: Iterable[int], reasons: Mapping[str, str]) -> None:
        for at in positions:
            why = reasons.get(self._messages[at].durability)
            if why and self.receipts[at].accepted:
                self.receipts[at] = self.receipts[at]._replace(unconfirmed=why)


def _flat(requests: Mapping[str, Sequence[Request]]) -> list[Request]:
    return [request for part in requests.values() for request in part]
