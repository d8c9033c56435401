"""Children whose tasks write into the pipe: nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner import frames
from taskrunner.brokers.base import Blame, Outcome, OutcomeKind
from taskrunner.config import Config
from taskrunner.errors import StartError
from taskrunner.frames import MAX_FRAME, Kind
from taskrunner.message import ErrorInfo, Header, Message
from taskrunner.supervisor import channel, hearing
from taskrunner.supervisor.forkserver import Line
from taskrunner.supervisor.generation import Exit, ForkedGeneration, Generation, Target
from taskrunner.worker.upcall import FINISHED
from tests.faults.one_pool import Actor, OnePool
from tests.faults.test_fuzz_frames import good_row, plain


def play(story: Callable[[OnePool], Awaitable[None]], **config: Any) -> OnePool:
    async def live() -> OnePool:
        pool = OnePool(**config)
        try:
            await story(pool)
        finally:
            pool.close()
        return pool

    pool = asyncio.run(live())
    assert pool.unhandled == []
    assert pool.gave_up == []
    return pool


def one(row: Outcome) -> tuple[str, OutcomeKind, Blame]:
    return row.id, OutcomeKind(row.kind), Blame(row.blame)


async def ends_for(pool: OnePool, nonsense: bytes) -> None:
    """A child that runs one job and holds another says this; it is replaced, and only the job that
    it ran is charged."""
    pool.settled.clear()
    child = await pool.ready()
    running, waiting = pool.give(2)
    await pool.until(lambda: len(child.heard()) > 0)
    child.page.begin(0, running.number)
    child.line.sendall(nonsense)
    await pool.until(lambda: len(pool.settled) == 1)
    assert one(pool.settled[0]) == (running.id, OutcomeKind.RETRY, Blame.CRASH)
    assert pool.settled[0].error is not None
    assert "wrote to its pipe" in ErrorInfo.unpack(pool.settled[0].error).message
    assert pool.child is not child
    await answers(pool, await pool.ready(), waiting.number)


async def answers(pool: OnePool, child: Actor, number: int) -> None:
    """The next child gets what the last one had not started, and reports it."""
    heard = await pool.hear(child)
    assert [row[3] for frame in heard for row in frame[1]] == [number]
    child.say(Kind.DONE, [good_row(id=f"job-{number}", number=number)])
    await pool.until(lambda: len(pool.settled) == 2)
    assert pool.settled[1].kind == OutcomeKind.SUCCEEDED


NONSENSE = {
    "a length over the limit": (MAX_FRAME + 1).to_bytes(4),
    "text": b"Hello, world!\n" * 10,
    "no msgpack": b"\x00\x00\x00\x01\xc1",
    "a kind nobody knows": frames.encode(99),
    "a report of nothing": frames.encode(Kind.DONE, None),
    "half an outcome": frames.encode(Kind.DONE, [["q", "job-1", 1]]),
    "a run of NaN seconds": frames.encode(Kind.DONE, [good_row(ran=float("nan"))]),
    "a number that is a list": frames.encode(Kind.DONE, [good_row(number=[])]),
    "a take of no numbers": frames.encode(Kind.TAKEN, 0, [None]),
    "a call by bytes": frames.encode(Kind.CALL, 0, 0, b"\xff", None),
    "a supervisor's frame": frames.encode(Kind.STOP),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_a_child_that_speaks_nonsense_is_replaced(nonsense: bytes) -> None:
    play(lambda pool: ends_for(pool, nonsense), prefetch=1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.lists(plain, max_size=4))
        | st.binary(max_size=100),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_a_child_says_the_next_one_works(said: list[Any]) -> None:
    """Nonsense, or sense at the wrong time: at the end the pool runs a job."""

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        pool.give(2)
        for words in said:
            data = words if isinstance(words, bytes) else frames.encode(words[0], *words[1])
            with contextlib.suppress(OSError):  # it has been ended
                child.line.sendall(data)
        child.line.close()  # the end of its story, at the latest
        await pool.until(lambda: pool.child is not child)
        heard: list[Any] = []
        child = await pool.ready()
        (last,) = pool.give()
        # What the first was given may still be ahead of it.
        while last.id not in [row.id for row in pool.settled]:
            for frame in child.heard():
                if frame[0] == Kind.RUN:
                    heard += frame[1]
            if heard:
                done = [good_row(id=row[1], number=row[3]) for row in heard]
                child.say(Kind.DONE, done)
                heard.clear()
            await asyncio.sleep(0)

    play(story, prefetch=5)


def test_a_report_under_another_name_ends_the_job_it_was_given_for() -> None:
    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        (delivery,) = pool.give()
        child.say(Kind.DONE, [good_row(queue="other", id="another", number=delivery.number)])
        await pool.until(lambda: bool(pool.settled))

    (outcome,) = play(story).settled
    assert (outcome.queue, outcome.id) == ("q", "job-1")


def test_a_child_that_seems_to_write_one_frame_for_ever_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its beats go into what looks like the middle of a long frame."""
    monkeypatch.setattr(channel, "LONGEST_FRAME_S", -1.0)

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        child.line.sendall(MAX_FRAME.to_bytes(4) + b"only some of it")
        await pool.until(lambda: pool.pool.children[0].channel._decoder.pending > 4)
        assert pool.child is child  # it may be on its way
        child.say(Kind.BEAT)
        await pool.until(lambda: pool.child is not child)

    play(story)


# -- how much


