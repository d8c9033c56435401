"""Silent children are looked at, and only they; what is held against one is what was seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import pytest

from taskrunner.config import Config
from taskrunner.supervisor.checkup import Checkup
from taskrunner.supervisor.child import Child, Phase
from taskrunner.supervisor.generation import Generation
from taskrunner.supervisor.vitals import Cpu, Vitals
from taskrunner.testing.clock import FakeClock
from tests.unit.supervisor.desk import desk

SERVER = 77


class Server:
    """A generation, as far as it matters here."""

    server_pid = SERVER
    killed = 0

    def kill_server(self) -> None:
        self.killed += 1


class Ward:
    """Children, and what the system says of them: `states` by pid."""

    def __init__(self, children: list[Child], clock: FakeClock) -> None:
        self.clock = clock
        self.children = children
        self.server = Server()
        self.states: dict[int, str] = {}
        self.cpu: dict[int, float] = {}
        self.asked: list[int] = []
        self.killed: list[Child] = []
        for number, child in enumerate(children):
            child.pid, child.heard_at = 100 + number, clock.monotonic()
            child.generation = cast(Generation, self.server)
        self.checkup = Checkup(
            config=replace(Config()), clock=clock, kill=self.kill, read=self.read
        )

    def kill(self, child: Child) -> None:
        child.phase = Phase.KILLED
        self.killed.append(child)

    async def read(self, pids: Sequence[int]) -> dict[int, Vitals]:
        self.asked += pids
        states = {pid: self.states.get(pid, "idle") for pid in pids}
        return {
            pid: Vitals(state == "stopped", {0: Cpu(self.cpu.get(pid, 0.0))}, 0)
            for pid, state in states.items()
        }

    async def look(self) -> None:
        self.checkup.look(self.children)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def pass_(self, seconds: int, *, heard: Sequence[Child] = ()) -> None:
        """Time goes by, with a look each second and the beats of some children."""

        async def live() -> None:
            for _ in range(seconds):
                self.clock.advance(1.0)
                for pid, state in self.states.items():
                    self.cpu[pid] = self.cpu.get(pid, 0.0) + (state == "busy")
                for child in heard:
                    child.heard_at = self.clock.monotonic()
                await self.look()

        asyncio.run(live())


@pytest.fixture
def ward() -> Iterator[Ward]:
    with desk(2) as it:
        yield Ward(it.children, it.clock)


def reason(child: Child) -> str:
    assert child.sentence is not None
    assert child.sentence.is_charged
    return child.sentence.reason


def test_nobody_asks_about_a_child_that_can_be_heard(ward: Ward) -> None:
    ward.pass_(100, heard=ward.children)
    assert (ward.asked, ward.killed) == ([], [])


def test_one_that_hangs_is_killed_after_its_time_and_its_neighbour_is_not(ward: Ward) -> None:
    hangs, other = ward.children
    ward.pass_(59, heard=[other])
    assert ward.killed == []
    assert set(ward.asked) == {hangs.pid, SERVER}
    ward.pass_(3, heard=[other])
    assert ward.killed == [hangs]
    assert "interpreter lock" in reason(hangs)


def test_one_that_is_stopped_is_killed_sooner(ward: Ward) -> None:
    child, other = ward.children
    ward.states[child.pid] = "stopped"
    ward.pass_(9, heard=[other])
    assert ward.killed == []
    ward.pass_(3, heard=[other])
    assert ward.killed == [child]
    assert "stopped by a signal" in reason(child)


def test_one_that_was_continued_in_time_goes_on(ward: Ward) -> None:
    child, other = ward.children
    for _ in range(5):
        ward.states[child.pid] = "stopped"
        ward.pass_(8, heard=[other])
        ward.states[child.pid] = "idle"
        ward.pass_(1, heard=[other])
    assert ward.killed == []


def test_one_that_computes_is_left_alone_for_longer(ward: Ward) -> None:
    child, other = ward.children
    ward.states[child.pid] = "busy"
    ward.pass_(299, heard=[other])
    assert ward.killed == []
    ward.pass_(3, heard=[other])
    assert ward.killed == [child]
    assert "computed" in reason(child)


def test_one_that_hangs_now_and_then_between_its_work_is_none_that_hangs(ward: Ward) -> None:
    child, other = ward.children
    for state in ("idle", "busy") * 2:
        ward.states[child.pid] = state
        ward.pass_(50, heard=[other])
    assert ward.killed == []


def test_it_is_heard_again_and_all_is_forgotten(ward: Ward) -> None:
    child, other = ward.children
    ward.pass_(55, heard=[other])
    ward.pass_(1, heard=[child, other])
    ward.pass_(58, heard=[other])
    assert ward.killed == []


def test_when_we_slept_ourselves_nobody_was_silent(ward: Ward) -> None:
    ward.clock.advance(1000.0)
    ward.pass_(2)
    assert (ward.asked, ward.killed) == ([], [])


def test_whom_we_do_not_listen_to_is_not_silent(ward: Ward) -> None:
    for child in ward.children:
        child.unheard.append([0])
    ward.pass_(100)
    assert ward.asked == []


def test_threads_of_this_process_are_not_looked_at(ward: Ward) -> None:
    for child in ward.children:
        child.pid = os.getpid()
    ward.pass_(100)
    assert ward.asked == []


def test_a_fork_server_that_is_stopped_is_ended_when_somebody_waits_for_it(ward: Ward) -> None:
    ward.states[SERVER] = "stopped"
    ward.pass_(100, heard=ward.children)
    assert ward.server.killed == 0, "nobody needs it"
    ward.children[0].phase = Phase.KILLED
    ward.pass_(10, heard=ward.children)
    assert ward.server.killed == 0
    ward.pass_(1, heard=ward.children)
    assert ward.server.killed == 1, "it beats, but it should be dead by now"
    assert ward.killed == []


def test_one_that_was_not_forked_yet_waits_for_the_fork_server_too(ward: Ward) -> None:
    ward.children[0].pid = 0
    ward.states[SERVER] = "stopped"
    ward.pass_(11, heard=[ward.children[1]])
    assert ward.server.killed > 0
