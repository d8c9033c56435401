"""Deciding what to do about a child, as pure functions; doing it is the pool's."""

from __future__ import annotations

from dataclasses import dataclass

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
