"""Keys of limits: from text, from arguments, from functions; and what a message says of its limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskrunner import App
from taskrunner.errors import OptionError
from taskrunner.message import Message


def texts(message: Message) -> tuple[str, ...] | None:
    return message.header.limit_keys


def declare(**options: Any) -> Any:
    app = App("memory://")

    @app.task(name="t", **options)
    def task(customer: int, *, region: str = "eu") -> None: ...

    return task


def test_what_is_declared_does_not_travel_but_keys_do() -> None:
    assert texts(declare(rate_limit="5/s", max_running=3).message(1)) is None
    found = declare(rate_limit="5/s", rate_key="stripe").message(1)
    assert texts(found) == ("rate_key=stripe",)


def test_what_a_call_says_travels() -> None:
    task = declare(rate_limit="5/s").options(rate_limit="1/m", max_running=2, running_key=7)
    assert texts(task.message(1)) == ("rate=1/m", "max_running=2", "running_key=7")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("c-{customer}", "c-42"),
        ("{region}/{customer:05}", "eu/00042"),
        ("{{literal}}", "{literal}"),
        (lambda customer, region="us": f"{region}{customer}", "us42"),
        (lambda customer, **_: customer, "42"),
    ],
)
def test_a_key_may_be_made_from_the_arguments(wanted: Any, expected: str) -> None:
    task = declare(max_running=1, running_key=wanted)
    assert texts(task.message(42)) == (f"running_key={expected}",)


def test_a_keyword_counts_as_it_was_given() -> None:
    task = declare(max_running=1, running_key="{region}")
    assert texts(task.message(customer=1, region="us")) == ("running_key=us",)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("{client}", "no argument 'client'; it has: customer, region"),
        ("{0}", "names of the task's arguments"),
        ("{customer", "running_key='{customer'"),
        ("", "running_key=''"),
        (b"k", "running_key=b'k'"),
        (True, "running_key=True"),
        (["a"], r"running_key=\['a'\]"),
    ],
)
def test_a_bad_key_is_an_error_of_the_declaration(wanted: Any, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        declare(max_running=1, running_key=wanted)


@pytest.mark.parametrize(
    ("wanted", "argument"),
    [
        ("{customer}", [1]),
        ("{customer}", None),
        (lambda customer, region: None, 1),
        (lambda c, region: b"", 1),
        ("{customer[x]}", 1),
        ("{customer.none}", 1),
        ("{region}", 1),
    ],
)
def test_arguments_that_make_no_key_are_an_error_of_the_call(wanted: Any, argument: Any) -> None:
    task = declare(rate_limit="1/s", rate_key=wanted)
    with pytest.raises(OptionError, match="rate_key"):
        task.message(argument, region="" if wanted == "{region}" else "eu")


@pytest.mark.parametrize("option", ["rate_key", "running_key"])
def test_a_key_without_anything_to_count_by_it_is_a_contradiction(option: str) -> None:
    with pytest.raises(OptionError, match=f"{option} was given, and nothing to count"):
        declare(**{option: "k"})
    with pytest.raises(OptionError, match=f"{option} was given, and nothing to count"):
        declare().options(**{option: "k"})


def test_by_name_without_the_code_a_key_is_text() -> None:
    app = App("memory://")
    job = app.enqueue("elsewhere", (1,), rate_key="k")
    assert job.accepted
    makes: list[Callable[[int], str] | str] = ["{customer}", lambda customer: "k"]
    for wanted in makes:
        with pytest.raises(OptionError, match="the code of the task is not here"):
            app.enqueue("elsewhere", (1,), rate_key=wanted)
