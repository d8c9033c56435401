"""Bells of the memory broker.

    a step of the broker ── ring ──▶ mailbox "node-1" ── wait ──▶ its thread
       (holds the lock)              mailbox "waiter"

Every mailbox is a condition on the broker's one lock: whoever waits lets go of it, and what is
rung is there before the step that rang it has ended.
"""

from __future__ import annotations

import threading

from taskrunner.brokers.base import Bell, Mailbox


class PostOffice:
    """All mailboxes by name. Its methods are called under the lock, `open` excepted."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._boxes: dict[str, list[MemoryMailbox]] = {}

    def open(self, name: str) -> Mailbox:
        with self._lock:
            box = MemoryMailbox(self, name, self._lock)
            self._boxes.setdefault(name, []).append(box)
            return box

    def ring(self, name: str, bell: Bell) -> None:
        for box in self._boxes.get(name, ()):
            box.put(bell)

    def ring_all(self, bell: Bell) -> None:
        for name in self._boxes:
            self.ring(name, bell)

    def forget(self, name: str, box: MemoryMailbox) -> None:
        boxes = [other for other in self._boxes.get(name, ()) if other is not box]
        if boxes:
            self._boxes[name] = boxes
        else:
            self._boxes.pop(name, None)


class MemoryMailbox(Mailbox):
    """Bells that arrived and were not yet heard; the same bell twice is one."""

    def __init__(self, office: PostOffice, name: str, lock: threading.RLock) -> None:
        self._office = office
        self._name = name
        self._arrival = threading.Condition(lock)
        self._bells: dict[Bell, None] = {}
        self._woken = False
        self._closed = False

    def put(self, bell: Bell) -> None:
        """Called under the lock."""
        self._bells[bell] = None
        self._arrival.notify()

    def wait(self, timeout: float) -> list[Bell]:
        with self._arrival:
            self._arrival.wait_for(self._has_news, timeout)
            bells = list(self._bells)
            self._bells.clear()
            self._woken = False
            return bells

    def wake(self) -> None:
        with self._arrival:
            self._woken = True
            self._arrival.notify()

    def close(self) -> None:
        with self._arrival:
            self._closed = True
            self._office.forget(self._name, self)
            self._arrival.notify_all()

    def _has_news(self) -> bool:
        return bool(self._bells) or self._woken or self._closed
