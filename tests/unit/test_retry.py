from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.errors import OptionError, Reject, Retry
from taskrunner.message import Header
from taskrunner.retry import (
    Backoff,
    Policy,
    after_crash,
    after_failure,
    after_timeout,
    error_types,
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
    types = error_types(ValueError())
    decisions = [after_failure(policy, before, types, always_one) for before in range(3)]
    assert [found.retry for found in decisions] == [True, True, False]
    assert [found.delay for found in decisions[:2]] == [1, 2]
    assert decisions[2].reason == "error"


def test_only_errors_named_by_retry_on_are_retried_and_their_subclasses() -> None:
    policy = Policy(retry_on=("builtins.OSError",))
    assert after_failure(policy, 0, error_types(FileNotFoundError()), always_one).retry
    assert not after_failure(policy, 0, error_types(ValueError()), always_one).retry
    assert not after_failure(Policy(), 0, error_types(SystemExit()), always_one).retry


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
