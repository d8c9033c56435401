from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskrunner import App, AsyncTask, Backoff, Task
from taskrunner.errors import ArgumentError, DeclarationError, OptionError, PayloadTooLarge
from taskrunner.message import NOW


@pytest.fixture
def app() -> App:
    return App("memory://", payload_limit_bytes=2000)


def send(user_id: int, *, template: str = "welcome") -> str:
    """Send a mail."""
    return f"{template} {user_id}"


async def asend(user_id: int) -> str:
    return f"async {user_id}"


# -- declaring


def test_a_task_is_still_a_plain_function(app: App) -> None:
    task = app.task(send)
    assert task(42) == "welcome 42"
    assert task.__doc__ == "Send a mail."
    assert inspect.signature(task) == inspect.signature(send)
    assert not task.is_async


def test_an_async_task_gives_a_coroutine(app: App) -> None:
    task = app.task(asend)
    assert isinstance(task, AsyncTask)
    assert task.is_async
    assert asyncio.run(task(42)) == "async 42"


def test_the_default_name_is_module_and_function(app: App) -> None:
    assert app.task(send).name == f"{__name__}.send"
    assert list(app.tasks) == [f"{__name__}.send"]


def test_options_and_a_name_may_be_given(app: App) -> None:
    task = app.task(name="mail.send", queue="mail", priority=7, retries=5)(send)
    assert (task.name, task.declared.queue, task.declared.retries) == ("mail.send", "mail", 5)


def test_two_tasks_with_one_name_are_an_error_that_says_where_the_other_is(app: App) -> None:
    app.task(name="one")(send)
    with pytest.raises(DeclarationError, match=r"'one' already, declared at .*test_task.py:\d+"):
        app.task(name="one")(asend)
    assert app.tasks["one"].fn is send


def nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


def generator() -> Iterator[int]:
    yield 1


class Klass:
    def method(self) -> None: ...

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (lambda: None, "a lambda"),
        (nested(), "a nested function"),
        (generator, "generator"),
        (Klass, "expected a function"),
        (5, "expected a function"),
        (staticmethod(send), "expected a function"),
        (functools.partial(send, 1), "no name of its own"),
        (Klass(), "no name of its own"),
    ],
)
def test_what_cannot_be_a_task_is_an_error_at_declaration(app: App, thing: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        app.task(thing)
    assert not app.tasks


@pytest.mark.parametrize("thing", [lambda: None, nested(), functools.partial(send, 1), Klass()])
def test_with_a_name_anything_that_can_be_called_is_a_task(app: App, thing: Any) -> None:
    assert app.task(name="named")(thing).name == "named"


def test_a_generator_is_no_task_with_a_name_either(app: App) -> None:
    with pytest.raises(DeclarationError, match="generator"):
        app.task(name="named")(generator)


def test_a_task_is_not_declared_again(app: App) -> None:
    with pytest.raises(DeclarationError, match="is a task already"):
        app.task(app.task(send))


@pytest.mark.parametrize("name", ["", "a b", "a\n", 5, "x" * 256])
def test_a_bad_name_is_an_error_before_the_function_is_seen(app: App, name: Any) -> None:
    with pytest.raises(DeclarationError, match="name="):
        app.task(name=name)


def test_a_bad_option_is_an_error_at_declaration(app: App) -> None:
    with pytest.raises(OptionError, match="priority=11"):
        app.task(priority=11)
    with pytest.raises(OptionError, match="did you mean 'priority'"):
        app.task(prio=1)  # type: ignore[call-overload]


# -- arguments


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "'user_id'"),
        ((1, 2), {}, "too many positional"),
        ((1,), {"user_id": 2}, "'user_id'"),
        ((1,), {"templat": "x"}, "'templat'"),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_at_the_call(
    app: App, args: Any, kwargs: Any, said: str
) -> None:
    task = app.task(name="mail.send")(send)
    for submit in (task.enqueue, task.message):
        with pytest.raises(ArgumentError, match=rf"mail\.send.*{said}") as caught:
            submit(*args, **kwargs)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(ArgumentError, match=said):
        app.enqueue("mail.send", args=args, kwargs=kwargs)
    assert app.broker.queues() == [], "nothing was submitted"


