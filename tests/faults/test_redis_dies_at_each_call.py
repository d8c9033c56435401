"""Redis is killed at each call that a node or a client makes, with jobs in flight.

One node lives through all of it. It keeps its children, so nothing but the store dies: every job runs
exactly once, whatever the node could not know.

    client ─┐
            ├─▶ proxy, holds the request or its reply ─▶ Redis (every write synced), killed now
    node  ──┘
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner import App, Job, State
from taskrunner.brokers.base import Command
from taskrunner.testing import fleet as kit
from taskrunner.testing.proxy import Fault, Proxy
from taskrunner.testing.redis_server import RedisServer
from taskrunner.testing.waiting import eventually
from taskrunner.testing.wire import script
from tests.process.apps.campaign import declare
from tests.process.conftest import ROOT, lines

BY_NODE = (
    *("fetch", "settle", "note", "beat", "announce", "due", "promote", "nodes", "reap", "sweep"),
    *("join", "commands"),
)
PATIENCE_S = 40


class Siege:
    """A node and a client behind the proxy, and a Redis that dies."""

    def __init__(self, server: RedisServer, proxy: Proxy, folder: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.out = folder / "out"
        self.client = declare(App(proxy.url, namespace="siege"))
        self._folder = folder
        self.round = 0
        self._jobs: list[Job[object]] = []

    @property
    def job(self) -> Job[object]:
        """The one submitted last."""
        return self._jobs[-1]

    def lay(self, containing: tuple[bytes, ...], *, executed: bool) -> Fault:
        """Hold the next such request, or let it through and hold its reply."""
        if executed:
            return self.proxy.half_reply(after=containing, keep=0)
        return self.proxy.hold_request(containing=containing)

    def submit_one(self) -> None:
        self.round += 1
        self._jobs.append(
            self.client.enqueue(
                "append", args=(str(self.out), f"{self.round} one"), queue=f"queue-{self.round}"
            )
        )

    def submit(self) -> None:
        """Jobs that make a node do all that it can do."""
        self.round += 1
        tasks, out, mark = self.client.tasks, str(self.out), f"{self.round}"
        append, linger = tasks["append"], tasks["linger"]
        messages = [append.message(out, f"{mark} {n}") for n in range(20)]
        messages += [append.options(delay=0.1).message(out, f"{mark} late {n}") for n in range(3)]
        messages += [linger.message(out, f"{mark} slow {n}") for n in range(2)]
        # A queue that nobody knew has its node join it, and keep house.
        messages.append(append.options(queue=f"queue-{mark}").message(out, f"{mark} new"))
        self._jobs += self.client.enqueue_many(messages)

    def die(self) -> None:
        """Redis dies and comes back; what hung in the proxy is cut off."""
        self.server.kill()
        self.server.start()
        self.proxy.cut()
        self.proxy.heal()

    def survive(self) -> None:
        """Everything that was submitted runs, once."""
        eventually(
            lambda: all(job.state() is State.SUCCEEDED for job in self._jobs),
            timeout=PATIENCE_S,
            message="every job succeeds",
        )
        ran = Counter(lines(self.out))
        assert {line: times for line, times in ran.items() if times != 1} == {}
        assert len(ran) == len(self._jobs)

    def send(self) -> None:
        (node,) = self.client.broker.nodes()
        assert self.client.broker.send(node.id, Command.new("dump"))


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    folder = tmp_path_factory.mktemp("siege")
    with (
        RedisServer(appendonly=True) as server,
        Proxy(server.url) as proxy,
        kit.Fleet(
            "tests.process.apps.campaign:app",
            broker=proxy.url,
            folder=folder,
            namespace="siege",
            root=ROOT,
            environ={"TASKRUNNER_TEST_NAMESPACE": "siege"},
        ) as fleet,
    ):
        node = fleet.start("--processes", "2", "--lease", "3")
        siege = Siege(server, proxy, folder)
        eventually(siege.client.broker.nodes, timeout=20)
        children = eventually(lambda: node.children, timeout=20)
        yield siege
        assert node.children == children
        assert node.poll() is None
        assert "Traceback" not in node.log
        siege.client.close()


@pytest.mark.parametrize("executed", [False, True], ids=["asked", "executed"])
@pytest.mark.parametrize("name", BY_NODE)
def test_a_redis_that_dies_at_a_nodes_call_repeats_no_job(
    siege: Siege, name: str, executed: bool
) -> None:
    fault = siege.lay(script(name), executed=executed)
    siege.submit()
    if name == "commands":
        siege.send()
    fault.wait(PATIENCE_S)
    siege.die()
    siege.submit()
    siege.survive()


@pytest.mark.parametrize("keep", [0, 3], ids=["lost", "cut short"])
@pytest.mark.parametrize("name", BY_NODE)
def test_a_reply_that_does_not_arrive_repeats_no_job(siege: Siege, name: str, keep: int) -> None:
    fault = siege.proxy.half_reply(after=script(name), keep=keep, cut=True)
    siege.submit()
    if name == "commands":
        siege.send()
    fault.wait(PATIENCE_S)
    siege.survive()


@pytest.mark.parametrize("executed", [False, True], ids=["asked", "executed"])
@pytest.mark.parametrize("name", ["register", "enqueue", "get", "watch"])
def test_a_client_rides_out_a_redis_that_dies_at_its_call(
    siege: Siege, name: str, executed: bool
) -> None:
    """It submits and waits, knowing nothing of what happens; its job runs once."""
    fault = siege.lay(script(name), executed=executed)

    def kill() -> None:
        fault.wait(PATIENCE_S)
        siege.die()

    killer = threading.Thread(target=kill)
    killer.start()
    siege.submit_one()
    assert siege.job.result(timeout=PATIENCE_S) == f"{siege.round} one"
    killer.join()
    siege.survive()
