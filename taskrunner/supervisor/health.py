"""Deciding what to do about a child, as pure functions; doing it is the pool's."""

from __future__ import annotations

from dataclasses import dataclass

BEATS_MISSED_S = 3.0
"""Of silence, after which a child is looked at. It beats once a second."""
START_DEATHS_ACCEPTED = 5
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the replacement after `delay` seconds, or give up."""

    delay: float
    give_up: bool = False


def after_exit(*, was_ready: bool, deaths_in_a_row: int, start_deaths: int) -> Restart:
    """What to do when a child has died.

    `deaths_in_a_row` counts deaths since a job was last finished, `start_deaths` those of children
    that never became ready. The first replacement is immediate; then it backs off; a crash loop at
    start ends in a clear error, since no later try can be expected to go better.
    """
    if not was_ready and start_deaths >= START_DEATHS_ACCEPTED:
        return Restart(0.0, give_up=True)
    if deaths_in_a_row <= 1:
        return Restart(0.0)
    return Restart(min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(deaths_in_a_row - 2, 10)))


@dataclass(frozen=True, slots=True)
class Sentence:
    """Why taskrunner kills a child, where that is not for one job."""

    reason: str
    is_charged: bool
    """what runs in it is to blame"""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for which a silent child is left alone."""

    stopped_s: float
    blocked_s: float
    busy_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A child that was not heard for a while, as the system has seen it meanwhile."""

    lasts_s: float
    stopped_s: float
    """for which it has been stopped by a signal, without a break"""
    idle_s: float
    """since it last wanted a processor"""
    is_limited: bool
    """everything that runs in it has a time limit, which will be enforced"""


def after_silence(silence: Silence, patience: Patience) -> Sentence | None:
    """What to do about a silent child; None: wait.

    *Stopped*: somebody sent it a signal. *Blocked*: it does not want a processor either, so something
    holds the interpreter lock and waits, or hangs in a call. *Busy*: it computes and does not let go
    of the lock; for that it has until its time limit.
    """
    if silence.stopped_s > 0:
        if silence.stopped_s < patience.stopped_s:
            return None
        text = f"it had been stopped by a signal for {silence.stopped_s:.0f} s"
    elif silence.idle_s >= patience.blocked_s:
        text = (
            f"it had given no sign of life for {silence.lasts_s:.0f} s, and used no processor: what "
            "ran in it held the interpreter lock and waited"
        )
    elif silence.lasts_s >= patience.busy_s and not silence.is_limited:
        text = (
            f"it had given no sign of life for {silence.lasts_s:.0f} s, and computed: what ran in it "
            "did not let go of the interpreter lock, and had no time limit"
        )
    else:
        return None
    return Sentence(text, is_charged=True)
