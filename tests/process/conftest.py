"""A node of its own for each test: `python -m taskrunner run` on a private namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from taskrunner import App
from taskrunner.testing.waiting import eventually

ROOT = Path(__file__).parents[2]
TARGET = "tests.process.apps.basic:app"


@dataclass
class Fleet:
    """Starts nodes, and leaves none behind."""

    url: str
    namespace: str
    folder: Path
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "TASKRUNNER_BROKER": self.url,
            "TASKRUNNER_TEST_NAMESPACE": self.namespace,
        }

    def start(self, *options: str, target: str = TARGET, **environ: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"node-{len(self.nodes)}.log").open("wb")
        with log:
            node = subprocess.Popen(
                [sys.executable, "-m", "taskrunner", "run", target, *options],
                cwd=ROOT,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.nodes.append(node)
        return node

    def log(self, number: int = 0) -> str:
        return (self.folder / f"node-{number}.log").read_text(errors="replace")

    def app(self) -> App:
        """A client of the same store, which knows the tasks by name."""
        from tests.process.apps import basic

        app = App(self.url, namespace=self.namespace)
        for name, task in basic.app.tasks.items():
            app.task(name=name)(task.fn)
        return app

    def end(self) -> None:
        for node in self.nodes:
            if node.poll() is None:
                node.send_signal(signal.SIGCONT)
                node.kill()
            node.wait()


def descendants(pid: int) -> list[int]:
    """Processes below this one, nearest first."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    near = [child for child in pids if parent_of(child) == pid]
    return near + [below for child in near for below in descendants(child)]


def parent_of(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent = text[text.rfind(")") + 2 :].split()[:2]
    return None if state in "ZX" else int(parent)


def fork_server_of(pid: int) -> int:
    """The supervisor's only child of its own."""
    return next(p for p in descendants(pid) if parent_of(p) == pid)


def children_of(pid: int) -> list[int]:
    server = fork_server_of(pid)
    return [p for p in descendants(server) if parent_of(p) == server]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def fleet(redis_server: object, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(str(redis_server.url), f"t{uuid.uuid4().hex[:8]}", tmp_path)  # type: ignore[attr-defined]
    try:
        yield fleet
    finally:
        fleet.end()


__all__ = ["children_of", "descendants", "eventually", "fork_server_of", "lines"]
