"""A node of its own for each test: `python -m taskrunner run` on a private namespace."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import App
from taskrunner.testing import fleet as kit
from taskrunner.testing.processes import children_of, descendants, fork_server_of
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually

ROOT = Path(__file__).parents[2]
TARGET = "tests.process.apps.basic:app"


class Fleet(kit.Fleet):
    """Nodes of the application that the process tests run."""

    def __init__(self, url: str, namespace: str, folder: Path, *, target: str = TARGET) -> None:
        super().__init__(
            target,
            broker=url,
            folder=folder,
            namespace=namespace,
            root=ROOT,
            environ={"TASKRUNNER_TEST_NAMESPACE": namespace},
        )

    def app(self) -> App:
        """A client of the same store, which knows the tasks by name."""
        from tests.process.apps import basic

        app = super().app()
        for name, task in basic.app.tasks.items():
            app.task(name=name)(task.fn)
        return app


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def fleet(redis_server: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(redis_server.url, f"t{uuid.uuid4().hex[:8]}", tmp_path) as fleet:
        yield fleet


__all__ = ["children_of", "descendants", "eventually", "fork_server_of", "lines"]
