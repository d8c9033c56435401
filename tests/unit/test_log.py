from __future__ import annotations

import inspect
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner import events, log
from taskrunner.context import CURRENT, JobContext
from taskrunner.events import Event, Events

KINDS = [
    kind
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, Event) and kind is not Event
]


class Lines:
    """What was written to the log so far."""

    def __init__(self, style: str, level: str) -> None:
        self._stream = io.StringIO()
        self.restore = log.configure(level, style, self._stream)
        self.events = Events()
        log.EventLog(self.events)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def last(self) -> str:
        return self.text.splitlines()[-1]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.last)
        return found


@pytest.fixture
def configured() -> Iterator[Callable[..., Lines]]:
    made: list[Lines] = []

    def make(style: str = "text", level: str = "debug") -> Lines:
        made.append(Lines(style, level))
        return made[-1]

    yield make
    for lines in made:
        lines.restore()


@pytest.fixture
def job() -> Iterator[JobContext]:
    context = JobContext(id="job-1", task="mail.send", queue="mail", attempt=2)
    token = CURRENT.set(context)
    yield context
    CURRENT.reset(token)


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_has_a_line(kind: type[Event]) -> None:
    assert kind in log._LINES


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (
            events.NodeStarted("n1", 2, ("a", "b")),
            "INFO",
            "node n1 started: 2 processes, queues a, b",
        ),
        (events.NodeStarted("n1", 1, None), "INFO", "node n1 started: 1 process, every queue"),
        (events.NodeStopping(3, 25.0), "INFO", "stopping: 3 jobs may finish within 25 s"),
        (events.NodeStopping(), "INFO", "stopping"),
        (
            events.ChildDied(3, 77, None, 9, 1),
            "ERROR",
            "child 3 (pid 77) was killed by SIGKILL; it held 1 job",
        ),
        (
            events.ChildDied(3, 77, 1, None, 0),
            "ERROR",
            "child 3 (pid 77) exited with status 1; it held 0 jobs",
        ),
        (events.ChildDied(3, 77, None, 99, 0), "ERROR", "killed by signal 99"),
        (
            events.QueuesLost(("a",), "refused"),
            "ERROR",
            "a part of the broker is away, with the queue a: refused",
        ),
        (
            events.QueuesBack(tuple("abcdefg")),
            "INFO",
            "the broker has the queues a, b, c, d, e and 2 more again",
        ),
        (events.BrokerBack(2.345), "INFO", "the broker is back after 2.3 s"),
        (events.JobsReturned(2, "it died"), "INFO", "2 jobs went back to the queue: it died"),
        (events.ThreadsAtImport(("a", "b")), "WARNING", "left threads running (a, b)"),
    ],
)
def test_lines_in_words(
    configured: Callable[..., Lines], event: Event, level: str, text: str
) -> None:
    lines = configured()
    lines.events.emit(event)
    assert f" {level:<7} " in lines.last
    assert text in lines.last


def test_a_failed_run_names_its_job_and_what_comes_next(configured: Callable[..., Lines]) -> None:
    lines = configured()
    lines.events.emit(events.RunFailed("job-1", "mail.send", "mail", "ValueError: no", 1.5))
    assert lines.last.endswith("run failed: ValueError: no; again in 1.5 s [mail.send job-1]")
    assert "WARNING" in lines.last
    lines.events.emit(events.RunFailed("job-1", "mail.send", "mail", "ValueError: no", None))
    assert lines.last.endswith("not retried [mail.send job-1]")
    assert "ERROR" in lines.last


def test_an_event_as_json(configured: Callable[..., Lines]) -> None:
    lines = configured("json")
    lines.events.emit(events.RunFailed("job-1", "mail.send", "mail", "ValueError: no", 1.5))
    found = lines.json
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "taskrunner",
        "message": "run failed: ValueError: no; again in 1.5 s",
        "event": "RunFailed",
        "job_id": "job-1",
        "task": "mail.send",
        "queue": "mail",
        "error": "ValueError: no",
        "retry_in": 1.5,
    }


def test_a_line_logged_inside_a_task_names_its_job(
    configured: Callable[..., Lines], job: JobContext
) -> None:
    lines = configured()
    logging.getLogger("taskrunner.worker").info("hello")
    assert lines.last.endswith("hello [mail.send job-1]")


