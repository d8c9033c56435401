"""Interrupting a running `def` task: aimed at one delivery, and never hitting another.

`request` comes from the listener thread, `arm` and `disarm` from where the task runs. An interrupt
that finds another number armed does nothing; one that arrives as the task returns is raised inside
`guard`, which knows whose it is. Aimed at a job that has not started, it waits for its start.

In the main thread a signal does it, because that ends blocking system calls too; in other threads
CPython's asynchronous exceptions, which wait for the next bytecode.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from taskrunner.errors import TaskCancelled, TaskInterrupt, TaskTimeout
from taskrunner.frames import Why

SIGNAL = signal.SIGUSR2
PRESS_S = 0.05
T = TypeVar("T")

EXCEPTIONS: dict[Why, type[TaskInterrupt]] = {
    Why.TIMEOUT: TaskTimeout,
    Why.DEADLINE: TaskTimeout,
    Why.CANCEL: TaskCancelled,
}


class Interrupts(Protocol):
    """One way to interrupt."""

    def request(self, number: int, why: Why) -> None:
        """Interrupt the run of this delivery. Any thread; may be repeated."""
        ...

    def arm(self, number: int) -> None:
        """From here on this thread runs the user's code for `number`."""
        ...

    def disarm(self, number: int) -> None:
        """It does not any more."""
        ...


def guard(interrupts: Interrupts, number: int, call: Callable[[], T]) -> T:
    """Call while `number` may be interrupted. An interrupt that fires leaves as an exception.

    It can fire at any bytecode between arming and the end of disarming; wherever that is, it fires
    at most once for a number, and inside this function.
    """
    try:
        try:
            interrupts.arm(number)
            return call()
        finally:
            interrupts.disarm(number)
    except TaskInterrupt:
        interrupts.disarm(number)
        raise


class SignalInterrupts:
    """For tasks in the main thread of a child. Installs the handler; call from that thread."""

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._armed = 0
        self._wanted: dict[int, Why] = {}
        self._raised = 0
        signal.signal(SIGNAL, self._handle)

    def request(self, number: int, why: Why) -> None:
        self._wanted[number] = why
        self._press(number)

    def _press(self, number: int) -> None:
        """Send the signal, and again until it was seen: one that arrives just before the main
        thread enters a system call is only looked at when that call has ended."""
        if self._armed == number and number in self._wanted and self._raised != number:
            signal.pthread_kill(self._main, SIGNAL)
            again = threading.Timer(PRESS_S, self._press, (number,))
            again.daemon = True
            again.start()

    def arm(self, number: int) -> None:
        self._armed = number
        if number in self._wanted:
            self._fire(number)

    def disarm(self, number: int) -> None:
        self._armed = 0
        if self._wanted:
            self._wanted.pop(number, None)

    def _handle(self, _number: int, _frame: Any) -> None:
        # Runs in the main thread between two bytecodes, so `_armed` cannot change meanwhile.
        if self._armed in self._wanted:
            self._fire(self._armed)

    def _fire(self, number: int) -> None:
        if self._raised != number:
            self._raised = number
            raise EXCEPTIONS[self._wanted[number]]


class ThreadInterrupts:
    """For tasks in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[int, int] = {}
        self._wanted: dict[int, Why] = {}
        self._raised: set[int] = set()

    def request(self, number: int, why: Why) -> None:
        with self._lock:
            self._wanted[number] = why
            if number in self._threads:
                self._fire(number)

    def arm(self, number: int) -> None:
        with self._lock:
            self._threads[number] = threading.get_ident()
            why = self._wanted.get(number)
            if why is not None:
                self._raised.add(number)
        if why is not None:
            raise EXCEPTIONS[why]

    def disarm(self, number: int) -> None:
        with self._lock:
            thread = self._threads.pop(number, None)
            self._wanted.pop(number, None)
            if thread is not None and number in self._raised:
                self._raised.discard(number)
                # Set but not raised yet: it must not hit the thread's next job.
                _set_exception(thread, None)

    def _fire(self, number: int) -> None:
        if number not in self._raised:
            self._raised.add(number)
            _set_exception(self._threads[number], EXCEPTIONS[self._wanted[number]])


def _set_exception(thread: int, kind: type[BaseException] | None) -> None:
    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
