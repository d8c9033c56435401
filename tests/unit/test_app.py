from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from taskrunner import App, Config, Middleware, State, context
from taskrunner.backends.memory import MemoryBackend
from taskrunner.brokers.base import Receipt
from taskrunner.brokers.memory import MemoryBroker
from taskrunner.errors import (
    ArgumentError,
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    ConfigError,
    DeclarationError,
    DuplicateJob,
    OptionError,
    UnknownTask,
)
from taskrunner.message import Message
from taskrunner.retry import Backoff, Policy
from tests.unit.one_node import OneNode


def send(user_id: int, template: str = "") -> str: ...  # type: ignore[empty-body]


@pytest.fixture
def app() -> App:
    app = App("memory://")
    app.task(name="mail.send")(send)
    return app


# -- settings


def test_settings_given_in_code_are_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRUNNER_RETRIES", "9")
    monkeypatch.setenv("TASKRUNNER_BROKER", "redis://elsewhere")
    config = App("memory://", namespace="shop", retries=4).config
    assert (config.broker, config.namespace, config.retries) == ("memory://", "shop", 4)


def test_nothing_is_read_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    app.task(name="t")(send)
    monkeypatch.setenv("TASKRUNNER_BROKER", "memory://")
    monkeypatch.setenv("TASKRUNNER_RETRIES", "7")
    assert app.config.retries == 7


def test_without_a_url_anywhere_the_broker_is_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("TASKRUNNER_BROKER", raising=False)
    monkeypatch.chdir(tmp_path)
    app = App()
    assert isinstance(app.broker, MemoryBroker)
    assert app.broker is app.broker


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"'retry'.*'retries'"):
        App("memory://", retry=3)


def test_a_bad_setting_is_a_config_error_when_it_is_needed() -> None:
    with pytest.raises(ConfigError, match="App\\(retries=-1\\)"):
        _ = App("memory://", retries=-1).config


@pytest.mark.parametrize(
    "given", [{"broker": 5}, {"backend": 5}, {"middleware": [Middleware]}, {"middleware": [5]}]
)
def test_what_is_no_broker_backend_or_middleware_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(given))):
        App(**given)


def test_an_unknown_scheme_names_those_that_exist() -> None:
    with pytest.raises(OptionError, match=r"'carrier-pigeon'.*memory, redis, .*rediss, .*unix"):
        _ = App("carrier-pigeon://home").broker


def test_a_broker_of_ones_own_is_used_as_it_is() -> None:
    broker = MemoryBroker()
    app = App(broker)
    assert app.broker is broker
    assert (app.config.broker, app.config.source("broker")) == (repr(broker), "App(...)")


def test_the_command_line_is_stronger_than_an_object_in_code() -> None:
    own, own_backend = MemoryBroker(), MemoryBackend()
    app = App(own, backend=own_backend)
    app.adopt(Config.load(arguments={"retries": "2"}, environ={"TASKRUNNER_BROKER": "redis://h"}))
    assert (app.broker, app.backend) == (own, own_backend)
    app.adopt(Config.load(arguments={"broker": "memory://", "backend": "redis://h"}, environ={}))
    assert isinstance(app.broker, MemoryBroker)
    assert app.broker is not own
    assert app.backend is not own_backend


def test_adopted_settings_replace_all_others(app: App) -> None:
    before = app.broker
    app.adopt(Config(retries=1, payload_limit_bytes=10))
    assert app.policy("mail.send").retries == 1
    assert app.payload_limit_bytes == 10
    assert app.broker is not before
    other = MemoryBroker()
    app.adopt(Config(), other)
    assert app.broker is other


def test_a_closed_app_stays_usable_and_memory_keeps_its_jobs(app: App) -> None:
    job = app.enqueue("mail.send", (1,))
    app.close()
    app.close()
    assert job.state() is State.PENDING


# -- policies


def test_a_policy_is_as_declared_else_as_the_settings_say() -> None:
    app = App("memory://", timeout_s=9.0, retries=1, retention_s=5.0)
    app.task(name="plain")(send)
    app.task(name="said", timeout=2, backoff=Backoff(3), retry_on=OSError, retention=0)(send)
    assert app.policy("plain") == Policy(timeout=9.0, retries=1, retention=5.0)
    assert app.policy("unknown") == app.policy("plain")
    assert app.policy("said") == Policy(2.0, 1, Backoff(3), ("builtins.OSError",), 0.0)


