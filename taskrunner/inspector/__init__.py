"""What operators ask of a running system: the same answers for command line, API and dashboard.

from taskrunner.inspector import Inspector

report = Inspector(app).doctor()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskrunner.inspector.doctor import Doctor, Report
from taskrunner.options import validate_queue_name

if TYPE_CHECKING:
    from taskrunner.app import App

__all__ = ["Inspector", "Report"]


class Inspector:
    """An operator's questions and actions, for the broker of an App."""

    def __init__(self, app: App) -> None:
        self._app = app

    def doctor(self, queues: Sequence[str] | None = None, *, repair: bool = False) -> Report:
        """Audit the store, or these queues of it, while nodes go on; with `repair` what is found is
        mended in the step that finds it.

        Raises BrokerUnavailable, OptionError for what cannot be a queue, and BrokerError inside a
        task whose broker lives in its supervisor.
        """
        named = None if queues is None else [validate_queue_name(name, "queues") for name in queues]
        return Doctor(self._app.broker).examine(named, repair=repair)
