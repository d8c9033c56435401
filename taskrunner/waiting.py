"""Waiting for jobs to end: one mailbox and one thread in a process, for however many wait.

    result()  ─┐ register ▶ ┌ ResultWaiter ──────────┐ ── watch ──▶ broker
    result()  ─┤            │ key ▶ those who wait   │
    aresult() ─┘ ◀─ wake ── │ thread: mailbox.wait() │ ◀─ FINISHED ─ broker
                            └────────────────────────┘

A bell may be lost: every few seconds, and after each lost connection, the thread asks again about
everything that is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from taskrunner.brokers.base import BellKind, BrokerClient, JobKey, Mailbox
from taskrunner.clock import SYSTEM_CLOCK
from taskrunner.context import CURRENT
from taskrunner.errors import BrokerUnavailable, PartlyUnavailable, WouldDeadlock
from taskrunner.ids import new_id
from taskrunner.submission import ride_out

LOOK_S: Final = 5.0
"""How often what is waited for is asked about, in case a bell was lost."""
IDLE_S: Final = 60.0
"""How long the thread sleeps at most while nobody waits."""
_AWAY_S: Final = 0.5
_SLICE_S: Final = 1.0


class _Wait:
    """One that waits for one job."""

    __slots__ = ("_wake", "deadlocked", "finished")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self.finished = False
        self.deadlocked = False

    def finish(self) -> None:
        self.finished = True
        self._wake()

    def deadlock(self) -> None:
        self.deadlocked = True
        self._wake()

    def answer(self, key: JobKey) -> bool:
        """Whether the job ended. Raises WouldDeadlock."""
        if self.deadlocked and not self.finished:
            raise WouldDeadlock(
                f"this job waits for {key.id}, and every worker of its node waits for others too",
                job_id=key.id,
            )
        return self.finished


class ResultWaiter:
    """Waits for the end of jobs. Thread-safe; of one process: after a fork make another."""

    def __init__(self, broker: BrokerClient) -> None:
        self._broker = broker
        self._name = f"waiter-{new_id()}"
        self._lock = threading.Lock()
        self._waits: dict[JobKey, list[_Wait]] = {}
        self._mailbox: Mailbox | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._look_at = 0.0

    def wait(self, key: JobKey, timeout: float | None) -> bool:
        """Block until the job has ended or `timeout` seconds have passed; whether it has ended.

        Inside a task the job does not count against its slot meanwhile. Raises WouldDeadlock where
        nobody is left to run the other, and BrokerUnavailable where it stays away for about 10
        seconds from the first call on.
        """
        woken = threading.Event()
        wait = _Wait(woken.set)
        with self._registered(key, wait, timeout):
            if not wait.finished:
                with _blocking(wait):
                    _sleep(woken, timeout)
        return wait.answer(key)

    async def await_(self, key: JobKey, timeout: float | None) -> bool:
        """`wait`, from asyncio."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, nobody waits any more
                loop.call_soon_threadsafe(woken.set)

        wait = _Wait(wake)
        try:
            await asyncio.to_thread(self._register, key, wait, timeout)
            if not wait.finished:
                with _blocking(wait), contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), timeout)
        finally:
            self._forget(key, wait)
        return wait.answer(key)

    def close(self) -> None:
        """End the thread. May be called twice, and before anything was waited for."""
        self._stopping.set()
        with self._lock:
            mailbox, thread = self._mailbox, self._thread
        if mailbox is not None and thread is not None:
            mailbox.wake()
            if thread is not threading.current_thread():
                thread.join()

    # -- who waits

    @contextlib.contextmanager
    def _registered(self, key: JobKey, wait: _Wait, timeout: float | None) -> Iterator[None]:
        try:
            self._register(key, wait, timeout)
            yield
        finally:
            self._forget(key, wait)

    def _register(self, key: JobKey, wait: _Wait, timeout: float | None) -> None:
        mailbox = ride_out(self._started, timeout)
        with self._lock:
            first = not self._waits
            self._waits.setdefault(key, []).append(wait)
        try:
            if self._broker.watch(self._name, [key])[0]:
                wait.finish()
        except BrokerUnavailable:
            self._look_at = 0.0  # the thread asks again as soon as the broker is back
            first = True
        if first:
            mailbox.wake()

    def _forget(self, key: JobKey, wait: _Wait) -> None:
        with self._lock:
            waits = self._waits.get(key, [])
            if wait in waits:
                waits.remove(wait)
            if not waits:
                self._waits.pop(key, None)

    def _started(self) -> Mailbox:
        with self._lock:
            if self._mailbox is None:
                self._mailbox = self._broker.open_mailbox(self._name)
                self._thread = threading.Thread(
                    target=self._run, args=(self._mailbox,), name="taskrunner results", daemon=True
                )
                self._thread.start()
            return self._mailbox

    # -- the thread

    def _run(self, mailbox: Mailbox) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self.run_once(mailbox)
                except BrokerUnavailable:
                    # What was rung meanwhile is lost: ask about everything once it is back.
                    self._look_at = 0.0
                    self._stopping.wait(_AWAY_S)
        finally:
            mailbox.close()

    def run_once(self, mailbox: Mailbox) -> None:
        """Wait for bells, or until it is time to ask, and wake whoever is concerned."""
        now = SYSTEM_CLOCK.monotonic()
        if now >= self._look_at:
            self._look()
            self._look_at = now + LOOK_S
        pause = self._look_at - now if self._waits else IDLE_S
        for bell in mailbox.wait(pause):
            if bell.kind is BellKind.FINISHED:
                self._finish(JobKey(bell.queue, bell.id))

    def _look(self) -> None:
        with self._lock:
            keys = list(self._waits)
        if keys:
            for key, has_finished in zip(keys, self._watch(keys), strict=True):
                if has_finished:
                    self._finish(key)

    def _watch(self, keys: list[JobKey]) -> list[bool]:
        try:
            return self._broker.watch(self._name, keys)
        except PartlyUnavailable as error:
            # Whoever waits for jobs that are there is not to wait for a server that is not.
            answers: list[bool] = error.answer
            return answers

    def _finish(self, key: JobKey) -> None:
        with self._lock:
            waits = list(self._waits.get(key, ()))
        for wait in waits:
            wait.finish()


@contextlib.contextmanager
def _blocking(wait: _Wait) -> Iterator[None]:
    """Tell whoever runs this job, if one runs here, that it waits for another."""
    context = CURRENT.get(None)
    if context is None:
        yield
    else:
        with context.blocking(wait.deadlock):
            yield


def _sleep(woken: threading.Event, timeout: float | None) -> None:
    if CURRENT.get(None) is None or threading.current_thread() is threading.main_thread():
        woken.wait(timeout)
        return
    # A task in a thread is interrupted by an exception that Python raises between two
    # instructions; a wait in C would keep it off, so it waits in slices.
    end = None if timeout is None else SYSTEM_CLOCK.monotonic() + timeout
    while not woken.is_set():
        left = _SLICE_S if end is None else min(_SLICE_S, end - SYSTEM_CLOCK.monotonic())
        if left <= 0:
            return
        woken.wait(left)