def test_a_child_that_asks_without_end_is_not_heard_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hearing, "MOST_QUESTIONS", 10)

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        waiting: list[Any] = []
        monkeypatch.setattr(pool.upcalls, "asked", lambda *asked: waiting.append(asked[2]))
        question = frames.encode(Kind.CALL, 1, 1, "get", [["q", "x" * 200_000]])
        child.line.setblocking(False)
        sent = 0
        while sent < 200:
            try:
                child.line.sendall(question)
                sent += 1
            except BlockingIOError:
                break
            await asyncio.sleep(0)
        assert sent < 200
        assert len(waiting) < 20
        for reply in waiting:
            reply(True, None)
        before = len(waiting)
        await pool.until(lambda: len(waiting) > before)  # it is heard again

    play(story)


def test_a_child_that_does_not_read_its_answers_is_not_heard() -> None:
    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        asker = pool.pool.children[0]
        pool.broker.enqueue([Message("big", "q", Header(task="t"), bytes(1_000_000))])
        questions = frames.encode(Kind.CALL, 1, 1, "get", [["q", "big"]]) * 5000
        child.line.sendall(questions)
        await pool.until(lambda: bool(asker.unheard) and not asker.questions[False])
        pool.pool.relieve()
        assert asker.channel.unsent < 200 * 1_000_000
        assert len(asker.unheard) > 4000

    play(story)


def test_a_million_waits_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "MOST_WAITS", 3)

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        pool.broker.enqueue([Message("a", "q", Header(task="t"), b"")])
        for call in range(5):
            child.say(Kind.CALL, call, 1, FINISHED, ["q", "a"])
        await pool.until(lambda: pool.child is not child)

    play(story)


def test_more_than_a_frame_holds_goes_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskrunner.supervisor.child.MOST_IN_FRAME", 1000)

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        pool.give(4, bytes(400))
        heard = await pool.hear(child, 2)
        assert [len(frame[1]) for frame in heard] == [2, 2]

    play(story, prefetch=10)


def test_a_message_that_fits_into_no_frame_fails_alone() -> None:
    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        pool.give(1, bytes(MAX_FRAME))
        pool.give(1)
        heard = await pool.hear(child)
        assert [row[1] for frame in heard for row in frame[1]] == ["job-2"]

    (outcome,) = play(story).settled
    assert (outcome.id, outcome.kind, outcome.reason) == ("job-1", OutcomeKind.FAILED, "unreadable")


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_a_child_cannot_take_the_shared_memory_from_under_its_supervisor() -> None:
    """Reading a page of it that is gone would be the end of the supervisor."""

    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        (delivery,) = pool.give()
        for size in (0, 10**9):
            with pytest.raises(PermissionError):
                os.ftruncate(child.page.fd, size)
        child.page.begin(0, delivery.number)
        (held,) = [held for held, _ in pool.pool.children[0].running()]
        assert held.delivery.id == delivery.id

    play(story)


def test_a_page_that_holds_nonsense_misleads_nobody() -> None:
    async def story(pool: OnePool) -> None:
        child = await pool.ready()
        first, second = pool.give(2)
        child.page.begin(0, 2**64 - 1)
        child.page._words[2] = 2**64 - 1  # started at the end of all days
        child.line.close()
        await pool.until(lambda: pool.child is not child)
        heard = await pool.hear(await pool.ready())
        assert [row[3] for frame in heard for row in frame[1]] == [first.number, second.number]

    assert play(story, prefetch=1).settled == []


# -- the fork server's line


class Ears:
    """Hears a generation."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def child_forked(self, number: int, pid: int) -> None:
        self.heard.append((number, pid))

    def child_exited(self, exit_: Exit) -> None:
        self.heard.append(exit_)

    def fork_failed(self, number: int, why: str) -> None:
        self.heard.append((number, why))

    def fork_server_died(self, generation: Generation) -> None:
        self.heard.append("died")


LIES = {
    "garbage": b"print-out of an import\n" * 20,
    "no manifest": frames.encode(Line.MANIFEST, {"tasks": [1]}),
    "half a policy": frames.encode(Line.MANIFEST, {"tasks": {"t": [1]}, "threads": []}),
    "all processes": frames.encode(Line.FORKED, 1, -1),
    "a pid of text": frames.encode(Line.FORKED, 1, "7"),
    "an exit without a status": frames.encode(Line.EXITED, 1, 2, None, 3),
    "an unknown kind": frames.encode(77, 1),
}


@pytest.mark.parametrize("started", [False, True], ids=["at start", "later"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_fork_server_that_speaks_nonsense_is_ended(lie: bytes, started: bool) -> None:
    async def live() -> list[Any]:
        ears = Ears()
        generation = ForkedGeneration(Target("shop:app"), Config(), hears=ears)
        ours, theirs = socket.socketpair()
        generation._line, generation._loop = ours, asyncio.get_running_loop()
        generation._started = generation._loop.create_future()
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        generation._process = process = subprocess.Popen(sleep)
        if started:
            generation._started.set_result(generation.manifest)
        os.set_blocking(ours.fileno(), False)
        generation._loop.add_reader(ours.fileno(), generation._readable)
        theirs.sendall(lie)
        assert await asyncio.to_thread(process.wait, 20) == -9
        if not started:
            with pytest.raises(StartError, match="spoke nonsense"):
                await generation._started
        theirs.close()
        return ears.heard

    assert asyncio.run(live()) == (["died"] if started else [])
