from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner import App, JobFailed
from taskrunner.errors import OptionError, Reject, Retry
from taskrunner.message import Header
from taskrunner.retry import (
    Backoff,
    Policy,
    after_crash,
    after_failure,
    after_timeout,
    helps,
)


def always_one() -> float:
    return 1.0


def test_the_delay_grows_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(initial=1, factor=2, maximum=5, jitter=False)
    assert [backoff.delay(n, always_one) for n in range(5)] == [1, 2, 4, 5, 5]


def test_jitter_takes_a_random_part_of_the_whole_delay() -> None:
    backoff = Backoff(initial=4, jitter=True)
    assert backoff.delay(1, lambda: 0.25) == 2.0
    assert backoff.delay(1, lambda: 0.0) == 0.0


@given(st.integers(0, 10**9), st.floats(0, 0.999))
def test_no_delay_is_over_the_maximum_however_many_failures(failures: int, part: float) -> None:
    assert 0 <= Backoff(factor=3.5).delay(failures, lambda: part) <= 600


def test_without_an_initial_delay_there_is_none_ever() -> None:
    assert Backoff(initial=0, jitter=False).delay(10**6, always_one) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"initial": -1},
        {"initial": True},
        {"factor": 0.5},
        {"maximum": float("inf")},
        {"maximum": "60"},
        {"jitter": 1},
    ],
)
def test_a_backoff_that_makes_no_sense_is_refused_by_name(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(OptionError, match=name):
        Backoff(**values)


def test_a_policy_without_overrides_is_itself() -> None:
    policy = Policy()
    assert policy.overridden(Header("t")) is policy


def test_a_header_overrides_what_it_names() -> None:
    header = Header("t", timeout=5.0, backoff=(2.0, 3.0, 4.0, False), retry_on=())
    expected = Policy(timeout=5.0, backoff=Backoff(2.0, 3.0, 4.0, False), retry_on=())
    assert Policy(retention=7.0).overridden(header) == Policy(
        expected.timeout, expected.retries, expected.backoff, expected.retry_on, 7.0
    )


def test_a_policy_survives_its_packing() -> None:
    policy = Policy(1.5, 2, Backoff(1, 2, 3, False), ("a.B",), 0.0)
    assert Policy.unpack(policy.pack()) == policy


def test_an_error_is_retried_until_the_retries_are_used_up() -> None:
    policy = Policy(retries=2, backoff=Backoff(jitter=False))
    decisions = [after_failure(policy, before, ValueError(), always_one) for before in range(3)]
    assert [found.retry for found in decisions] == [True, True, False]
    assert [found.delay for found in decisions[:2]] == [1, 2]
    assert decisions[2].reason == "error"


def test_only_errors_named_by_retry_on_are_retried_and_their_subclasses() -> None:
    policy = Policy(retry_on=("builtins.OSError",))
    assert after_failure(policy, 0, FileNotFoundError(), always_one).retry
    assert not after_failure(policy, 0, ValueError(), always_one).retry
    assert not after_failure(Policy(), 0, SystemExit(), always_one).retry


def test_a_timeout_is_retried_whatever_retry_on_says() -> None:
    policy = Policy(retries=1, retry_on=())
    assert after_timeout(policy, 0, always_one).retry
    assert after_timeout(policy, 1, always_one).reason == "timeout"


def test_a_crash_runs_again_at_once_until_there_were_too_many() -> None:
    assert [after_crash(before, 3).retry for before in range(4)] == [True, True, False, False]
    assert after_crash(0, 3).delay == 0
    assert after_crash(2, 3).reason == "crashed"


def test_retry_carries_its_delay_and_whether_it_counts() -> None:
    assert (Retry().delay, Retry().count) == (None, True)
    assert (Retry(delay=5, count=False).delay, Retry(delay=5, count=False).count) == (5, False)


@pytest.mark.parametrize("delay", [-1, True, float("nan"), "5"])
def test_retry_with_a_delay_that_is_none_is_refused(delay: Any) -> None:
    with pytest.raises(OptionError, match="Retry"):
        Retry(delay=delay)


def test_reject_says_why() -> None:
    assert Reject("bad address").reason == "bad address"


# -- which errors


def is_busy(error: Exception) -> bool:
    return getattr(error, "status", None) == 429


class Busy(Exception):
    status = 429


class Gone(ConnectionError):
    status = 410


def test_what_is_given_up_is_stronger_than_what_is_retried() -> None:
    policy = Policy(retry_on=("builtins.OSError",), give_up_on=("builtins.FileNotFoundError",))
    assert helps(policy, PermissionError())
    assert not helps(policy, FileNotFoundError())


def test_predicates_are_asked_besides_the_classes() -> None:
    policy = Policy(retry_on=("builtins.OSError",), retry_if=(is_busy,))
    assert helps(policy, OSError())
    assert helps(policy, Busy())
    assert not helps(policy, ValueError())
    assert not helps(replace(policy, give_up_if=(is_busy,)), Busy())
    assert not helps(policy, SystemExit())


def test_a_predicate_that_fails_gives_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: Exception) -> bool:
        raise KeyError("status")

    assert helps(Policy(give_up_if=(broken,)), ValueError())
    assert helps(Policy(retry_on=(), retry_if=(broken,)), ValueError())
    assert caplog.text.count("which judges errors of a task, raised one") == 2


