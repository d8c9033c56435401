"""Starts that a rate has granted in a Redis, as somebody sees them who watches the store itself.

with GrantWatch(server.url, "task:mail.send") as watch: ...
watch.times                    moments by the server's clock, in seconds
excess(watch.times, rate)      by how many any window had more than it may; 0 or less: none
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast

from redis import Redis

from taskrunner.limits import Rate


class GrantWatch:
    """Watches one bucket of one namespace, by MONITOR, which slows a server down."""

    def __init__(self, url: str, bucket: str) -> None:
        self._client = Redis.from_url(url)
        self._bucket = bucket
        self._end = uuid.uuid4().hex
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.times: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._client.echo(self._end)
        self._thread.join(60)
        self._client.close()

    def _watch(self) -> None:
        with self._client.monitor() as monitor:  # type: ignore[no-untyped-call]
            self._ready.set()
            began = 0.0
            for seen in cast("Iterator[Any]", monitor.listen()):
                command = str(seen["command"])
                if seen["client_type"] == "lua" and command == "TIME":
                    began = float(seen["time"])  # all that a script does, it does at one moment
                if self._end in command:
                    return
                # One start is one write of the bucket's time.
                if command.startswith("ZADD") and command.endswith(f" {self._bucket}"):
                    self.times.append(began)


def excess(times: Sequence[float], rate: Rate) -> float:
    """By how many starts the fullest window exceeds burst + rate * its length."""
    worst = -float(rate.burst)
    # A window from the i-th to the j-th start is too full by j - j' where j' starts were due: the
    # largest such difference is found in one pass.
    lowest = float("inf")
    for number, moment in enumerate(times):
        ahead = number - moment / rate.interval
        lowest = min(lowest, ahead)
        worst = max(worst, ahead - lowest + 1 - rate.burst)
    return worst
