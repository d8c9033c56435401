"""How often children have died, and what follows from it: a replacement now, later, or none."""

from __future__ import annotations

from collections.abc import Sequence

from taskrunner.errors import StartError
from taskrunner.supervisor import health
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.generation import Exit
from taskrunner.supervisor.postmortem import start_failed
from taskrunner.worker.evidence import Line


class Restarts:
    """The deaths of one node's children since one of them last finished a job."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._at_start = 0

    def job_was_done(self) -> None:
        """Children can work: what died before does not count any more."""
        self._in_a_row = self._at_start = 0

    def delay_after(self, child: Child, exit_: Exit, said: Sequence[Line]) -> float:
        """Seconds to wait before this child is replaced. `said`: its last lines. Raises StartError
        when no replacement can be expected to do better."""
        was_ready = child.phase is not Phase.STARTING
        self._in_a_row += 1
        self._at_start += not was_ready
        decision = health.after_exit(
            was_ready=was_ready, deaths_in_a_row=self._in_a_row, start_deaths=self._at_start
        )
        if decision.give_up:
            raise StartError(start_failed(self._at_start, exit_, said))
        return decision.delay