def test_what_is_said_of_one_job_stands_instead_of_what_its_task_says() -> None:
    policy = Policy(retry_if=(is_busy,), give_up_if=(is_busy,))
    found = policy.overridden(Header("t", retry_on=("builtins.OSError",)))
    assert (found.retry_on, found.retry_if) == (("builtins.OSError",), ())
    assert found.give_up_if == (is_busy,)
    found = policy.overridden(Header("t", give_up_on=()))
    assert (found.give_up_if, found.retry_if) == ((), (is_busy,))


def test_a_task_may_be_declared_with_functions_and_a_job_may_not_be_submitted_with_them() -> None:
    app = App("memory://")

    @app.task(name="t", retry_on=(ConnectionError, is_busy), give_up_on=Gone)
    def call() -> None: ...

    policy = app.policy("t")
    assert (policy.retry_on, policy.retry_if) == (("builtins.ConnectionError",), (is_busy,))
    assert policy.give_up_on == (f"{__name__}.Gone",)
    header = call.options(retry_on=ValueError, give_up_on="a.B").message().header
    assert (header.retry_on, header.give_up_on) == (("builtins.ValueError",), ("a.B",))
    for option in ("retry_on", "give_up_on"):
        options: Any = {option: is_busy}
        with pytest.raises(OptionError, match=f"{option} with a function"):
            call.options(**options)
        with pytest.raises(OptionError, match=f"{option} with a function"):
            app.enqueue("t", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retry_on": lambda: True}, "a function of one argument"),
        ({"retry_on": lambda a, b: True}, "a function of one argument"),
        ({"give_up_on": 5}, "give_up_on=5: expected exception classes"),
        ({"give_up_on": ["not a name"]}, "give_up_on='not a name'"),
        ({"retry_on": int}, "retry_on=<class 'int'>"),
        ({"retry_on": OSError, "give_up_on": OSError}, "both name builtins.OSError"),
    ],
)
def test_errors_that_are_none(options: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        App("memory://").task(name="t", **options)


async def judge(error: Exception) -> bool:
    return True


def test_a_judge_is_a_plain_function() -> None:
    options: Any = {"retry_on": judge}
    with pytest.raises(OptionError, match="retry_on=<function judge"):
        App("memory://").task(name="t", **options)


def test_runs_are_judged_where_they_run() -> None:
    app = App("memory://")

    @app.task(
        name="t",
        retries=3,
        backoff=Backoff(initial=0.001, jitter=False),
        retry_on=(is_busy, ConnectionError),
        give_up_on=(Gone, lambda error: "never" in str(error)),
    )
    def fail(which: str) -> None:
        raise {"busy": Busy(), "gone": Gone(), "value": ValueError(), "never": Busy("never")}[which]

    with app.running(threads=2):
        attempts = {}
        for which in ("busy", "gone", "value", "never"):
            job = fail.enqueue(which)
            with pytest.raises(JobFailed):
                job.result(timeout=20)
            attempts[which] = job.info().attempt
        once = fail.options(give_up_on=Busy).enqueue("busy")
        with pytest.raises(JobFailed):
            once.result(timeout=20)
        attempts["by call"] = once.info().attempt
    assert attempts == {"busy": 4, "gone": 1, "value": 1, "never": 1, "by call": 1}