def test_arguments_that_cannot_be_carried_are_named(app: App) -> None:
    task = app.task(send)
    with pytest.raises(ArgumentError, match=r"argument 0 \(object\)"):
        task.enqueue(object())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"argument 'template' \(object\)"):
        task.enqueue(1, template=object())  # type: ignore[arg-type]
    assert app.broker.queues() == []


def test_a_payload_over_the_limit_names_size_and_limit(app: App) -> None:
    with pytest.raises(PayloadTooLarge, match=r"take 30\d\d bytes; at most 2000"):
        app.task(send).enqueue(1, template="x" * 3000)
    assert app.broker.queues() == []


# -- messages


def test_a_message_has_an_id_of_its_own_and_no_call(app: App) -> None:
    one, two = app.task(send).message(1), app.tasks[f"{__name__}.send"].message(1)
    assert one.id != two.id
    assert (one.queue, one.priority, one.timing, one.call) == ("default", 5, NOW, "")
    assert app.codec.unpack_call(one.body) == ((1,), {})


def test_a_job_id_of_the_users_gets_a_call_that_differs(app: App) -> None:
    task = app.task(send).options(job_id="mine")
    one, two = task.message(1), task.message(1)
    assert one.id == two.id == "mine"
    assert one.call
    assert one.call != two.call


def test_options_make_a_copy_and_leave_the_task_alone(app: App) -> None:
    task = app.task(queue="mail", priority=7)(send)
    copy = task.options(priority=9, delay=10)
    assert isinstance(copy, Task)
    assert (copy.message(1).priority, copy.message(1).queue) == (9, "mail")
    assert copy.message(1).timing.delay == 10
    assert task.message(1).priority == 7
    again = copy.options(priority=1)
    assert (again.message(1).priority, again.message(1).timing.delay) == (1, 10)


def test_only_what_differs_from_the_declaration_travels(app: App) -> None:
    task = app.task(timeout=30, retries=5, backoff=Backoff(5), headers={"a": "1"})(send)
    header = task.message(1).header
    assert (header.timeout, header.retries, header.backoff) == (None, None, None)
    assert header.headers == {"a": "1"}
    chosen = task.options(timeout=1, headers={"b": "2"}).message(1).header
    assert (chosen.timeout, chosen.retries) == (1, None)
    assert chosen.headers == {"a": "1", "b": "2"}


def test_messages_of_one_task_share_one_header(app: App) -> None:
    task = app.task(send)
    assert task.message(1).header is task.message(2).header


def test_a_bad_option_is_an_error_at_the_call(app: App) -> None:
    task = app.task(send)
    with pytest.raises(OptionError, match="timeout=-1"):
        task.options(timeout=-1)
    with pytest.raises(OptionError, match="did you mean 'delay'"):
        task.options(dely=1)  # type: ignore[call-arg]


# -- on the worker's side


@dataclasses.dataclass
class Point:
    x: int


def takes_points(one: Point, *more: Point, by: Point | None = None, **named: Point) -> None: ...


def test_plain_maps_become_the_classes_of_the_annotations(app: App) -> None:
    task = app.task(takes_points)
    body = app.codec.pack_call(({"x": 1}, {"x": 2}), {"by": {"x": 3}, "other": {"x": 4}})
    assert task.arguments(body) == (
        (Point(1), Point(2)),
        {"by": Point(3), "other": Point(4)},
    )


def test_a_map_that_does_not_fit_names_the_argument(app: App) -> None:
    task = app.task(takes_points)
    with pytest.raises(ArgumentError, match=r"argument 'one'.*Point"):
        task.arguments(app.codec.pack_call(({"y": 1},), {}))


def test_arguments_that_arrive_and_do_not_fit_the_function_are_refused(app: App) -> None:
    with pytest.raises(ArgumentError, match="too many positional"):
        app.task(send).arguments(app.codec.pack_call((1, 2), {}))
