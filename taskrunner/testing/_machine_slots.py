"""The part of `machine` that claims slots of schedules, and the jobs that all its stories are about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from taskrunner.brokers.base import FIRINGS_KEPT, Broker, JobKey, Tick, TickKind
from taskrunner.message import EXISTING, REPLACE, UNTIL_STARTED, Lock
from taskrunner.testing._conformance_kit import make_message
from taskrunner.testing.model import Model

QUEUES = ("q", "r")
KEYS = [JobKey(queue, f"job-{n}") for queue in QUEUES for n in range(3)]

keys = st.sampled_from(KEYS)
locks = st.sampled_from(
    [
        *[None] * 3,
        Lock("t =k"),
        Lock("t =k", on_conflict=EXISTING),
        Lock("t =k", on_conflict=REPLACE),
        Lock("t =k", until=UNTIL_STARTED),
        Lock("t =k", seconds=15.0),
    ]
)
"""what makes a job unique, for some"""


class SlotRules(RuleBasedStateMachine):
    model: Model
    broker: Broker
    messages: dict[JobKey, dict[str, Any]]
    calls: Iterator[int]

    @rule(
        key=keys,
        schedule=st.sampled_from("st"),
        later=st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
        newer=st.sampled_from([-1, 0, 0, 1]),
        skip=st.booleans(),
        closes=st.booleans(),
        lock=locks.filter(lambda lock: lock is None or lock.on_conflict != REPLACE),
    )
    def tick(
        self,
        key: JobKey,
        schedule: str,
        later: float,
        newer: int,
        skip: bool,
        closes: bool,
        lock: Lock | None,
    ) -> None:
        """A slot about the last one, by a node that knows what is known, or more, or less."""
        known = self.model.schedule(key.queue, schedule)
        revision, slot = known.revision + newer, known.last + later
        if closes:
            known.revision = max(known.revision, revision)
            assert self.broker.close_slots(key.queue, schedule, revision) == known.last
        call = f"call-{next(self.calls)}"
        message = replace(make_message(key.id, queue=key.queue, call=call), lock=lock)
        tick = Tick(
            *(schedule, message, slot, 0.0, known.revision + newer, self.broker.now()),
            skip_overlap=skip,
        )
        kind = self.model.tick(tick, key)
        assert self.broker.tick([tick]) == [(kind, known.last, 0.0)]
        if kind is TickKind.SUBMITTED:
            plain = {"priority": 5, "delay": 0.0, "expires_in": None}
            self.messages[key] = {"call": call, "lock": lock, **plain}

    def compare_slots(self) -> None:
        for (queue, schedule), known in self.model.schedules.items():
            (record,) = self.broker.slots(queue, [schedule], firings=FIRINGS_KEPT)
            assert (record.last, record.revision) == (known.last, known.revision)
            found = [(f.slot, f.kind, f.job_id, f.state) for f in record.firings]
            expected = [(f.slot, f.kind, f.job_id, f.state) for f in known.fired[:FIRINGS_KEPT]]
            assert found == expected, schedule
