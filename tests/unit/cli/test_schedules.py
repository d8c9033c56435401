from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskrunner.brokers.base import OutcomeKind, Tick, TickKind
from taskrunner.cli.exits import Exit
from taskrunner.cli.output import ago, in_words
from taskrunner.cron import Slot
from taskrunner.schedulestore import KIND, ScheduleStore
from tests.unit.cli.conftest import Cli, Ran
from tests.unit.one_node import OneNode

NIGHTLY = ("--cron", "30 2 * * *", "--timezone", "America/New_York")


def add(cli: Cli, *words: str) -> Ran:
    return cli("schedules", "add", "nightly", "shop.add", "1", *words)


def stored(cli: Cli, name: str = "nightly") -> Any:
    found = ScheduleStore(cli.broker).find(name)
    return None if found is None else found.schedule


def fire(cli: Cli, slot: float) -> None:
    schedule = stored(cli)
    known = cli.broker.now()
    tick = Tick("nightly", schedule.job(Slot(slot)), slot, 0.0, schedule.revision, known)
    assert cli.broker.tick([tick])[0].kind is TickKind.SUBMITTED


# -- listing


def test_the_list_says_in_words_what_was_and_what_comes(cli: Cli) -> None:
    assert add(cli, *NIGHTLY).code == Exit.OK
    fire(cli, 1000.0)
    OneNode(cli.app).succeed(2)
    cli("schedules", "add", "often", "shop.add", "1", "--every", "90")
    cli("schedules", "pause", "often")
    for words in (["schedules"], ["schedules", "list"]):
        ran = cli(*words)
        assert ran.code == Exit.OK
        head, nightly, often = ran.out.splitlines()
        assert head.split() == ["schedule", "task", "when", "next", "last"]
        assert "30 2 * * * America/New_York  in " in nightly
        assert nightly.endswith(("now: succeeded", "ago: succeeded"))
        assert often.split() == ["often", "shop.add", "every", "90", "s", "paused", "never"]


def test_nothing_there_is_said(cli: Cli) -> None:
    ran = cli("schedules", "--namespace", "shop")
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert ran.err == "there are no schedules in the namespace shop\n"
    assert json.loads(cli("schedules", "--json").out) == []


def test_what_is_wrong_with_one_is_said_below(cli: Cli) -> None:
    add(cli, "--every", "60")
    fire(cli, 1000.0)
    node = OneNode(cli.app)
    node.settle(
        node.take(), OutcomeKind.PARKED, started=False, park_key="task:shop.add", delay=99.0
    )
    cli.broker.put_record(KIND, "bad", b"\xc1")
    ran = cli("schedules")
    assert "cannot be followed" in ran.out
    assert "bad: not a schedule" in ran.err
    assert "nightly: 1 job waits, since no node there knows shop.add" in ran.err


def test_what_code_declares_is_shown_before_it_is_in_effect(cli: Cli) -> None:
    cli.write("timed.py", "from shop import app, add\napp.cron('@daily', args=(1,))(add)\n")
    ran = cli("schedules", "--app", "timed:app")
    assert "@daily UTC" in ran.out
    assert "not in effect yet" in ran.out


def test_as_json(cli: Cli) -> None:
    add(cli, *NIGHTLY)
    (found,) = json.loads(cli("schedules", "--json").out)
    assert (found["name"], found["task"], found["args"]) == ("nightly", "shop.add", [1])
    assert found["next"].endswith("30:00-05:00") or found["next"].endswith("-04:00")
    assert (found["last"], found["paused"]) == (None, False)


# -- adding


def test_all_that_can_be_said(cli: Cli) -> None:
    ran = add(
        cli,
        *("--kwargs", '{"b": 2}', "--every", "90", "--start", "2030-01-01T00:00:00Z"),
        *("--end", "2031-01-01T00:00:00Z", "--jitter", "5", "--catch-up", "all"),
        *("--max-catch-up", "7", "--overlap", "skip", "--priority", "9", "--queue", "vip"),
        *("--header", "a=b", "--retention", "0", "--json"),
    )
    made = json.loads(ran.out)
    assert (made["args"], made["kwargs"]) == ([1], {"b": 2})
    assert (made["every"], made["jitter"], made["catch_up"]) == (90.0, 5.0, "all")
    assert (made["max_catch_up"], made["overlap"]) == (7, "skip")
    assert (made["start"], made["end"]) == (
        "2030-01-01T00:00:00+00:00",
        "2031-01-01T00:00:00+00:00",
    )
    schedule = stored(cli)
    assert (schedule.queue, schedule.template.priority) == ("vip", 9)
    assert schedule.template.header.headers == {"a": "b"}


