"""From messages to jobs: chunks, outages and honest answers.

    messages ─▶ on_enqueue hooks ─▶ chunks ─▶ broker.enqueue ─▶ receipts ─▶ one answer each
                                        ▲            │ BrokerUnavailable
                                        └── the same, again, for about 10 seconds

Every repeat is the same call with the same ids, so a job that was stored although the answer was
lost is accepted once.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from taskrunner.brokers.base import BrokerClient, Receipt
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.errors import (
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    DuplicateJob,
    NotConfirmed,
    OptionError,
    TaskrunnerError,
)
from taskrunner.message import DEFAULT, DURABILITIES, REPLACE, Message

T = TypeVar("T")

OUTAGE_S: Final = 10.0
"""How long a call rides out an outage before it raises BrokerUnavailable."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0

CHUNK_MESSAGES: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024


def ride_out(do: Callable[[], T], within: float | None = None) -> T:
    """Repeat a call until the broker answers. Raises BrokerUnavailable after about 10 seconds, or
    after `within` seconds where that is sooner."""
    pauses: Iterator[float] | None = None
    while True:
        try:
            return do()
        except BrokerUnavailable:
            pauses = pauses or _pauses(within)
            pause = next(pauses, None)
            if pause is None:
                raise
        _pause(pause)


async def aride_out(do: Callable[[], Awaitable[T]]) -> T:
    """`ride_out`, from asyncio."""
    pauses: Iterator[float] | None = None
    while True:
        try:
            return await do()
        except BrokerUnavailable:
            pauses = pauses or _pauses(None)
            pause = next(pauses, None)
            if pause is None:
                raise
        await _apause(pause)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


async def _apause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _pauses(within: float | None) -> Iterator[float]:
    """Growing pauses, in seconds, each with a random part, until the time is up."""
    end = SYSTEM_CLOCK.monotonic() + (OUTAGE_S if within is None else min(within, OUTAGE_S))
    longest = FIRST_PAUSE_S
    while (left := end - SYSTEM_CLOCK.monotonic()) > 0:
        yield min(left, longest * (0.5 + random.random() / 2))
        longest = min(2 * longest, LONGEST_PAUSE_S)


def check_durability(broker: BrokerClient, messages: Iterable[Message]) -> None:
    """Raises OptionError for what this broker can confirm in no case."""
    for message in messages:
        wanted = message.durability
        if wanted != DEFAULT and wanted not in broker.capabilities.confirms:
            known = [d for d in DURABILITIES if d == DEFAULT or d in broker.capabilities.confirms]
            raise OptionError(
                f"durability={wanted!r}: this broker ({type(broker).__name__}) cannot confirm that: "
                f"expected {' or '.join(map(repr, known))}"
            )


def submit(broker: BrokerClient, message: Message) -> Receipt:
    """Offer one message. Raises BrokerUnavailable, BrokerFull, and OptionError for a durability
    that the broker does not know."""
    if message.durability != DEFAULT:
        check_durability(broker, (message,))
    return ride_out(partial(broker.enqueue, (message,)))[0]


async def asubmit(broker: BrokerClient, message: Message) -> Receipt:
    """`submit`, from asyncio."""
    if message.durability != DEFAULT:
        check_durability(broker, (message,))
    receipts = await aride_out(lambda: broker.aenqueue((message,)))
    return receipts[0]


def rejection(message: Message, receipt: Receipt) -> TaskrunnerError | None:
    """Why a message was not accepted, or not confirmed, as the exception that says so."""
    if receipt.unconfirmed is not None:
        return _not_confirmed(message, receipt.unconfirmed, stored=receipt.accepted)
    if receipt.accepted:
        return None
    if receipt.duplicate_of is not None:
        return DuplicateJob(
            _in_the_way(message, receipt.duplicate_of),
            job_id=message.id,
            existing_id=receipt.duplicate_of,
        )
    return BrokerError(f"the broker refused the job {message.id}: {receipt.rejection}")


def _in_the_way(message: Message, existing_id: str) -> str:
    if existing_id == message.id or message.lock is None:
        return f"an unfinished job of queue {message.queue} has the id {existing_id!r}"
    why = " and runs already: it cannot be replaced" if message.lock.on_conflict == REPLACE else ""
    return (
        f"the job {existing_id!r} of queue {message.queue} has the unique key "
        f"{message.lock.key!r}{why}"
    )


def _not_confirmed(message: Message, why: str, *, stored: bool) -> NotConfirmed:
    wanted = f"durability={message.durability!r}"
    text = f"the job {message.id} was not stored: {wanted} cannot be confirmed: {why}"
    if stored:
        text = f"the job {message.id} is stored, but {wanted} was not confirmed: {why}"
    return NotConfirmed(text, job_id=message.id, stored=stored)


def id_of(message: Message, receipt: Receipt) -> str:
    """The id of the job that a message is, or that stands for it."""
    return receipt.existing or message.id


def is_stored(answer: TaskrunnerError | None) -> bool:
    """Whether a message with this answer is a job."""
    return answer is None or (isinstance(answer, NotConfirmed) and answer.stored)


class Bulk:
    """Many messages on their way: what is left to offer, and an answer for each."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.answers: list[TaskrunnerError | None] = []
        self.ids: list[str] = []
        """of the jobs: those of the messages, but where another stands for one"""

    def chunks(self) -> Iterator[Sequence[Message]]:
        """The messages in the chunks they are offered in; ends where `failed` ended it."""
        while len(self.answers) < len(self.messages):
            start = end = len(self.answers)
            size = 0
            while end < len(self.messages) and end - start < CHUNK_MESSAGES:
                size += len(self.messages[end].body)
                if size > CHUNK_BYTES and end > start:
                    break
                end += 1
            yield self.messages[start:end]

    def answered(self, chunk: Sequence[Message], receipts: Sequence[Receipt]) -> None:
        """The broker's answers to a chunk."""
        self.answers += map(rejection, chunk, receipts)
        self.ids += map(id_of, chunk, receipts)

    def failed(self, error: BrokerError) -> None:
        """The broker is away or full. What is not known to be accepted gets this as its answer;
        raises it where that is everything, since then nobody needs to look item by item."""
        if not any(map(is_stored, self.answers)):
            raise error
        left = self.messages[len(self.answers) :]
        self.answers += [error] * len(left)
        self.ids += [message.id for message in left]


def submit_many(broker: BrokerClient, messages: Sequence[Message]) -> Bulk:
    """Offer messages; the answers are in the Bulk. Raises BrokerUnavailable or BrokerFull only
    where no message at all was accepted, and OptionError for a durability that it does not know."""
    check_durability(broker, messages)
    bulk = Bulk(messages)
    for chunk in bulk.chunks():
        try:
            bulk.answered(chunk, ride_out(lambda: broker.enqueue(chunk)))  # noqa: B023  called here
        except (BrokerUnavailable, BrokerFull) as error:
            bulk.failed(error)
    return bulk


async def asubmit_many(broker: BrokerClient, messages: Sequence[Message]) -> Bulk:
    """`submit_many`, from asyncio."""
    check_durability(broker, messages)
    bulk = Bulk(messages)
    for chunk in bulk.chunks():
        try:
            receipts = await aride_out(lambda: broker.aenqueue(chunk))  # noqa: B023  called here
            bulk.answered(chunk, receipts)
        except (BrokerUnavailable, BrokerFull) as error:
            bulk.failed(error)
    return bulk
