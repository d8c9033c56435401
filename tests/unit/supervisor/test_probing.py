"""A probe inside a node: who has to say something until it goes home, and what it says then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from taskrunner.probes import Hop, NodeAnswer
from taskrunner.supervisor.child import Phase
from taskrunner.supervisor.probing import MOST, Probes
from taskrunner.supervisor.settle import Letter
from taskrunner.supervisor.vitals import Cpu, Vitals
from tests.unit.supervisor.one_part import OnePart

TO = "probe:1"


@dataclass(eq=False)
class FakeChild:
    number: int
    phase: Phase = Phase.READY
    runs: list[tuple[Any, float]] = field(default_factory=list)
    unheard: list[Any] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return 100 + self.number

    def running(self) -> list[tuple[Any, float]]:
        return self.runs


class Desk:
    """Probes of a node with fake children, and what became of them."""

    def __init__(self, *children: FakeChild) -> None:
        self.node = OnePart()
        self.children = list(children)
        self.letters: list[Letter] = []
        self.asked: list[int] = []
        parts = self.node.parts
        parts.dispatcher.probe = self._ask  # type: ignore[method-assign, assignment]
        parts.settle.tell = self.letters.append  # type: ignore[method-assign, assignment]
        self.probes: Probes = parts.probes
        self.vitals: dict[int, list[Vitals]] = {}
        self.probes._read = self._read
        self.probes._children = lambda: self.children  # type: ignore[assignment, return-value]

    def _ask(self, number: int) -> list[FakeChild]:
        self.asked.append(number)
        return [child for child in self.children if child.phase is Phase.READY]

    async def _read(self, pids: Sequence[int]) -> dict[int, Vitals]:
        return {pid: self.vitals[pid].pop(0) for pid in pids if self.vitals.get(pid)}

    def begin(self, **details: Any) -> int:
        asked = {"to": TO, "patience": 60.0, **details}
        self.probes.taken(asked)
        self.probes.begin(asked)
        return self.asked[-1]

    def heard(self, child: FakeChild, number: int, *, by_main: bool = False) -> None:
        self.probes.heard(child, number, by_main=by_main)  # type: ignore[arg-type]

    def worked(self, child: FakeChild) -> None:
        self.probes.worked(child)  # type: ignore[arg-type]

    @property
    def answer(self) -> NodeAnswer:
        (letter,) = self.letters
        assert (letter.kind, letter.id) == (TO, self.node.id)
        found = NodeAnswer.unpack(letter.value)
        assert found is not None
        return found

    @property
    def states(self) -> dict[int, str]:
        return {child.number: str(child.state) for child in self.answer.children}

    def stored(self) -> NodeAnswer | None:
        found = self.node.broker.records(TO).records
        return NodeAnswer.unpack(found[0].value) if found else None


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 30))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


@on_loop
async def test_it_goes_home_when_every_main_thread_has_answered() -> None:
    one, two = FakeChild(1), FakeChild(2)
    desk = Desk(one, two)
    number = desk.begin()
    for child in (one, two):
        desk.heard(child, number)
    desk.heard(one, number, by_main=True)
    assert desk.letters == []
    desk.heard(two, number, by_main=True)
    assert desk.states == {1: "answered", 2: "answered"}
    assert desk.answer.is_final
    desk.heard(two, number, by_main=True)
    assert len(desk.letters) == 1


@on_loop
async def test_what_was_taken_is_told_at_once() -> None:
    desk = Desk(FakeChild(1))
    desk.begin()
    assert desk.stored() == NodeAnswer()


@on_loop
async def test_a_child_that_runs_a_job_is_busy_as_soon_as_it_hears() -> None:
    one = FakeChild(1, runs=[(None, 0.0)])
    desk = Desk(one)
    number = desk.begin()
    assert desk.letters == []
    desk.heard(one, number)
    await until(lambda: desk.letters)
    assert desk.states == {1: "busy"}
    assert desk.answer.children[0].running > 0


@on_loop
async def test_a_child_whose_words_are_kept_waiting_is_not_silent() -> None:
    one = FakeChild(1, runs=[(None, 0.0)], unheard=["a frame"])
    desk = Desk(one)
    desk.begin()
    assert desk.states == {1: "busy"}


@on_loop
async def test_an_outcome_is_as_good_as_an_answer() -> None:
    one = FakeChild(1)
    desk = Desk(one)
    desk.worked(one)
    number = desk.begin()
    desk.worked(one)
    assert desk.letters == [], "it may have been on its way before the probe was"
    desk.heard(one, number)
    desk.worked(one)
    assert desk.states == {1: "answered"}


@on_loop
async def test_who_hears_and_does_nothing_is_stuck_and_who_does_not_hear_is_silent() -> None:
    one, two = FakeChild(1), FakeChild(2)
    desk = Desk(one, two)
    number = desk.begin(patience=0.2)
    desk.heard(one, number)
    assert desk.letters == []
    await until(lambda: desk.letters)
    assert desk.states == {1: "stuck", 2: "silent"}
    assert all(child.after >= 0.2 for child in desk.answer.children)


@pytest.mark.parametrize(
    ("stopped", "cpu", "runs", "state"),
    [
        (False, 1.0, True, "busy"),
        (False, 0.0, True, "silent"),
        (True, 1.0, True, "silent"),
        (False, 1.0, False, "silent"),
    ],
)
def test_who_holds_the_interpreter_and_computes_is_busy_too(
    stopped: bool, cpu: float, runs: bool, state: str
) -> None:
    async def story() -> None:
        one = FakeChild(1, runs=[(None, 0.0)] if runs else [])
        desk = Desk(one)
        desk.vitals[one.pid] = [
            Vitals(False, {7: Cpu(0.0)}, 0),
            Vitals(stopped, {7: Cpu(cpu)}, 0),
        ]
        desk.begin(patience=0.2)
        await until(lambda: desk.letters)
        assert desk.states == {1: state}

    asyncio.run(asyncio.wait_for(story(), 30))


@on_loop
async def test_a_look_at_the_system_that_fails_keeps_no_probe_from_home() -> None:
    one = FakeChild(1, runs=[(None, 0.0)])
    desk = Desk(one)

    async def fail(_: Sequence[int]) -> dict[int, Vitals]:
        raise OSError("no /proc here")

    desk.probes._read = fail
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    desk.begin(patience=0.1)
    await until(lambda: desk.letters)
    assert desk.states == {1: "silent"}


@on_loop
async def test_a_child_that_dies_is_not_waited_for() -> None:
    one, two = FakeChild(1), FakeChild(2)
    desk = Desk(one, two)
    number = desk.begin()
    desk.heard(one, number, by_main=True)
    desk.probes.gone(two)  # type: ignore[arg-type]
    assert desk.states == {1: "answered"}


@on_loop
async def test_children_that_start_are_told_of_and_not_asked() -> None:
    desk = Desk(FakeChild(1, phase=Phase.STARTING), FakeChild(2, phase=Phase.STOPPING))
    desk.begin()
    assert desk.states == {1: "starting"}


@on_loop
async def test_an_answer_that_the_settle_thread_leaves_lying_goes_another_way() -> None:
    one = FakeChild(1)
    desk = Desk(one)
    number = desk.begin(patience=0.0)
    desk.heard(one, number, by_main=True)
    await until(lambda: desk.letters)
    await until(lambda: (desk.stored() or NodeAnswer()).is_final)
    stored = desk.stored()
    assert stored is not None
    assert stored.other_way


@on_loop
async def test_one_that_was_brought_home_does_not() -> None:
    one = FakeChild(1)
    desk = Desk(one)
    number = desk.begin(patience=0.0)
    desk.heard(one, number, by_main=True)
    desk.letters[0].told()
    probe = desk.probes
    await asyncio.gather(*probe._tasks)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.7, later.set)
    await later.wait()
    assert desk.stored() == NodeAnswer()


@on_loop
async def test_whoever_watches_in_this_process_hears_of_each_hop_and_the_store_of_none() -> None:
    one = FakeChild(1)
    desk = Desk(one)
    hops: list[Hop | None] = []
    desk.probes.watch(TO, lambda hop, answer: hops.append(hop))
    number = desk.begin()
    desk.heard(one, number, by_main=True)
    desk.letters[0].told()
    assert hops == [Hop.MAIN, Hop.CHILD, Hop.SETTLE, None]
    assert desk.stored() is None


@on_loop
async def test_threads_that_fail_or_are_gone_are_told_of() -> None:
    desk = Desk(FakeChild(1))
    thread = desk.node.parts.settle.thread
    thread._run = lambda: None  # type: ignore[method-assign]
    thread.start()
    thread.join()
    desk.node.parts.mishaps.failed("lease", ValueError())
    desk.heard(desk.children[0], desk.begin(), by_main=True)
    assert (desk.answer.dead, desk.answer.failing) == (("settle",), ("lease",))


@on_loop
async def test_probes_are_bounded() -> None:
    desk = Desk(FakeChild(1))
    for _ in range(2 * MOST):
        desk.begin()
    assert len(desk.asked) == MOST


@pytest.mark.parametrize("to", [None, 5, "schedules", "", "prob"])
def test_an_answer_is_written_over_no_other_record(to: object) -> None:
    desk = Desk(FakeChild(1))
    desk.probes.taken({"to": to})
    with pytest.raises(ValueError, match="wants its answer at"):
        desk.probes.begin({"to": to})
    assert desk.asked == []
