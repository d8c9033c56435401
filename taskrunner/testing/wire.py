"""What goes over the wire to a Redis: which script a request calls, how much is asked.

    proxy.drop_reply(after=script("settle"))
    with CommandCounter(server.url) as counted: ...
    counted.total, counted.by_name["EVALSHA"]

`Proxy.tally` counts round trips: a pipeline is one of them, here it is several commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from taskrunner.brokers.redis.texts import NAMES, Script

_ALSO: Final = {"enqueue": ("enqueue", "enqueue_one")}


def script(name: str) -> tuple[bytes, ...]:
    """Bytes one of which every request contains that calls a script of the Redis broker: `enqueue`,
    `fetch`, `settle`, `beat` and so on; `enqueue` also stands for `enqueue_one`, which does the same
    for a single job. Raises ValueError for a name that is none."""
    if name not in NAMES:
        raise ValueError(f"there is no script {name!r}; there are {', '.join(NAMES)}")
    found = [Script.read(one) for one in _ALSO.get(name, (name,))]
    texts = [text for one in found for text in (one.modern, one.plain)]
    return tuple(hashlib.sha1(t, usedforsecurity=False).hexdigest().encode() for t in texts)


class CommandCounter:
    """Counts what all clients of a Redis ask, as long as its block is open: commands that came
    over the wire, not those that scripts make. By MONITOR, which slows a server down."""

    def __init__(self, url: str) -> None:
        self.by_name: Counter[str] = Counter()
        self._client = Redis.from_url(url)
        self._monitor = self._client.monitor()  # type: ignore[no-untyped-call]
        self._thread = threading.Thread(target=self._watch, name="taskrunner counter", daemon=True)
        self._ending = False

    @property
    def total(self) -> int:
        return self.by_name.total()

    def __enter__(self) -> CommandCounter:
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ending = True
        # The thread waits for the next command, which may never come.
        with contextlib.suppress(OSError, AttributeError):
            self._monitor.connection._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _watch(self) -> None:
        while not self._ending:
            try:
                entry: Any = self._monitor.next_command()
            except (RedisError, OSError, ValueError):
                return
            if entry["client_type"] != "lua":
                self.by_name[entry["command"].partition(" ")[0].upper()] += 1
