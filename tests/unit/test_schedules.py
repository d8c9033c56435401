"""What users say of schedules, and what is stored of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest

from taskrunner import OptionError
from taskrunner.cron import Slot
from taskrunner.errors import MessageError
from taskrunner.message import Header, Message, Timing
from taskrunner.schedules import Schedule, check_name, rule_of, split
from taskrunner.timeline import Rule

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEMPLATE = Message("", "mail", Header("t", headers={"a": "b"}), b"body", 7, Timing(delay=1.0))


def schedule(**fields: Any) -> Schedule:
    return Schedule(**{"name": "s", "rule": Rule(every=60.0), "template": TEMPLATE, **fields})


# -- rules


def test_a_rule_is_what_was_said() -> None:
    said = {
        "cron": "0 3 * * *",
        "timezone": ZoneInfo("Europe/Berlin"),
        "start": MOMENT,
        "end": MOMENT + timedelta(days=1),
        "jitter": timedelta(seconds=5),
        "catch_up": "all",
        "max_catch_up": 7,
        "overlap": "skip",
    }
    noon = MOMENT.timestamp()
    assert rule_of("s", said) == Rule(
        *("0 3 * * *", None, "Europe/Berlin", noon, noon + 86_400, 5.0, "all", 7, "skip")
    )
    assert rule_of("s", {"every": timedelta(minutes=1)}) == Rule(every=60.0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, r"^cron and every are both missing: expected one of them"),
        ({"cron": "@daily", "every": 5}, r"^cron and every were both given: expected one of them"),
        ({"cron": "0 0 30 2 *"}, r"^cron='0 0 30 2 \*': .*can never occur.*expected five fields"),
        ({"cron": 5}, r"^cron=5: expected a cron expression as text"),
        ({"every": 0}, r"^every=0: expected seconds .* 0.01 or more"),
        ({"every": -1.0}, r"^every=-1.0: expected seconds"),
        ({"every": float("nan")}, r"^every=nan: expected seconds"),
        ({"every": timedelta(0)}, r"^every=.*: expected seconds .*timedelta"),
        ({"every": "5"}, r"^every='5': expected seconds"),
        ({"every": True}, r"^every=True: expected seconds"),
        ({"every": 5, "timezone": "Mars/Olympus"}, r"^timezone='Mars/Olympus': expected the IANA"),
        ({"every": 5, "start": datetime(2026, 1, 1)}, r"^start=.*time zone; this one has none"),
        ({"every": 5, "end": "2026-01-01"}, r"^end='2026-01-01': expected a datetime"),
        (
            {"every": 5, "start": MOMENT, "end": MOMENT - timedelta(seconds=1)},
            r"^end=.* is before start=.*: expected a later one",
        ),
        ({"every": 5, "jitter": -1}, r"^jitter=-1: expected seconds"),
        (
            {"every": 5, "catch_up": "some"},
            r"^catch_up='some': expected 'none' or 'latest' or 'all'",
        ),
        ({"every": 5, "max_catch_up": 0}, r"^max_catch_up=0: expected a whole number from 1"),
        ({"every": 5, "overlap": True}, r"^overlap=True: expected 'allow' or 'skip'"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(said: Mapping[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rule_of("s", said)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 256, None, 5, "tab\tbed"])
def test_a_name_is_text_without_spaces(name: object) -> None:
    with pytest.raises(OptionError, match=r"^name="):
        check_name(name)
    assert check_name("mail.digest/täglich#1") == "mail.digest/täglich#1"


def test_keywords_are_of_the_rule_or_options_of_the_jobs() -> None:
    assert split({"cron": "@daily", "priority": 9}) == ({"cron": "@daily"}, {"priority": 9})
    with pytest.raises(OptionError, match="unknown option 'timezon': did you mean 'timezone'"):
        split({"timezon": "UTC"})
    assert split({"durability": "default"})[1] == {"durability": "default"}
    with pytest.raises(OptionError, match=r"durability='fsynced': .*nobody waits"):
        split({"durability": "fsynced"})


# -- what is stored


def test_what_was_packed_is_read_again() -> None:
    one = schedule(owner="shop:app", revision=5, after=1.5, paused=True, moved_from="other")
    assert Schedule.unpack("s", one.pack()) == one


def test_the_fingerprint_is_of_what_users_say() -> None:
    one = schedule()
    assert one.fingerprint() == schedule(revision=9, paused=True, owner="x").fingerprint()
    other = [
        schedule(rule=Rule(every=61.0)),
        schedule(template=Message("", "mail", Header("t"), b"body", 7)),
        schedule(template=Message("id", "mail", TEMPLATE.header, b"body", 7, Timing(delay=1.0))),
    ]
    assert len({one.fingerprint(), *(each.fingerprint() for each in other)}) == 4


GOOD: dict[str, Any] = msgpack.unpackb(schedule().pack())


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb({}),
        msgpack.packb({**GOOD, "v": 2}),
        msgpack.packb({**GOOD, "job": ["id"]}),
        msgpack.packb({**GOOD, "rule": {"every": 5}}),
        msgpack.packb({**GOOD, "rule": {**GOOD["rule"], "every": 0}}),
        msgpack.packb({**GOOD, "rule": {**GOOD["rule"], "every": "5"}}),
        msgpack.packb({**GOOD, "rule": {**GOOD["rule"], "jitter": None}}),
        msgpack.packb({**GOOD, "rule": {**GOOD["rule"], "catch_up": "some"}}),
        msgpack.packb({**GOOD, "revision": "new"}),
        msgpack.packb({**GOOD, "after": None}),
    ],
)
def test_what_cannot_be_read_is_said_to_be_so(packed: bytes) -> None:
    with pytest.raises(MessageError):
        Schedule.unpack("s", packed)


# -- jobs


def test_a_job_says_which_slot_it_is_of() -> None:
    one = schedule()
    job, other = (one.job(Slot(MOMENT.timestamp())) for _ in range(2))
    assert job.header.headers == {
        "a": "b",
        "taskrunner.schedule": "s",
        "taskrunner.slot": "2026-03-01T12:00:00+00:00",
    }
    assert (job.queue, job.body, job.priority, job.timing) == ("mail", b"body", 7, TEMPLATE.timing)
    assert job.id != other.id
    assert job.call == ""


def test_one_that_was_triggered_has_no_slot() -> None:
    assert set(schedule().job(None).header.headers) == {"a", "taskrunner.schedule"}


def test_where_all_jobs_have_one_id_the_calls_differ() -> None:
    one = schedule(template=Message("fixed", "q", Header("t"), b""))
    job, other = one.job(None), one.job(None)
    assert job.id == other.id == "fixed"
    assert "" != job.call != other.call
