"""Messages of every length: what was sent comes out, whatever was there before."""

from __future__ import annotations

import pytest

from taskrunner.brokers.base import Contents, JobKey, OutcomeKind, Rewrite
from taskrunner.limits import Limit, Rate
from taskrunner.message import REPLACE, Header, Lock, Message
from taskrunner.states import State
from taskrunner.testing._conformance_kit import BrokerKit, Store, make_message
from taskrunner.testing._conformance_unique import INSTEAD, KEY, offer

_AROUND = (64, 128, 192, 256, 320, 512, 576, 640, 1024, 1280, 1536, 2048, 4096, 8192, 65_536)
"""Where a store may begin to keep them in another way."""
LENGTHS = sorted({n + by for n in _AROUND for by in (-11, -10, -9, -7, -6, -5, -1, 0, 1, 10)})
FEW = (40, 64, 65, 130, 190, 257, 1020, 1036, 1200, 5000)
MEGABYTE = 1_000_000
EVERY_BYTE = bytes(range(256))


def of_length(job_id: str, size: int, *, salt: int = 0, task: str = "t") -> Message:
    """A message whose wire has so many bytes; its body has every byte there is, if it is long."""
    body = size
    while True:
        found = EVERY_BYTE[salt % 256 :] + EVERY_BYTE * (size // 256 + 1)
        message = make_message(job_id, body=found[: max(0, body)], header=Header(task=task))
        over = len(message.wire) - size
        if over <= 0:
            return message  # or one less, where lengths are written in a byte more
        body -= over


class LengthTests(BrokerKit):
    def test_messages_of_every_length_come_out_as_they_went_in(self, store: Store) -> None:
        sent = {f"job-{n}": of_length(f"job-{n}", n) for n in (*LENGTHS, MEGABYTE)}
        assert all(receipt.accepted for receipt in store.broker.enqueue(list(sent.values())))
        store.given["q"].update(sent)
        found = store.broker.get([JobKey("q", job_id) for job_id in sent])
        assert [record and record.wire for record in found] == [m.wire for m in sent.values()]
        store.join()
        deliveries = store.fetch(len(sent))
        assert {d.id: d.wire for d in deliveries} == {i: m.wire for i, m in sent.items()}
        for delivery in deliveries:
            assert store.settle(delivery, OutcomeKind.RETRY) is State.PENDING
        again = store.fetch(len(sent))
        assert {d.id: d.wire for d in again} == {i: m.wire for i, m in sent.items()}

    @pytest.mark.parametrize("before", FEW)
    def test_a_message_of_another_length_leaves_nothing_of_the_old_one(
        self, store: Store, before: int
    ) -> None:
        store.join()
        for n, after in enumerate(FEW):
            held = of_length(f"job-{n}", before)
            wanted = of_length(f"job-{n}", after, salt=1)
            store.given["q"].add(held.id)
            store.broker.enqueue([held])
            change = Rewrite("q", held.id, Contents(held.wire, None, None, ()), _only(wanted))
            assert [store.broker.rewrite([change])[0] for _ in range(2)] == [True, True]
            assert store.record(held.id).wire == store.fetch_one().wire == wanted.wire

    @pytest.mark.parametrize("before", FEW)
    def test_a_replacement_of_another_length_leaves_nothing_of_the_old_one(
        self, store: Store, before: int
    ) -> None:
        store.join()
        for n, after in enumerate(FEW):
            lock = Lock(f"{KEY}{n}", on_conflict=REPLACE)
            held, wanted = of_length(f"a{n}", before), of_length(f"b{n}", after, salt=1)
            offer(store, held.id, lock, body=held.body)
            found = offer(store, wanted.id, lock, body=wanted.body)
            assert found == INSTEAD._replace(existing=held.id)
            store.given["q"].discard(wanted.id)
            assert store.record(held.id).wire == store.fetch_one().wire == wanted.wire

    @pytest.mark.parametrize(("letters", "size"), [(100, 140), (160, 190), (255, 300), (255, 1036)])
    def test_a_limited_task_may_have_the_longest_name(
        self, store: Store, letters: int, size: int
    ) -> None:
        """The name may well be longer than the part of a message that is easily had."""
        task, times = "t" * letters, 2
        store.broker.declare_limits(["q"], {task: Limit(Rate.parse(f"{times}/h burst {times}"))})
        store.join()
        sent = [of_length(f"job-{n}", size, task=task) for n in range(3)]
        store.given["q"].update(message.id for message in sent)
        store.broker.enqueue(sent)
        found = store.fetch(3)
        assert [d.wire for d in found] == [m.wire for m in sent[:times]]
        assert store.record("job-2").park_key == f"limit:rate:task:{task}"


def _only(message: Message) -> Contents:
    return Contents(message.wire, None, None, ())
