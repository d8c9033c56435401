"""Answers what tasks ask of a broker that only this process can reach.

    child ──CALL──▶ main thread ──▶ a few threads ──ANSWER──▶ child
                                └─▶ one mailbox for all who wait for a job's end

The main thread only hands over: it never waits for the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskrunner.brokers.base import BellKind, Broker, JobKey, Mailbox
from taskrunner.errors import TaskrunnerError
from taskrunner.service import Mishaps, ServiceThread
from taskrunner.worker.upcall import FINISHED, answer, pack_error

THREADS = 4
LOOK_AGAIN_S = 5.0

Reply = Callable[[bool, Any], None]


class UpcallService:
    """Threads that start with the first call."""

    def __init__(self, *, broker: Broker, mishaps: Mishaps) -> None:
        self._broker = broker
        self._name = f"upcalls-{os.urandom(6).hex()}"
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="taskrunner upcall")
        self._lock = threading.Lock()
        self._waiting: dict[JobKey, list[Reply]] = {}
        self._mailbox: Mailbox | None = None
        self._thread = ServiceThread("upcalls", self.run_once, mishaps)

    def asked(self, method: str, value: Any, reply: Reply) -> None:
        """A child's call; `reply` may be called from any thread. Does not block."""
        self._pool.submit(self._serve, method, value, reply)

    def stop(self) -> None:
        self._thread.stopping.set()
        if self._mailbox is not None:
            self._mailbox.wake()
        self._thread.join()
        if self._mailbox is not None:
            self._mailbox.close()
        self._pool.shutdown(cancel_futures=True)

    def _serve(self, method: str, value: Any, reply: Reply) -> None:
        try:
            if method == FINISHED:
                self._wait_for(JobKey(*value), reply)
            else:
                reply(True, answer(self._broker, method, value))
        except TaskrunnerError as error:
            reply(False, pack_error(error))
        except Exception as error:  # noqa: BLE001  the child waits: it must get an answer
            reply(False, pack_error(TaskrunnerError(f"{type(error).__name__}: {error}")))

    def _wait_for(self, key: JobKey, reply: Reply) -> None:
        with self._lock:
            if self._mailbox is None:
                self._mailbox = self._broker.open_mailbox(self._name)
                self._thread.start()
            self._waiting.setdefault(key, []).append(reply)
        if self._broker.watch(self._name, [key])[0]:
            self._end(key)

    def run_once(self) -> None:
        """Wait for bells; without any, look for what they might have said."""
        assert self._mailbox is not None
        bells = self._mailbox.wait(LOOK_AGAIN_S)
        for bell in bells:
            if bell.kind is BellKind.FINISHED:
                self._end(JobKey(bell.queue, bell.id))
        if not bells:
            self._look_again()

    def _look_again(self) -> None:
        with self._lock:
            keys = list(self._waiting)
        for key, finished in zip(keys, self._broker.watch(self._name, keys), strict=True):
            if finished:
                self._end(key)

    def _end(self, key: JobKey) -> None:
        with self._lock:
            replies = self._waiting.pop(key, [])
        for reply in replies:
            reply(True, None)
