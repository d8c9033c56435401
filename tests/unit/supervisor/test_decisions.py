"""Restarts and verdicts: values in, values out."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner.brokers.base import Blame, Delivery, Outcome, OutcomeKind
from taskrunner.frames import Why
from taskrunner.message import ErrorInfo
from taskrunner.retry import Policy
from taskrunner.supervisor import health, verdict
from taskrunner.supervisor.child import Held
from taskrunner.supervisor.durations import UNKNOWN_S, Durations
from taskrunner.supervisor.verdict import Death


def held(**fields: Any) -> Held:
    delivery = Delivery("q", "id", "node", 7, b"", 0, 0, 0, 0, None, None)._replace(**fields)
    return Held(delivery, "mail.send", Policy(retries=1), 0.0, 2.0)


def death(of: Held, **fields: Any) -> Outcome:
    how = Death(how="died: signal SIGKILL", testimony="where it was", at=7.0, **fields)
    return verdict.after_death(of, how, max_crashes=3, random=lambda: 1.0)


def test_a_crash_is_run_again_at_once_and_is_no_failure() -> None:
    outcome = death(held())
    assert (outcome.kind, outcome.delay, outcome.blame) == (OutcomeKind.RETRY, 0.0, Blame.CRASH)
    assert outcome.error is not None
    assert "SIGKILL" in ErrorInfo.unpack(outcome.error).message


def test_the_last_crash_fails_the_job_with_its_reason() -> None:
    outcome = death(held(crashes=2))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "crashed")


def test_each_of_several_is_a_suspect_however_often_it_was_charged_before() -> None:
    outcome = death(held(crashes=2), alone=False)
    assert (outcome.kind, outcome.delay, outcome.blame) == (OutcomeKind.RETRY, 0.0, Blame.SUSPICION)
    assert outcome.error is not None
    assert ErrorInfo.unpack(outcome.error).type == "died"


@pytest.mark.parametrize(("failures", "kind"), [(0, OutcomeKind.RETRY), (1, OutcomeKind.FAILED)])
def test_a_kill_for_the_timeout_counts_as_an_error(failures: int, kind: OutcomeKind) -> None:
    outcome = death(held(failures=failures), why=Why.TIMEOUT)
    assert (outcome.kind, outcome.blame) == (kind, Blame.FAILURE)


def test_a_kill_for_a_cancel_cancels() -> None:
    assert death(held(), why=Why.CANCEL).kind is OutcomeKind.CANCELLED


def test_who_runs_beside_the_guilty_is_not_charged() -> None:
    outcome = death(held(), by_us=True)
    assert (outcome.kind, outcome.started) == (OutcomeKind.RELEASED, True)
    assert outcome.blame is Blame.NOBODY


def test_the_first_replacement_is_immediate_then_it_backs_off() -> None:
    delays = [
        health.after_exit(was_ready=True, deaths_in_a_row=n, start_deaths=0).delay
        for n in range(1, 12)
    ]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[-1] == health.BACKOFF_MOST_S


def test_a_crash_loop_at_start_ends() -> None:
    assert not health.after_exit(was_ready=False, deaths_in_a_row=4, start_deaths=4).give_up
    assert health.after_exit(was_ready=False, deaths_in_a_row=5, start_deaths=5).give_up


PATIENCE = health.Patience(stopped_s=10.0, blocked_s=60.0, busy_s=300.0)


def sentence(**fields: Any) -> str | None:
    """What is decided about a child that has been silent for long."""
    defaults = {"lasts_s": 1000.0, "stopped_s": 0.0, "idle_s": 0.0, "is_limited": False}
    found = health.after_silence(health.Silence(**{**defaults, **fields}), PATIENCE)
    assert found is None or found.is_charged
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"lasts_s": 299.0}, None),
        ({"lasts_s": 301.0}, "computed"),
        ({"is_limited": True}, None),
        ({"lasts_s": 59.0, "idle_s": 59.0}, None),
        ({"lasts_s": 61.0, "idle_s": 61.0}, "interpreter lock and waited"),
        ({"idle_s": 61.0, "is_limited": True}, "interpreter lock and waited"),
        ({"lasts_s": 9.0, "stopped_s": 9.0}, None),
        ({"lasts_s": 11.0, "stopped_s": 11.0}, "stopped by a signal for 11 s"),
        ({"idle_s": 61.0, "stopped_s": 9.0}, None),
    ],
)
def test_silence_alone_kills_nobody(fields: dict[str, Any], word: str | None) -> None:
    found = sentence(**fields)
    assert word in found if word and found else found is word


def test_a_task_is_taken_for_slow_until_it_has_run() -> None:
    durations = Durations()
    assert durations.expect("a") == UNKNOWN_S
    durations.learn([("a", 0.001), ("a", 0.003)])
    assert 0.002 <= durations.expect("a") < 0.0021
    durations.learn([("a", 1.0)])
    assert durations.expect("a") > 0.15