# -- by name


def test_by_name_the_declaration_and_the_options_count(app: App) -> None:
    app.task(name="other", queue="vip", priority=1)(send)
    job = app.enqueue("other", args=[42], kwargs={"template": "hi"}, priority=9)
    info = job.info()
    assert (info.task, info.queue, info.priority) == ("other", "vip", 9)
    assert (info.args, info.kwargs) == ((42,), {"template": "hi"})


def test_an_unknown_name_names_the_nearest_and_submits_nothing(app: App) -> None:
    with pytest.raises(UnknownTask, match=r"'mail.sned'.*did you mean 'mail.send'"):
        app.enqueue("mail.sned", (1,))
    assert app.broker.queues() == []


def test_a_client_without_the_code_may_name_any_task() -> None:
    app = App("memory://")
    job = app.enqueue("somewhere.else", (1, 2), timeout=3, queue="q")
    assert (job.info().task, job.info().timeout, job.queue) == ("somewhere.else", 3, "q")
    with pytest.raises(DeclarationError, match="name="):
        app.enqueue("")


def test_a_task_may_stand_for_its_name(app: App) -> None:
    task = app.tasks["mail.send"].options(priority=8)
    assert app.enqueue(task, (1,), queue="q").info().priority == 8


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [("abc", None, "args='abc'"), ((), 5, "kwargs=5"), ((1,), {1: 2}, "the key 1")],
)
def test_arguments_that_are_no_arguments_are_refused(
    app: App, args: Any, kwargs: Any, said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        app.enqueue("mail.send", args, kwargs)


def test_aenqueue_submits_too(app: App) -> None:
    async def submit() -> list[State]:
        jobs = [await app.aenqueue("mail.send", (1,)), await app.tasks["mail.send"].aenqueue(2)]
        jobs += await app.aenqueue_many([app.tasks["mail.send"].message(3)])
        return [await job.astate() for job in jobs]

    assert asyncio.run(submit()) == [State.PENDING] * 3


# -- duplicates


def test_a_second_job_with_an_id_in_use_is_a_duplicate(app: App) -> None:
    app.enqueue("mail.send", (1,), job_id="mine")
    with pytest.raises(DuplicateJob, match="'mine'") as caught:
        app.enqueue("mail.send", (1,), job_id="mine")
    assert (caught.value.existing_id, caught.value.job_id) == ("mine", "mine")


def test_an_id_is_free_again_when_its_job_has_finished(app: App) -> None:
    app.enqueue("mail.send", (1,), job_id="mine")
    OneNode(app).succeed("ok")
    assert app.enqueue("mail.send", (2,), job_id="mine").info().args == (2,)


# -- many


def test_many_get_one_honest_answer_each_in_order(app: App) -> None:
    task = app.tasks["mail.send"]
    task.options(job_id="taken").enqueue(0)
    messages = [task.message(1), task.options(job_id="taken").message(2), task.message(3)]
    jobs = app.enqueue_many(iter(messages))
    assert [job.id for job in jobs] == [message.id for message in messages]
    assert [job.accepted for job in jobs] == [True, False, True]
    refused = jobs[1].rejection
    assert isinstance(refused, DuplicateJob)
    assert refused.existing_id == "taken"
    assert [jobs[0].rejection, jobs[2].rejection] == [None, None]


def test_ten_thousand_go_in_chunks() -> None:
    broker = Recording()
    app = App(broker)
    task = app.task(name="t")(send)
    jobs = app.enqueue_many(task.message(n) for n in range(1201))
    assert broker.sizes == [500, 500, 201]
    assert all(job.accepted for job in jobs)
    assert app.job(jobs[-1].id).info().args == (1200,)


def test_large_messages_go_in_smaller_chunks() -> None:
    broker = Recording()
    app = App(broker)
    task = app.task(name="t")(send)
    app.enqueue_many(task.message(n, "x" * 1_000_000) for n in range(6))
    assert broker.sizes == [4, 2]


def test_none_is_none(app: App) -> None:
    assert app.enqueue_many([]) == []


def test_what_is_no_message_is_refused_before_anything_is_submitted(app: App) -> None:
    task = app.tasks["mail.send"]
    with pytest.raises(ArgumentError, match=r"message 1 is <Task mail.send>"):
        app.enqueue_many([task.message(1), task])  # type: ignore[list-item]
    assert app.broker.queues() == []


class Recording(MemoryBroker):
    """Remembers the sizes of calls, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.errors: dict[int, Exception] = {}
        self.refuse: str | None = None

    def enqueue(self, messages: Sequence[Message]) -> list[Receipt]:
        self.sizes.append(len(messages))
        error = self.errors.get(len(self.sizes))
        if error is not None:
            raise error
        if self.refuse is not None:
            return [Receipt(False, rejection=self.refuse) for _ in messages]
        return super().enqueue(messages)


def test_a_refusal_of_the_store_is_an_error_that_says_why() -> None:
    broker = Recording()
    broker.refuse = "too odd"
    app = App(broker)
    with pytest.raises(BrokerError, match="too odd"):
        app.task(name="t")(send).enqueue(1)
    (job,) = app.enqueue_many([app.tasks["t"].message(1)])
    assert "too odd" in str(job.rejection)


def test_where_the_store_fills_up_on_the_way_the_rest_says_so() -> None:
    broker = Recording()
    broker.errors[2] = BrokerFull("no room")
    app = App(broker)
    task = app.task(name="t")(send)
    jobs = app.enqueue_many(task.message(n) for n in range(1200))
    assert [job.accepted for job in jobs] == [True] * 500 + [False] * 700
    assert isinstance(jobs[-1].rejection, BrokerFull)
    assert broker.sizes == [500, 500], "after that nothing more was tried"


def test_where_nothing_was_accepted_the_call_raises() -> None:
    broker = Recording()
    broker.errors[1] = BrokerFull("no room")
    app = App(broker)
    with pytest.raises(BrokerFull):
        app.enqueue_many([app.task(name="t")(send).message(1)])


def test_a_short_outage_is_ridden_out_with_the_same_message() -> None:
    broker = Recording()
    broker.errors = {1: BrokerUnavailable("away"), 2: BrokerUnavailable("away")}
    app = App(broker)
    job = app.task(name="t")(send).enqueue(1)
    assert len(broker.sizes) == 3
    assert job.state() is State.PENDING


# -- middleware


class Stamp(Middleware):
    def __init__(self, text: str) -> None:
        self.text = text

    def on_enqueue(self, message: Message) -> Message:
        headers = {**message.header.headers, "stamps": self.text}
        before = message.header.headers.get("stamps", "")
        headers["stamps"] = before + self.text
        return replace(message, header=replace(message.header, headers=headers))


def test_enqueue_hooks_change_the_message_in_order() -> None:
    app = App("memory://", middleware=[Stamp("a"), Middleware(), Stamp("b")])
    task = app.task(name="t")(send)
    assert task.enqueue(1).info().headers == {"stamps": "ab"}
    assert app.enqueue_many([task.message(1)])[0].info().headers == {"stamps": "ab"}


class Broken(Middleware):
    def on_enqueue(self, message: Message) -> Message:
        raise RuntimeError("no")


def test_an_enqueue_hook_that_raises_fails_the_call_and_submits_nothing() -> None:
    app = App("memory://", middleware=[Broken()])
    task = app.task(name="t")(send)
    with pytest.raises(RuntimeError):
        task.enqueue(1)
    with pytest.raises(RuntimeError):
        app.enqueue_many([task.message(1)])
    assert app.broker.queues() == []


# -- running


def test_running_inside_a_workers_import_names_the_main_guard(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "importing", True)
    with pytest.raises(DeclarationError, match="__main__"):
        app.running(processes=1)


@pytest.mark.parametrize("given", [{"processes": 0}, {"threads": True}, {"processes": "2"}])
def test_running_with_numbers_that_are_none_is_refused(app: App, given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(given))):
        app.running(**given)


def test_running_takes_processes_or_threads(app: App) -> None:
    with pytest.raises(OptionError, match="one of them"):
        app.running(processes=1, threads=1)


def test_running_with_an_unknown_setting_is_refused(app: App) -> None:
    with pytest.raises(ConfigError, match="lease"):
        app.running(threads=1, lease=1)


# -- forks


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_closes_nothing_of_its_parents() -> None:
    closed: list[int] = []

    class Watched(MemoryBroker):
        def close(self) -> None:
            closed.append(os.getpid())

    app = App(Watched())
    app.enqueue("t")
    child = os.fork()
    if child == 0:
        app.adopt(Config())
        os._exit(len(closed))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    app.close()
    assert closed == [os.getpid()]
