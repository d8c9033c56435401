"""What operators ask of a running system: the same answers for command line, API and dashboard.

from taskrunner.inspector import Inspector

inspector = Inspector(app)
report = inspector.doctor()
inspector.control(inspector.nodes()[0].id, "reload")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskrunner.brokers.base import NodeInfo
from taskrunner.errors import NodeNotFound, OptionError
from taskrunner.inspector.doctor import Doctor, Report
from taskrunner.inspector.nodes import Action, Nodes
from taskrunner.options import validate_queue_name

if TYPE_CHECKING:
    from taskrunner.app import App

__all__ = ["Action", "Inspector", "Report"]


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

    def nodes(self) -> list[NodeInfo]:
        """The nodes of the namespace, as they were at their last beat. Raises BrokerUnavailable."""
        return Nodes(self._app.broker).present()

    def control(self, node: str | None, action: Action | str) -> list[NodeInfo]:
        """Tell a node (its id, or how that begins), or every one (None), to grow, shrink, reload,
        stop or dump; those that were told.

        Raises NodeNotFound, OptionError where several nodes begin so or nobody does that,
        BrokerUnavailable.
        """
        try:
            wanted = Action(action)
        except ValueError:
            raise OptionError(f"action={action!r}: expected one of {', '.join(Action)}") from None
        nodes = Nodes(self._app.broker)
        asked = nodes.present() if node is None else [nodes.find(node)]
        told = nodes.tell(asked, wanted)
        if asked and not told:
            raise NodeNotFound(f"node {asked[0].id} is gone")
        return told
