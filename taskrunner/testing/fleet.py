"""Real nodes for tests: `python -m taskrunner run`, as users run it, in a namespace of its own.

    with Fleet("shop.tasks:app", broker=redis_url, folder=tmp_path) as fleet:
        node = fleet.start("--processes", "2")
        job = fleet.app().enqueue("shop.receipt", args=(7,))
        kill(node.children[0])
        assert job.result(timeout=20)

Nothing of it outlives the block, whatever was killed or stopped in between.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskrunner.app import App
from taskrunner.testing.crash import CrashAt
from taskrunner.testing.processes import (
    children_of,
    descendants,
    fork_server_of,
    kill,
    pause,
    resume,
    with_environ,
)


class Node(subprocess.Popen[bytes]):
    """A supervisor's process: everything of `subprocess.Popen`, and what one wants to know."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log_path: Path
    ) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            super().__init__(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """What it and its children have written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def fork_server(self) -> int:
        """Its pid. Raises LookupError while there is none."""
        return fork_server_of(self.pid)

    @property
    def children(self) -> list[int]:
        """Pids of the processes that run jobs."""
        return children_of(self.pid)

    @property
    def below(self) -> list[int]:
        """Pids of everything it has started, what its tasks have started too."""
        return descendants(self.pid)

    def pause(self) -> None:
        """SIGSTOP, to the supervisor alone."""
        pause(self.pid)

    def resume(self) -> None:
        resume(self.pid)

    def stop(self, *, timeout: float = 30.0) -> int:
        """TERM; its exit status. Raises subprocess.TimeoutExpired."""
        self.terminate()
        return self.wait(timeout)

    def crash(self) -> None:
        """SIGKILL, to the supervisor alone."""
        self.kill()
        self.wait()


class Fleet:
    """Nodes of one application on one broker.

    `target` is `module:attribute`, found from `root` (the current folder by default). The
    application's own broker and namespace are overridden by those given here unless it names them
    in code. `environ` is added to every node's environment; `folder` gets the logs.
    """

    def __init__(
        self,
        target: str,
        *,
        broker: str,
        folder: Path,
        namespace: str | None = None,
        root: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.target = target
        self.url = broker
        self.folder = folder
        self.namespace = namespace or f"t{uuid.uuid4().hex[:8]}"
        self.nodes: list[Node] = []
        self._apps: list[App] = []
        self._root = root or Path.cwd()
        self._environ = dict(environ or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every node, and of a client that should use the same store."""
        return {
            **os.environ,
            "TASKRUNNER_BROKER": self.url,
            "TASKRUNNER_NAMESPACE": self.namespace,
            **self._environ,
        }

    def start(
        self, *options: str, target: str | None = None, crash: CrashAt | None = None, **environ: str
    ) -> Node:
        """Start a node with these options of `taskrunner run`. `crash` is armed in its processes
        and in those of no other node."""
        armed = crash.environ if crash is not None else {}
        node = Node(
            [sys.executable, "-m", "taskrunner", "run", target or self.target, *options],
            cwd=self._root,
            env={**self.environ, **armed, **environ},
            log_path=self.folder / f"node-{len(self.nodes)}.log",
        )
        self.nodes.append(node)
        return node

    def log(self, number: int = 0) -> str:
        """What that node has written so far."""
        return self.nodes[number].log

    def app(self) -> App:
        """A client of the same store, which knows no tasks: jobs are submitted by name."""
        return self.app_with()

    def app_with(self, **settings: Any) -> App:
        """The same with settings of its own. It is closed when the fleet ends."""
        app = App(self.url, namespace=self.namespace, **settings)
        self._apps.append(app)
        return app

    def end(self) -> None:
        """Kill what is left of every node, stopped or not, and of what a killed one left behind."""
        for node in self.nodes:
            if node.poll() is None:
                node.kill()
            node.wait()
        kill(*self.left_behind())
        for app in self._apps:
            app.close()

    def left_behind(self) -> list[int]:
        """Pids of what lives with this fleet's environment, nodes and whatever they started."""
        return with_environ("TASKRUNNER_NAMESPACE", self.namespace)