def test_an_app_gives_the_tasks_own_options_and_judges_the_arguments(cli: Cli) -> None:
    assert cli("schedules", "add", "s", "shop.send", '"x"', "--every", "5", "--app", "shop:app").code == 0  # fmt: skip
    assert stored(cli, "s").queue == "mail"
    ran = cli("schedules", "add", "t", "shop.sen", '"x"', "--every", "5", "--app", "shop:app")
    assert ran.code == Exit.USAGE
    assert "did you mean 'shop.send'" in ran.err
    ran = cli("schedules", "add", "t", "shop.send", "--every", "5", "--app", "shop:app")
    assert ran.code == Exit.USAGE
    assert "missing a required argument" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "cron and every are both missing"),
        (("--cron", "61 * * * *"), "expected five fields"),
        (("--cron", "0 0 30 2 *"), "can never occur"),
        (("--every", "0"), "every=0: expected seconds"),
        (("--every", "soon"), "every='soon': expected seconds"),
        (("--every", "5", "--timezone", "Mars"), "timezone='Mars': expected the IANA name"),
        (("--every", "5", "--start", "2030-01-01"), "this one has none"),
        (("--every", "5", "--start", "2030-01-02Z", "--end", "2030-01-01T00:00Z"), "expected"),
        (("--every", "5", "--catch-up", "some"), "'none' or 'latest' or 'all'"),
        (("--every", "5", "--priority", "11"), "priority=11"),
        (("--every", "5", "--evry", "6"), "no such option --evry: did you mean '--every'"),
        (("--every", "5", "--durability", "replicated"), "nobody waits for a schedule's jobs"),
        (("--every", "5", "text"), "is not JSON"),
    ],
)
def test_a_mistake_is_a_sentence(cli: Cli, words: tuple[str, ...], message: str) -> None:
    ran = add(cli, *words)
    assert ran.code == Exit.USAGE
    assert message in ran.err
    assert stored(cli) is None


def test_another_of_the_same_name_is_refused_unless_it_shall_replace(cli: Cli) -> None:
    add(cli, "--every", "60")
    assert add(cli, "--every", "60").code == Exit.OK
    ran = add(cli, "--every", "61")
    assert ran.code == Exit.USAGE
    assert "replace=True" in ran.err
    assert add(cli, "--every", "61", "--replace").code == Exit.OK
    assert stored(cli).rule.every == 61.0


# -- changing


def test_pause_resume_trigger(cli: Cli) -> None:
    add(cli, "--every", "60")
    assert cli("schedules", "pause", "nightly").out == "paused\n"
    assert stored(cli).paused
    triggered = cli("schedules", "trigger", "nightly")
    assert cli.app.job(triggered.out.strip()).info().task == "shop.add"
    assert json.loads(cli("schedules", "resume", "nightly", "--json").out) == {
        "name": "nightly",
        "done": "resumed",
    }
    assert not stored(cli).paused
    assert json.loads(cli("schedules", "trigger", "nightly", "--json").out)["queue"] == "default"


def test_removing_asks_first(cli: Cli) -> None:
    add(cli, "--every", "60")
    ran = cli("schedules", "remove", "nightly")
    assert ran.code == Exit.USAGE
    assert "--yes" in ran.err
    assert stored(cli) is not None
    assert cli("schedules", "remove", "nightly", "--yes").out == "removed\n"
    assert stored(cli) is None
    assert cli("schedules", "remove", "nightly", "--yes").code == Exit.NOT_FOUND
    ran = cli("schedules", "remove", "nightly", "--yes", "--json")
    assert json.loads(ran.out) == {"name": "nightly", "removed": False}


@pytest.mark.parametrize("command", ["pause", "resume", "trigger", "preview", "history"])
def test_what_is_not_there_is_not_found(cli: Cli, command: str) -> None:
    add(cli, "--every", "60")
    ran = cli("schedules", command, "nightl")
    assert ran.code == Exit.NOT_FOUND
    assert "did you mean 'nightly'" in ran.err


# -- looking closer


def test_a_preview_marks_what_the_clocks_do(cli: Cli) -> None:
    add(cli, *NIGHTLY)
    preview = ("schedules", "preview", "nightly", "--count", "3", "--after", "2026-03-07T00:00Z")
    lines = cli(*preview).out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [
        "2026-03-07T02:30:00-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-09T02:30:00-04:00",
    ]
    assert "does not exist on that day" in lines[1]
    found = json.loads(cli(*preview, "--json").out)
    assert [slot["effect"] for slot in found] == ["", "missing", ""]


def test_a_preview_shows_jitter_and_ends(cli: Cli) -> None:
    add(cli, "--every", "60", "--jitter", "20", "--end", "2040-01-01T00:00Z")
    assert "submitted" in cli("schedules", "preview", "nightly").out.splitlines()[0]
    ran = cli("schedules", "preview", "nightly", "--after", "2041-01-01T00:00Z")
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert "never falls due" in ran.err
    assert cli("schedules", "preview", "nightly", "--count", "-1").code == Exit.USAGE


def test_history(cli: Cli) -> None:
    add(cli, "--every", "60")
    assert "was not fired yet" in cli("schedules", "history", "nightly").err
    fire(cli, 1000.0)
    OneNode(cli.app).succeed(2)
    job = cli("schedules", "trigger", "nightly").out.strip()
    head, newest, first = cli("schedules", "history", "nightly").out.splitlines()
    assert head.split() == ["slot", "fired", "job", "outcome"]
    assert newest.startswith("by hand")
    assert newest.split()[-2:] == [job, "pending"]
    assert first.split()[0] == "1970-01-01T00:16:40+00:00"
    assert first.endswith("succeeded")
    found = json.loads(cli("schedules", "history", "nightly", "--count", "1", "--json").out)
    assert [(one["job_id"], one["slot"]) for one in found] == [(job, None)]


# -- words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.6, "1 s"),
        (59.0, "59 s"),
        (61.0, "1 min 1 s"),
        (3600.0, "1 h"),
        (3 * 3600 + 12 * 60 + 7, "3 h 12 min"),
        (86_400 * 2 + 59, "2 d"),
        (86_400 * 40 + 3600, "40 d 1 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_moments_in_words() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert ago(now + timedelta(minutes=5), now) == "in 5 min"
    assert ago(now - timedelta(seconds=5), now) == "5 s ago"
    assert ago(now + timedelta(milliseconds=100), now) == "now"
