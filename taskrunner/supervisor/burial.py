"""What becomes of the deliveries that a dead child held: the decisions of `verdict`, carried out."""

from __future__ import annotations

import os
import random

from taskrunner import crashpoints
from taskrunner.events import ChildDied, Events
from taskrunner.frames import Why
from taskrunner.supervisor import verdict
from taskrunner.supervisor.child import Child, Held, Phase
from taskrunner.supervisor.dispatch import Dispatcher
from taskrunner.supervisor.generation import Exit


class Burial:
    """Main thread only."""

    def __init__(self, *, dispatcher: Dispatcher, events: Events, max_crashes: int) -> None:
        self._dispatcher = dispatcher
        self._events = events
        self._max_crashes = max_crashes

    def bury(self, child: Child, exit_: Exit, *, by_us: bool = False) -> None:
        """Settle what it had begun, each delivery by its own verdict; what it had not started goes
        to its neighbours. `by_us`: taskrunner ended it, also where its phase does not say so."""
        if crashpoints.ARMED:
            crashpoints.reach("burial.before")
        finished, running, _ = child.split()
        self._events.emit(
            ChildDied(
                number=child.number,
                pid=child.pid,
                status=exit_.code if exit_.code >= 0 else None,
                signal=-exit_.code if exit_.code < 0 else None,
                held=len(child.held),
            )
        )
        by_us = by_us or child.phase is Phase.KILLED
        for held in finished:
            self._dispatcher.settle(held, verdict.released(held, started=True))
        for held in running:
            outcome = verdict.after_death(
                held,
                why=_reason(child, held),
                by_us=by_us,
                alone=len(running) == 1,
                how=_how(child, exit_),
                max_crashes=self._max_crashes,
                random=random.random,
            )
            self._dispatcher.settle(held, outcome)
        for held in (*finished, *running):
            child.release(held.delivery.number)
        self._dispatcher.abandon(child)
        child.page.close()
        if crashpoints.ARMED:
            crashpoints.reach("burial.after")


def _reason(child: Child, held: Held) -> Why | None:
    """For what taskrunner killed the child, where that was this run."""
    if held.interrupted and held.interrupted[0] is Why.CANCEL:
        return Why.CANCEL
    if child.killed_for and child.killed_for[0] == held.delivery.number:
        return child.killed_for[1]
    return None


def _how(child: Child, exit_: Exit) -> str:
    if child.channel.refused:
        return f"it was killed because something in it wrote to its pipe: {child.channel.refused}"
    return str(exit_)


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
