"""What becomes of the deliveries that a dead child held: the decisions of `verdict`, carried out."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from taskrunner import crashpoints
from taskrunner.brokers.base import OutcomeKind
from taskrunner.clock import Clock
from taskrunner.config import Config
from taskrunner.events import ChildDied, Events
from taskrunner.frames import Why
from taskrunner.supervisor import postmortem, verdict
from taskrunner.supervisor.child import Child, Held, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Exit
from taskrunner.supervisor.verdict import Death


class Burial:
    """Main thread only."""

    def __init__(
        self, *, dispatcher: Dispatcher, events: Events, config: Config, clock: Clock
    ) -> None:
        self._dispatcher = dispatcher
        self._events = events
        self._config = config
        self._clock = clock

    def bury(self, child: Child, exit_: Exit, *, by_us: bool = False) -> None:
        """Settle what it had begun, each delivery by its own verdict; what it had not started goes
        to its neighbours. `by_us`: taskrunner ended it, also where its phase does not say so."""
        if crashpoints.ARMED:
            crashpoints.reach("burial.before")
        finished, running, _ = child.split()
        self._tell(child, exit_)
        for held in finished:
            self._dispatcher.settle(held, verdict.released(held, started=True))
        for held, death in self._deaths(child, exit_, running, by_us=by_us):
            outcome = verdict.after_death(
                held, death, max_crashes=self._config.max_crashes, random=random.random
            )
            if outcome.kind in (OutcomeKind.RETRY, OutcomeKind.FAILED):
                self._events.emit(verdict.run_failed(held, outcome))
            self._dispatcher.settle(held, outcome)
        for held in (*finished, *running):
            child.release(held.delivery.number)
        self._dispatcher.abandon(child)
        child.evidence.close()
        child.page.close()
        if crashpoints.ARMED:
            crashpoints.reach("burial.after")

    def _tell(self, child: Child, exit_: Exit) -> None:
        self._events.emit(
            ChildDied(
                number=child.number,
                pid=child.pid,
                status=exit_.code if exit_.code >= 0 else None,
                signal=-exit_.code if exit_.code < 0 else None,
                held=len(child.held),
                why=child.sentence.reason if child.sentence else "",
                peak_memory_kib=exit_.peak_memory_kib,
                stacks=postmortem.without_our_frames(child.evidence.stacks()),
            )
        )

    def _deaths(
        self, child: Child, exit_: Exit, running: list[Held], *, by_us: bool
    ) -> Iterator[tuple[Held, Death]]:
        """What the death is to each run that it ended."""
        sentence = child.sentence
        by_us = by_us or (child.phase is Phase.KILLED and not (sentence and sentence.is_charged))
        stacks = postmortem.without_our_frames(child.evidence.stacks())
        now = self._clock.monotonic()
        started = {held.delivery.number: at for held, at in child.running()}
        for held in running:
            since = started.get(held.delivery.number, 0.0)
            yield (
                held,
                Death(
                    how=postmortem.how_it_ended(child, exit_),
                    why=_reason(child, held),
                    by_us=by_us,
                    is_last_call=by_us and sentence is not None,
                    alone=len(running) == 1,
                    testimony=postmortem.account(
                        stacks=stacks,
                        lines=child.evidence.lines(int(since * 1e9)),
                        ended_at=now,
                        limit=self._config.traceback_limit_bytes,
                    ),
                    at=self._clock.wall(),
                ),
            )


def _reason(child: Child, held: Held) -> Why | None:
    """For what taskrunner killed the child, where that was this run."""
    if held.interrupted and held.interrupted[0] is Why.CANCEL:
        return Why.CANCEL
    if child.killed_for and child.killed_for[0] == held.delivery.number:
        return child.killed_for[1]
    return None


def is_alive(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has waited for yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            text = stat.read()
        return text[text.rfind(")") + 2] not in "ZX"
    except FileNotFoundError:
        pass
    except OSError:
        return False
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
