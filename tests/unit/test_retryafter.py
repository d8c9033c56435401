"""When a remote service says to come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from taskrunner import App, OptionError, current_job, retry_after

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
EARLIER = "Wed, 21 Oct 2026 07:27:30 GMT"


def response(**headers: Any) -> Any:
    return SimpleNamespace(headers={name.replace("_", "-"): v for name, v in headers.items()})


@pytest.mark.parametrize(
    ("source", "delay"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        (7, 7.0),
        (b"3", 3.0),
        ({"RETRY-AFTER": "4"}, 4.0),
        ({b"retry-after": b"4"}, 4.0),
        (response(Retry_After="5"), 5.0),
        (response(Retry_After=DATE, Date=EARLIER), 30.0),
        (response(Retry_After=EARLIER, Date=DATE), 0.0),
        ("Wed, 21 Oct 1998 07:28:00 GMT", 0.0),
        ("999999999999", 3600.0),
        ("Wed, 21 Oct 2399 07:28:00 GMT", 3600.0),
        (response(), None),
        (response(Retry_After="soon"), None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Wed, 99 Foo 2026", None),
    ],
)
def test_what_is_understood(source: Any, delay: float | None) -> None:
    found = retry_after(source)
    assert (found.delay, found.count) == (delay, False)


def test_a_date_without_one_beside_it_counts_from_now() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (retry_after(at).delay or 0) <= 100


def test_bounds_and_defaults() -> None:
    assert retry_after("100", maximum=30).delay == 30
    assert retry_after({}, default=9).delay == 9
    assert retry_after({}, default=90, maximum=30).delay == 30
    assert retry_after("1", count=True).count


@pytest.mark.parametrize(
    ("source", "options"),
    [(None, {}), (object(), {}), (True, {}), ("1", {"maximum": -1}), ("1", {"default": "x"})],
)
def test_what_is_refused(source: Any, options: Any) -> None:
    with pytest.raises(OptionError, match="retry_after"):
        retry_after(source, **options)


def test_a_task_comes_back() -> None:
    app = App("memory://")

    @app.task(name="t", retries=0)
    def poll() -> int:
        if current_job().attempt < 4:
            raise retry_after({"Retry-After": "0.01"})
        return current_job().attempt

    with app.running(threads=1):
        assert poll.enqueue().result(timeout=20) == 4