def test_the_same_as_json(configured: Callable[..., Lines], job: JobContext) -> None:
    lines = configured("json")
    logging.getLogger("taskrunner.worker").info("hello")
    found = lines.json
    assert (found["job_id"], found["task"], found["queue"], found["attempt"]) == (
        "job-1",
        "mail.send",
        "mail",
        2,
    )


def test_an_event_about_a_job_is_not_mixed_with_the_running_one(
    configured: Callable[..., Lines], job: JobContext
) -> None:
    lines = configured()
    lines.events.emit(events.MessageUnreadable("other", "bad bytes"))
    assert lines.last.endswith("[other]")


def test_an_exception_follows_its_line_indented(configured: Callable[..., Lines]) -> None:
    lines = configured()
    try:
        raise ValueError("inner")
    except ValueError:
        log.LOGGER.exception("outer")
    first, *rest = lines.text.splitlines()
    assert first.endswith("outer")
    assert rest[-1] == "    ValueError: inner"
    assert all(line.startswith("    ") for line in rest)


def test_an_exception_as_json_stays_on_one_line(configured: Callable[..., Lines]) -> None:
    lines = configured("json")
    try:
        raise ValueError("inner")
    except ValueError:
        log.LOGGER.exception("outer")
    assert len(lines.text.splitlines()) == 1
    assert lines.json["exception"].endswith("ValueError: inner")


def test_no_message_can_pass_for_another_line(configured: Callable[..., Lines]) -> None:
    lines = configured()
    log.LOGGER.info("bad\n2026-01-01 forged\r\x1b[31mred\x85next\u2028more")
    first, second = lines.text.split("\n")[:2]
    assert first.endswith("bad")
    assert second == r"    2026-01-01 forged\r\x1b[31mred\x85next\u2028more"


@pytest.mark.parametrize("style", ["text", "json"])
def test_passwords_are_hidden(configured: Callable[..., Lines], style: str) -> None:
    lines = configured(style)
    url = "redis://user:secret@host:1/0"
    lines.events.emit(events.BrokerLost(url, f"cannot reach {url}"))
    log.LOGGER.info("via %s", url)
    assert "secret" not in lines.text
    assert lines.text.count("user:***@host") >= 3


def test_one_unknown_task_is_one_warning(configured: Callable[..., Lines]) -> None:
    lines = configured("text", "info")
    for task in ("a", "a", "b", "a"):
        lines.events.emit(events.UnknownTaskParked(task))
    assert len(lines.text.splitlines()) == 2


def test_the_level_decides_what_is_written(configured: Callable[..., Lines]) -> None:
    lines = configured("text", "warning")
    lines.events.emit(events.NodeStopped())
    assert lines.text == ""
    lines.events.emit(events.Dump("state"))
    assert lines.last.endswith("state")


def test_an_event_of_another_program_is_shown_as_it_is(configured: Callable[..., Lines]) -> None:
    lines = configured()
    lines.events.emit(Event())
    assert lines.last.endswith("Event()")


def test_the_root_logger_is_never_touched(configured: Callable[..., Lines]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), list(root.filters)
    seen: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Handler()
    root.addHandler(handler)
    try:
        lines = configured()
        log.LOGGER.warning("ours")
        assert seen == []
        lines.restore()
        log.LOGGER.warning("theirs")
        assert [record.getMessage() for record in seen] == ["theirs"]
    finally:
        root.removeHandler(handler)
    assert (root.level, list(root.handlers), list(root.filters)) == before


def test_restore_leaves_the_logger_as_it_was() -> None:
    before = log.LOGGER.level, log.LOGGER.propagate, list(log.LOGGER.handlers)
    restore = log.configure("debug", "json", io.StringIO())
    assert log.LOGGER.level == logging.DEBUG
    assert not log.LOGGER.propagate
    restore()
    assert (log.LOGGER.level, log.LOGGER.propagate, list(log.LOGGER.handlers)) == before


def test_the_guide_lists_every_event() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "logging.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", guide, re.M)
    assert sorted(name for _, name in rows) == sorted(kind.__name__ for kind in KINDS)
    for level, name in rows:
        fixed, _ = log._LINES[getattr(events, name)]
        if isinstance(fixed, int):
            assert logging.getLevelName(fixed).lower() == level


def test_a_child_that_was_asked_to_end_is_no_error(configured: Callable[..., Lines]) -> None:
    lines = configured("text", "info")
    lines.events.emit(events.ChildDied(1, 77, 0, None, 0))
    assert lines.text == ""
    lines.events.emit(events.ChildDied(1, 77, 0, None, 2))
    assert "ERROR" in lines.last
