"""Whoever submits jobs during a soak, and cancels some of them."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from taskrunner import App, BrokerUnavailable, Job
from taskrunner.message import Message
from taskrunner.states import State
from tests.soak import app as tasks
from tests.soak.verdict import Sent

QUEUES: Final = ("default", "mail", "reports")
KINDS: Final = {
    "instant": 40,
    "short": 20,
    "async": 15,
    "retried": 8,
    "delayed": 10,
    "failing": 3,
    "big": 4,
    "narrow": 6,
    "rated": 4,
    "single": 4,
    "nested": 2,
    "slow": 2,
    "endless": 1,
}
"""What is submitted, by weight."""
CANCEL_S: Final = (0.0, 3.0)
"""After how long an endless job, or a delayed one, is cancelled."""


class Submitter:
    """One thread. What it was told is accepted it writes down in `sent`; what it cannot know, since
    its store was away for too long, in `unsure`."""

    def __init__(self, rng: random.Random, app: App, *, rate: float) -> None:
        self.sent: dict[str, Sent] = {}
        self.unsure: set[str] = set()
        self._random = rng
        self._app = app
        self._rate = rate
        self._count = 0
        self._stopping = threading.Event()
        self._timers: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._run, name="soak submitter")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Submit no more, and cancel what is to be cancelled. Afterwards `sent` is complete."""
        self._stopping.set()
        self._thread.join()
        for timer in self._timers:
            timer.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            count = self._random.choice([1, 1, 1, 2, 10, 50])
            self._submit([self._made() for _ in range(count)])
            self._stopping.wait(count / self._rate)

    def _made(self) -> tuple[Message, Sent]:
        (kind,) = self._random.choices([*KINDS], [*KINDS.values()])
        self._count += 1
        n = self._count
        task = self._app.tasks["instant" if kind == "delayed" else kind]
        options: dict[str, Any] = {
            "queue": self._random.choice(QUEUES),
            "priority": self._random.randrange(10),
        }
        if kind == "delayed":
            options["delay"] = self._random.uniform(0, 3)
        data = [tasks.payload(n)] if kind == "big" else []
        message = task.options(**options).message(n, *data)
        result, expected = n + 1, State.SUCCEEDED
        if kind == "nested":
            result = n + 2
        elif kind == "failing":
            expected = State.FAILED
        sent = Sent(message.id, message.queue, kind, expected, data[0][::-1] if data else result)
        return message, sent

    def _submit(self, made: Sequence[tuple[Message, Sent]]) -> None:
        messages = [message for message, _ in made]
        try:
            jobs = self._ways()(messages)
        except BrokerUnavailable:
            self.unsure.update(sent.id for _, sent in made)
            return
        for job, (_, sent) in zip(jobs, made, strict=True):
            if not job.accepted:
                self.unsure.add(sent.id)
                continue
            if job.id != sent.id:
                continue  # there was one with its key, which was answered instead
            self.sent[sent.id] = sent
            if sent.kind == "endless" or (sent.kind == "delayed" and self._random.random() < 0.2):
                self._cancel_later(job, sent)

    def _ways(self) -> Callable[[list[Message]], list[Job[Any]]]:
        """A random one of those in which messages can be submitted."""
        app = self._app
        return self._random.choice(
            [
                app.enqueue_many,
                lambda messages: [app.submit(message) for message in messages],
                lambda messages: asyncio.run(app.aenqueue_many(messages)),
            ]
        )

    def _cancel_later(self, job: Job[Any], sent: Sent) -> None:
        # Until it is known what came of it, either is right.
        self.sent[sent.id] = Sent(sent.id, sent.queue, sent.kind, None, sent.result)

        def cancel() -> None:
            try:
                was_cancelled = job.cancel()
            except BrokerUnavailable:
                return
            expected = State.CANCELLED if was_cancelled else State.SUCCEEDED
            self.sent[sent.id] = Sent(sent.id, sent.queue, sent.kind, expected, sent.result)

        timer = threading.Timer(self._random.uniform(*CANCEL_S), cancel)
        timer.start()
        self._timers.append(timer)
