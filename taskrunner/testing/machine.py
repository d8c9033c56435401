"""A Hypothesis state machine that drives a broker beside the model and compares them.

    TestMyBroker = broker_machine(MyBroker).TestCase      # called as MyBroker(limits=Limits(...))

`conformance.BrokerConformance` runs it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from taskrunner.brokers.base import (
    Blame,
    Broker,
    Delivery,
    JobKey,
    JobRecord,
    Limits,
    NodeInfo,
    Note,
    Outcome,
    OutcomeKind,
    Take,
)
from taskrunner.errors import NodeLost
from taskrunner.states import State
from taskrunner.testing._conformance_kit import check_counts, every_page, make_message
from taskrunner.testing._machine_limits import LimitRules
from taskrunner.testing._machine_record import compare_record, states_of
from taskrunner.testing._machine_slots import KEYS, QUEUES, SlotRules, keys, locks
from taskrunner.testing._model_fetch import RETENTION
from taskrunner.testing.model import FAILED_RETENTION, LEASE, Model

ALL = 1000
HORIZON = 105.0
AUDITED = 5
"""Steps from one audit to the next."""

picks = st.integers(0, 10**6)
"""chooses one of a list that changes: the index, modulo its length"""
mostly_alive = st.sampled_from(["alive"] * 5 + ["any"])
up_to_three = st.integers(0, 3)


def broker_machine(make_broker: Callable[..., Broker]) -> type[RuleBasedStateMachine]:
    """The machine for a kind of broker; `make_broker(limits=...)` answers one on an empty store."""
    return type("BrokerMachine", (_BrokerMachine,), {"make_broker": staticmethod(make_broker)})


def compare_with_model(
    make_broker: Callable[..., Broker],
    *,
    examples: int = 30,
    steps: int = 40,
    shorten: bool = True,
) -> None:
    """Run the machine now. Raises what went wrong, with the shortest story that shows it, or,
    sooner, with the first one."""
    run_state_machine_as_test(
        broker_machine(make_broker),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            phases=[Phase.generate, *[Phase.shrink] * shorten],
        ),
    )


class _BrokerMachine(SlotRules, LimitRules):
    make_broker: Callable[..., Broker]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.broker = self.make_broker(
            limits=Limits(retention=RETENTION, failed_retention=FAILED_RETENTION)
        )
        self.broker.set_skew(0.0)
        self.nodes: list[str] = []
        """all that ever joined: their ids are not used again"""
        self.silent: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.fetches: list[tuple[str, list[Take], int]] = []
        self.deliveries: list[Delivery] = []
        self.messages: dict[JobKey, dict[str, Any]] = {}
        self.calls = count()
        self.looks = count()

    def teardown(self) -> None:
        self.broker.close()

    # Few rules with many cases each: Hypothesis leaves some rules out of every story, and a story
    # without deliveries is worth little.

    # -- submit and control

    @initialize()
    def begin(self) -> None:
        self._join()
        self._join()
        self._enqueue_all(5)

    @rule(
        key=keys,
        call=st.sampled_from(["new", "new", "same"]),
        priority=st.sampled_from([2, 5, 8]),
        delay=st.sampled_from([0.0, 0.0, 15.0]),
        expires_in=st.sampled_from([None, None, 25.0]),
        lock=locks,
    )
    def enqueue(self, key: JobKey, call: str, **fields: Any) -> None:
        if call == "new" or key not in self.messages:
            self._enqueue(key, {"call": f"call-{next(self.calls)}", **fields})
        elif self.model.is_repeatable(key):
            assert self._enqueue(key, self.messages[key], repeat=True)

    def _enqueue_all(self, priority: int) -> None:
        """Whatever id is free, in all priorities."""
        for n, key in enumerate(KEYS):
            expires_in = None if n % 3 else 25.0
            fields = {"priority": (priority + 3 * n) % 9, "delay": 0.0, "expires_in": expires_in}
            self._enqueue(key, {"call": f"call-{next(self.calls)}", **fields})

    def _enqueue(self, key: JobKey, fields: dict[str, Any], *, repeat: bool = False) -> bool:
        had_none = key not in self.model.jobs
        expected = self.model.enqueue(key, fields, repeat=repeat)
        sent = {**fields, "delay": fields["delay"] or None}
        lock = sent.pop("lock", None)
        message = replace(make_message(key.id, queue=key.queue, **sent), lock=lock)
        assert self.broker.enqueue([message]) == [expected]
        if expected.existing is None and expected.accepted:
            self.messages[key] = fields
        elif expected.existing and key in self.model.taken and not repeat:
            self._remember_taken(key, fields, had_none=had_none)
        return expected.accepted

    def _remember_taken(self, key: JobKey, fields: dict[str, Any], *, had_none: bool) -> None:
        """Where the id had a job before, a store may know the repeat or not."""
        if had_none and key not in self.messages:
            self.messages[key] = fields
        else:
            del self.model.taken[key]
            self.messages.pop(key, None)

    @rule(key=keys)
    def cancel(self, key: JobKey) -> None:
        assert self.broker.cancel([key]) == [self.model.cancel(key)]

    @rule(key=keys, how=st.sampled_from(["requeue", "delete", "reschedule"]))
    def operate(self, key: JobKey, how: str) -> None:
        if how == "requeue":
            assert self.broker.requeue([key]) == [self.model.requeue(key)]
        elif how == "delete":
            assert self.broker.delete([key]) == [self.model.delete(key)]
        else:
            answer = self.model.reschedule(key, 35.0)
            assert self.broker.reschedule([key], delay=35.0) == [answer]

    # -- consume

    @rule(
        pick=picks,
        among=mostly_alive,
        first=up_to_three,
        second=up_to_three,
        again=st.booleans(),
        parked=st.sampled_from([(), (), ("k",)]),
    )
    def fetch(
        self, pick: int, among: str, first: int, second: int, again: bool, parked: tuple[str, ...]
    ) -> None:
        node = self._node(pick, among)
        if any(limits.rate for limits in self.model.limits.values()):
            parked = ()  # whose turn it is then among those and others, conformance tests say
        self._fetch(node, first, second, parked)
        if again:
            self._fetch_again(*self.fetches[pick % len(self.fetches)])
            self._fetch_again(*self.fetches[-1])

    def _fetch(self, node: str, first: int, second: int, parked: tuple[str, ...] = ()) -> None:
        plan = [Take("q", first, parked), Take("r", second, parked)]
        self.fetches.append((node, plan, self.numbers[node]))
        self.numbers[node] += first + second
        self._fetch_again(*self.fetches[-1])

    def _fetch_again(self, node: str, plan: list[Take], first: int) -> None:
        if node not in self.model.leases:
            with pytest.raises(NodeLost):
                self.broker.fetch(node, plan, first)
            return
        found = self.broker.fetch(node, plan, first)
        states, limited = states_of(dict(zip(KEYS, self.broker.get(KEYS), strict=True)))
        self.model.take(node, plan, first, found.deliveries, states, limited)
        known = {(d.node, d.number) for d in self.deliveries}
        self.deliveries += [d for d in found.deliveries if (d.node, d.number) not in known]

    @rule(
        pick=picks,
        which=st.sampled_from(["current", "late", "any"]),
        kind=st.sampled_from(OutcomeKind),
        started=st.booleans(),
        blame=st.sampled_from(Blame),
        error=st.sampled_from([None, b"error"]),
        delay=st.sampled_from([0.0, 15.0, 35.0]),
        retention=st.sampled_from([0.0, 25.0, 3605.0]),
    )
    def settle(self, pick: int, which: str, **fields: Any) -> None:
        """Any delivery there ever was: current, late, stale or settled before; and twice."""
        delivery = self._delivery(pick, which)
        if fields["kind"] is OutcomeKind.PARKED:
            fields.update(park_key="k", delay=fields["delay"] or 5.0)
        outcome = Outcome(delivery.queue, delivery.id, delivery.number, **fields)
        # Half of the tokens are those of somebody else.
        for node in (self._node(pick, "any"), delivery.node):
            expected = self.model.settle(node, outcome)
            assert self.broker.settle(node, [outcome, outcome]) == [expected, expected]

    @rule(
        pick=picks,
        which=st.sampled_from(["current", "late", "any"]),
        alone=st.sampled_from([None, 1, 2, 0]),
    )
    def note(self, pick: int, which: str, alone: int | None) -> None:
        delivery = self._delivery(pick, which)
        key = JobKey(delivery.queue, delivery.id)
        note = Note(delivery.queue, delivery.id, delivery.number, 1, 0.0, alone=alone)
        expected = self.model.note(delivery.node, key, delivery.number, alone)
        assert self.broker.note(delivery.node, [note]) == [expected]

    def _delivery(self, pick: int, which: str) -> Delivery:
        """One of a sort, after a new fetch where there is none. Current: its node holds the job.
        Late: the job was taken back, and not settled."""
        if not self._deliveries(which):
            self._enqueue_all(pick)
            self._fetch(self._node(pick), 3, 3)
        found = self._deliveries(which) or self._deliveries("any")
        return found[pick % len(found)] if found else self._nobodys_delivery()

    def _deliveries(self, which: str) -> list[Delivery]:
        states = {"current": {State.ACTIVE}, "late": set(State) - {State.ACTIVE}}
        found = []
        for delivery in self.deliveries:
            key = JobKey(delivery.queue, delivery.id)
            job = self.model.jobs[key]
            is_last = (job.node, job.number) == (delivery.node, delivery.number)
            is_open = job.settled_as is None and job.state in states.get(which, ())
            if self.model.is_repeatable(key) and ((is_last and is_open) or which == "any"):
                found.append(delivery)
        return found

    def _nobodys_delivery(self) -> Delivery:
        return Delivery("q", "job-0", "nobody", 1, b"", 0, 0, 0, 0, None, None)

    # -- nodes

    @rule(pick=picks, how=st.sampled_from(["joins", "silent", "leaves", "dies", "beats", "reaps"]))
    def node(self, pick: int, how: str) -> None:
        """One that fell silent beats no more, but fetches and settles until it is lost."""
        node = self._node(pick)
        if how == "joins" or len(self.model.leases.keys() - self.silent) < 2:
            self._join()
        elif how == "silent":
            self.silent.add(node)
        elif how == "leaves":
            self.broker.leave(node, QUEUES)
            self.model.leave(node)
        elif how == "beats":
            self._beat(self._node(pick, "any"))
        else:
            self._reap(*[node] * (how == "dies"))

    def _reap(self, *dead: str) -> None:
        assert self.broker.reap(QUEUES, ALL, dead) == self.model.reap(dead)

    def _join(self) -> None:
        node = f"n{len(self.nodes)}"
        self.nodes.append(node)
        self.numbers[node] = 1
        self.broker.join(NodeInfo(id=node, lease=LEASE), QUEUES)
        self.model.beat(node)

    def _beat(self, node: str) -> None:
        if node not in self.model.leases:
            with pytest.raises(NodeLost):
                self.broker.beat(NodeInfo(id=node, lease=LEASE), QUEUES)
        else:
            marked = self.broker.beat(NodeInfo(id=node, lease=LEASE), QUEUES)
            assert sorted(marked) == self.model.beat(node)

    def _node(self, pick: int, among: str = "alive") -> str:
        nodes = sorted(self.model.leases) if among == "alive" and self.model.leases else self.nodes
        return nodes[pick % len(nodes)]

    # -- time and upkeep

    @rule(
        pick=picks,
        tens=st.sampled_from([0, 0, 1, 2, 3, 6, 12]),
        heard=st.booleans(),
        then=st.sampled_from(
            ["promote", "fetch parked", "sweep", "sweep in slices", "reap", "fetch"]
        ),
    )
    def time_passes(self, pick: int, tens: int, heard: bool, then: str) -> None:
        """With the beats of all who are not silent, or with a gap in which nobody is heard. Then
        somebody looks what that has changed."""
        for step in [10.0] * tens if heard else [10.0 * tens]:
            self.model.now += step
            self.broker.set_skew(self.model.now)
            for node in [node for node in self.nodes if heard and node not in self.silent]:
                self._beat(node)
        self._look_after(then, pick)

    def _look_after(self, what: str, pick: int) -> None:
        if what == "promote":
            assert self.broker.promote(QUEUES, ALL) == self.model.promote()
        elif what == "fetch parked":
            self.fetch(pick, "alive", 3, 3, False, ("k",))
        elif what == "reap":
            self._reap()
        elif what == "fetch":
            self._fetch(self._node(pick), 3, 3)
        else:
            self._sweep(ALL if what == "sweep" else 2)

    def _sweep(self, limit: int) -> None:
        for _ in range(ALL):
            if self.broker.sweep(QUEUES, limit) == 0:
                break
        else:
            raise AssertionError("sweep never says that all is clean")
        self.model.sweep()

    # -- comparing

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        found = dict(zip(KEYS, self.broker.get(KEYS), strict=True))
        for key, record in found.items():
            compare_record(key, self.model.jobs.get(key), record)
        self._compare_counters([record for record in found.values() if record is not None])
        self._compare_sets()
        self.compare_slots()
        self.compare_limits()

    @invariant()
    def an_audit_finds_nothing(self) -> None:
        # What is damaged stays so: not every step need be followed by a look at everything.
        if next(self.looks) % AUDITED == 0:
            assert [found for part in self.broker.audit() for found in part] == []

    def _compare_counters(self, records: list[JobRecord]) -> None:
        stats = self.broker.stats(QUEUES)
        for found in stats:
            check_counts(found, [record for record in records if record.queue == found.queue])
        assert sum(found.processed for found in stats) == self.model.processed
        assert sum(found.failed for found in stats) == self.model.failed

    def _compare_sets(self) -> None:
        for node in {*self.nodes[-2:], *self.model.leases}:
            assert sorted(self.broker.held(node, QUEUES)) == self.model.held(node)
        if next(self.looks) % AUDITED == 0:
            self._compare_pages()
        due = self.broker.due(QUEUES, HORIZON, ALL)
        # Besides the first gate of each queue in which a limit holds jobs back.
        gates = len(due) - self.model.due(HORIZON)
        assert 0 <= gates <= len(self.model.limits)
        assert [d.wait for d in due] == sorted(d.wait for d in due)

    def _compare_pages(self) -> None:
        """Every job is on the pages of its queue and state, and on no other."""
        shown = {
            (key, state)
            for queue in QUEUES
            for state in State
            for key in every_page(self.broker, queue, state, limit=3)
        }
        assert shown == {(job.key, job.state) for job in self.model.records()}
