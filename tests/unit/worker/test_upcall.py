"""A broker in another process, seen through questions and answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from taskrunner import App, Unique
from taskrunner.brokers.base import (
    Broker,
    BrokerClient,
    Command,
    Contents,
    Fired,
    JobKey,
    JobRecord,
    NodeInfo,
    Page,
    Receipt,
    Record,
    Records,
    Rewrite,
    Span,
    Tick,
    Ticked,
    TickKind,
)
from taskrunner.errors import BrokerFull, BrokerUnavailable, OptionError, TaskrunnerError
from taskrunner.limits import Limit, Rate, Scope, ScopeKind
from taskrunner.states import State
from taskrunner.worker.upcall import FINISHED, Calls, UpcallBroker, answer, pack_error
from tests.unit.one_node import OneNode

KEY = JobKey("default", "a-job")


class Road:
    """Carries calls to a broker as a pipe would, each served by a thread of its own."""

    def __init__(self, broker: BrokerClient) -> None:
        self.broker = broker
        self.calls = Calls(self._send)
        self.waits: dict[JobKey, list[int]] = {}
        self.unanswered: list[int] = []
        self.answering = True

    def _send(self, call: int, method: str, value: Any) -> None:
        carried = msgpack.unpackb(msgpack.packb(value))
        if method == FINISHED:
            self.waits.setdefault(JobKey(*carried), []).append(call)
        elif self.answering:
            threading.Thread(target=self._serve, args=(call, method, carried)).start()
        else:
            self.unanswered.append(call)

    def _serve(self, call: int, method: str, value: Any) -> None:
        try:
            found = msgpack.packb(answer(self.broker, method, value))
        except TaskrunnerError as error:
            self.calls.answer(call, False, pack_error(error))
        else:
            self.calls.answer(call, True, msgpack.unpackb(found, strict_map_key=False))

    def finish(self, key: JobKey) -> None:
        for call in self.waits.pop(key):
            self.calls.answer(call, True, None)


@pytest.fixture
def app() -> Iterator[App]:
    app = App("memory://", namespace="upcalls")

    @app.task(name="add")
    def add(a: int, b: int = 0) -> int:
        return a + b

    yield app
    app.close()


@pytest.fixture
def road(app: App) -> Road:
    return Road(app.broker)


@pytest.fixture
def remote(road: Road) -> UpcallBroker:
    return UpcallBroker(road.calls)


def test_what_is_submitted_through_the_pipe_is_the_same_job(app: App, remote: UpcallBroker) -> None:
    message = app.tasks["add"].options(job_id=KEY.id, delay=60, headers={"k": "v"}).message(1, b=2)
    assert remote.enqueue([message]) == [Receipt(True)]
    assert asyncio.run(remote.aenqueue([message])) == [Receipt(True)]
    (stored,) = app.broker.get([KEY])
    assert stored is not None
    assert stored.wire == message.wire
    assert stored.state is State.SCHEDULED


def test_a_unique_job_is_one_over_the_pipe_too(app: App, remote: UpcallBroker) -> None:
    add = app.tasks["add"]
    first, second = (add.options(unique=True).message(1) for _ in range(2))
    assert remote.enqueue([first, second]) == [
        Receipt(True),
        Receipt(False, duplicate_of=first.id),
    ]
    existing = add.options(unique=Unique(on_conflict="existing")).message(1)
    assert remote.enqueue([existing]) == [Receipt(True, existing=first.id)]


def test_every_look_answers_what_the_broker_itself_does(app: App, remote: UpcallBroker) -> None:
    node = OneNode(app)
    node.broker.beat(node.info, node.queues)
    app.tasks["add"].options(job_id=KEY.id).enqueue(1)
    node.fail(None, reason="rejected")
    app.tasks["add"].options(job_id="next", priority=9).enqueue(1)
    looks: list[Callable[[BrokerClient], Any]] = [
        lambda broker: broker.get([KEY, JobKey("default", "next"), JobKey("default", "none")]),
        lambda broker: broker.stats(["default"]),
        lambda broker: broker.queues(),
        lambda broker: [info.id for info in broker.nodes()],
        lambda broker: broker.ping(),
    ]
    for look in looks:
        assert look(remote) == look(app.broker)
    assert isinstance(remote.get([KEY])[0], JobRecord)
    assert all(isinstance(info, NodeInfo) for info in remote.nodes())
    assert abs(remote.now() - app.broker.now()) < 5
    assert remote.cancel([JobKey("default", "next"), KEY]) == [True, False]


def test_commands_and_records_go_through_the_pipe_too(app: App, remote: UpcallBroker) -> None:
    node = OneNode(app)
    command = Command.new("grow", by=2)
    assert remote.send("node", command) is True
    assert remote.send("nobody", command) is False
    assert node.broker.commands("node") == [command]
    remote.put_record("kind", "a", b"1")
    remote.put_record("kind", "b", b"2", ttl=0.0)
    assert remote.records("kind", limit=5) == Records([Record("a", b"1")], "")
    assert remote.put_record("kind", "a", b"3", expect=b"1")
    assert not remote.put_record("kind", "a", b"4", expect=b"1")
    assert not remote.remove_record("kind", "a", expect=b"1")
    assert remote.remove_record("kind", "a")
    assert remote.records("kind").records == []


def test_what_operators_do_goes_through_the_pipe_too(app: App, remote: UpcallBroker) -> None:
    app.tasks["add"].options(job_id=KEY.id, delay=60).enqueue(1)
    app.tasks["add"].options(job_id="next", delay=90).enqueue(1)
    first = remote.jobs("default", State.SCHEDULED, limit=1)
    assert first.keys == [KEY]
    span = Span(since=remote.now() + 75)
    rest = remote.jobs("default", State.SCHEDULED, first.cursor, span=span)
    assert rest == Page([JobKey("default", "next")], "")
    assert remote.reschedule([KEY], delay=120.0) == [True]
    assert remote.jobs("default", State.SCHEDULED, limit=1).keys == rest.keys
    assert remote.requeue([KEY], only=State.RETRYING) == [False]
    assert remote.requeue([KEY]) == [True]
    assert remote.oldest(["default", "nowhere"]) == [pytest.approx(0.0, abs=5.0), None]
    before = Contents.of(app.broker.get([KEY])[0])  # type: ignore[arg-type]
    after = Contents(b"w", b"p", b"r", (b"e", b"f"))
    assert remote.rewrite([Rewrite(*KEY, before, after)]) == [True]
    assert Contents.of(app.broker.get([KEY])[0]) == after  # type: ignore[arg-type]
    assert remote.delete([KEY], only=State.SCHEDULED) == [False]
    assert remote.delete([KEY, JobKey("default", "none")]) == [True, None]
    assert app.broker.get([KEY]) == [None]
    with pytest.raises(OptionError, match="cursor"):
        remote.jobs("default", State.FAILED, "x")


def test_slots_are_claimed_through_the_pipe_too(app: App, remote: UpcallBroker) -> None:
    message = app.tasks["add"].options(job_id=KEY.id).message(1)
    one = Tick("s", message, 5.0, 5.0, 1, remote.now(), 5.0, "UTC", skip_overlap=True)
    kinds = [remote.tick([tick])[0] for tick in (one, one, one._replace(slot=None))]
    assert kinds == [
        Ticked(TickKind.SUBMITTED, 5.0),
        Ticked(TickKind.TAKEN, 5.0),
        Ticked(TickKind.SUBMITTED, 5.0),
    ]
    assert app.broker.cancel([KEY]) == [True]
    assert remote.close_slots("default", "s", 2, gone=True) == 5.0
    assert remote.tick([one._replace(slot=6.0)])[0].kind is TickKind.STALE
    for firings in (0, 9):
        looks = [
            broker.slots("default", ["s", "t"], firings=firings) for broker in (remote, app.broker)
        ]
        assert looks[0] == looks[1]
    assert [type(fired) for fired in remote.slots("default", ["s"], firings=9)[0].firings] == [
        Fired
    ] * 2


def test_a_bell_rings_when_the_watched_job_is_finished(
    app: App, road: Road, remote: UpcallBroker
) -> None:
    app.tasks["add"].options(job_id=KEY.id).enqueue(1)
    mailbox = remote.open_mailbox("me")
    assert remote.watch("me", [KEY, JobKey("default", "none")]) == [False, True]
    assert remote.watch("me", [KEY]) == [False]
    assert len(road.waits[KEY]) == 1, "watching again asks nothing new"
    road.finish(KEY)
    assert [(bell.queue, bell.id) for bell in mailbox.wait(5)] == [KEY]
    mailbox.wake()
    assert mailbox.wait(5) == []
    mailbox.close()


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), BrokerFull("full")])
def test_the_brokers_errors_come_back_as_themselves(
    monkeypatch: pytest.MonkeyPatch, app: App, remote: UpcallBroker, error: TaskrunnerError
) -> None:
    def refuse(_: Broker, __: Any) -> Any:
        raise error

    monkeypatch.setattr(type(app.broker), "get", refuse)
    with pytest.raises(type(error), match=str(error)):
        remote.get([KEY])


def test_an_answer_that_nobody_waits_for_any_more_is_dropped(road: Road) -> None:
    road.answering = False

    async def give_up() -> None:
        await asyncio.wait_for(road.calls.aask("now", None), 0.001)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    (call,) = road.unanswered
    road.calls.answer(call, True, 1.0)
    road.calls.answer(call, True, 1.0)


def test_a_question_that_cannot_be_sent_is_not_waited_for() -> None:
    def refuse(_: int, __: str, ___: Any) -> None:
        raise BrokerFull("too large for the pipe")

    calls = Calls(refuse)
    with pytest.raises(BrokerFull):
        calls.ask("now", None)
    assert calls._waiting == {}


def test_what_is_no_call_is_refused(app: App) -> None:
    with pytest.raises(TaskrunnerError, match="settle"):
        answer(app.broker, "settle", [])


def test_limits_and_pauses_are_those_of_the_supervisors_store(
    app: App, remote: UpcallBroker
) -> None:
    task, key = Scope(ScopeKind.TASK, "add"), Scope(ScopeKind.KEY, "k")
    limit = Limit(Rate.parse("5/m burst 2"), 3)
    assert not remote.set_limit("default", task, limit)
    assert not remote.set_limit("default", key, Limit("none", "none"))
    remote.pause("default", key, 60.0)
    assert remote.limits("default")[1].set == limit
    assert [state.scope for state in remote.limits("default")] == [key, task]
    told, here = remote.limits("default"), app.broker.limits("default")
    assert [state._replace(paused_for=None) for state in told] == [
        state._replace(paused_for=None) for state in here
    ]
    app.tasks["add"].options(job_id="j", max_running=1, running_key="k").enqueue(1)
    concerned = [state.scope for state in remote.limits("default", "j")]
    assert concerned == sorted([Scope(ScopeKind.QUEUE), key, task])
    assert remote.resume("default", key)
    assert remote.set_limit("default", task, None)
