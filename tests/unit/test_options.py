from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner.errors import OptionError, TaskrunnerError
from taskrunner.message import NOW, Timing
from taskrunner.options import OptionArguments, Options, validate_queue_name
from taskrunner.retry import Backoff

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("priority", 11, "a whole number from 0 to 9"),
        ("priority", -1, "a whole number from 0 to 9"),
        ("priority", True, "a whole number from 0 to 9"),
        ("priority", 5.0, "a whole number from 0 to 9"),
        ("timeout", -1, "seconds"),
        ("timeout", 0, "seconds"),
        ("timeout", float("nan"), "seconds"),
        ("timeout", float("inf"), "seconds"),
        ("timeout", "30", "seconds"),
        ("timeout", True, "seconds"),
        ("delay", -0.5, "seconds"),
        ("delay", timedelta(seconds=-1), "seconds"),
        ("delay", 1e300, "seconds"),
        ("eta", datetime(2030, 1, 1), "a datetime with a time zone"),
        ("eta", 5, "a datetime with a time zone"),
        ("expires", datetime(2030, 1, 1), "a datetime with a time zone"),
        ("expires", "soon", "seconds (0 or more), a timedelta or a datetime"),
        ("deadline", 60, "a datetime with a time zone"),
        ("retries", -1, "a whole number, 0 or more"),
        ("retries", True, "a whole number, 0 or more"),
        ("backoff", 5, "a Backoff"),
        ("retry_on", 5, "exception classes"),
        ("retry_on", (int,), "exception classes"),
        ("retry_on", ("no dots",), "exception classes"),
        ("retention", -1, "seconds"),
        ("job_id", "", "printable characters without spaces"),
        ("job_id", "a b", "printable characters without spaces"),
        ("job_id", "a\n", "printable characters without spaces"),
        ("job_id", 5, "printable characters without spaces"),
        ("durability", "sure", "one of 'default', 'replicated', 'fsynced'"),
        ("durability", True, "one of 'default', 'replicated', 'fsynced'"),
        ("headers", {"a": 1}, "text under a key that is text"),
        ("headers", {1: "a"}, "text under a key that is text"),
        ("headers", ["a"], "a mapping of text to text"),
        ("headers", {"a": "\ud800"}, "text that UTF-8 can carry"),
    ],
)
def test_a_bad_option_names_itself_what_it_got_and_what_it_accepts(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(OptionError) as caught:
        Options.of(**{name: value})
    message = str(caught.value)
    assert message.startswith(name)
    assert expected in message
    if name != "headers":
        assert repr(value if not isinstance(value, tuple) else value[0]) in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TaskrunnerError)


@pytest.mark.parametrize("name", ["", "a b", "a{b}", "{", "a\n", "ä", "a" * 129, 5, None, b"a"])
def test_a_queue_name_that_is_not_one_is_refused(name: Any) -> None:
    with pytest.raises(OptionError, match="queue="):
        validate_queue_name(name)


@pytest.mark.parametrize("name", ["default", "a-b_c.d:e/f@g", "a" * 128, "9"])
def test_a_queue_name_that_is_one_is_answered(name: str) -> None:
    assert validate_queue_name(name) == name


def test_an_unknown_option_names_the_nearest_known() -> None:
    with pytest.raises(OptionError, match=r"'prioritty'.*did you mean 'priority'"):
        Options.of(prioritty=1)


def test_a_value_that_is_long_is_cut_in_the_message() -> None:
    with pytest.raises(OptionError) as caught:
        Options.of(priority="x" * 10_000)
    assert len(str(caught.value)) < 300


def test_headers_over_their_limit_are_refused() -> None:
    with pytest.raises(OptionError, match="at most 16384"):
        Options.of(headers={"a": "x" * 20_000})


def test_durations_may_be_fractions_and_timedeltas() -> None:
    options = Options.of(delay=0.25, timeout=timedelta(minutes=1), expires=1)
    assert (options.delay, options.timeout, options.expires) == (0.25, 60.0, 1.0)


def test_moments_become_seconds_since_the_epoch() -> None:
    options = Options.of(eta=NOON, expires=NOON, deadline=NOON)
    assert options.eta == options.expires_at == options.deadline == NOON.timestamp()
    assert options.expires is None


def test_delay_and_eta_together_are_refused() -> None:
    with pytest.raises(OptionError, match="delay and eta"):
        Options.of(delay=1, eta=NOON)


def test_none_means_not_given() -> None:
    assert Options.of(queue=None, timeout=None) == Options()


def test_retry_on_takes_a_class_classes_and_names() -> None:
    assert Options.of(retry_on=OSError).retry_on == ("builtins.OSError",)
    both = Options.of(retry_on=(ValueError, "shop.errors.Busy")).retry_on
    assert both == ("builtins.ValueError", "shop.errors.Busy")
    assert Options.of(retry_on=()).retry_on == ()


def test_the_later_options_win() -> None:
    merged = Options.of(queue="a", priority=1).merged(Options.of(priority=9, retries=0))
    assert merged == Options.of(queue="a", priority=9, retries=0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"delay": 5}, {"eta": NOON}),
        ({"eta": NOON}, {"delay": 5}),
        ({"expires": 5}, {"expires": NOON}),
        ({"expires": NOON}, {"expires": 5}),
    ],
)
def test_the_later_way_of_saying_when_replaces_the_other(
    before: OptionArguments, after: OptionArguments
) -> None:
    assert Options.of(**before).merged(Options.of(**after)) == Options.of(**after)


def test_headers_are_merged_key_by_key() -> None:
    merged = Options.of(headers={"a": "1", "b": "1"}).merged(Options.of(headers={"b": "2"}))
    assert dict(merged.headers or {}) == {"a": "1", "b": "2"}


def test_options_without_times_share_one_timing() -> None:
    assert Options.of(priority=3).timing() is NOW
    assert Options.of(delay=3, expires=NOON).timing() == Timing(
        delay=3.0, expires_at=NOON.timestamp()
    )


def test_the_header_carries_what_a_node_needs_and_no_more() -> None:
    options = Options.of(
        queue="q", priority=1, delay=3, timeout=1, backoff=Backoff(2), headers={"a": "b"}
    )
    header = options.header("shop.send")
    said = (header.task, header.timeout, header.retries)
    assert said == ("shop.send", 1.0, None)
    assert header.backoff == (2.0, 2.0, 600.0, True)
    assert header.headers == {"a": "b"}


def test_what_type_checkers_know_of_options_is_what_there_is() -> None:
    assert set(OptionArguments.__annotations__) <= {*Options.__dataclass_fields__}
    for name in OptionArguments.__annotations__:
        assert Options.of(**{name: None}) == Options()
