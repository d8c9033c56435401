"""What a server can confirm of a job it has stored, and asking it to.

    questions ─▶ Means ─▶ obstacle? ─ yes ─▶ nothing is stored, and the caller is told why
                             │ no
                             ▼
    scripts, a write, WAIT, WAITAOF: one exchange, on one connection ─▶ unconfirmed? and why

All in one exchange, because what is confirmed is what this connection has written to this server:
on another connection WAIT may have nothing to wait for, and another server may be one that took
over without the job. The write in front of it is there for a repeat, which finds its job stored
and writes nothing itself.

Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from redis.exceptions import ResponseError

from taskrunner.brokers.redis.line import Reply, Request
from taskrunner.message import DEFAULT, FSYNCED, REPLICATED

KNOWS_WAITAOF: Final = (7, 2)
_INFO: Final = ("server", "replication", "persistence")
_CONFIG: Final = ("appendonly", "appendfsync")


class Means(NamedTuple):
    """What is known of a server; None: it does not say."""

    version: tuple[int, ...] | None
    replicas: int | None
    has_log: bool | None
    """an append-only file"""
    fsync: str | None

    @property
    def syncs_first(self) -> bool:
        """Whether it answers no write before that is on its disk."""
        return bool(self.has_log) and self.fsync == "always"

    @property
    def knows_waitaof(self) -> bool:
        return self.version is None or self.version >= KNOWS_WAITAOF


def questions(key: str) -> list[Request]:
    """What to ask the server that has this key."""
    # The first has a key: the others go where that goes.
    return [
        ("EXISTS", key),
        *(("INFO", section) for section in _INFO),
        *(("CONFIG", "GET", name) for name in _CONFIG),
    ]


def means(answers: Sequence[Reply]) -> Means:
    """What they were answered with. Anything may be forbidden."""
    said: dict[str, str] = {}
    for answer in answers[1 : 1 + len(_INFO)]:
        if isinstance(answer, bytes):
            lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
            said |= {name: value.strip() for name, colon, value in lines if colon}
    for answer in answers[1 + len(_INFO) :]:
        if isinstance(answer, list) and len(answer) == 2:
            said[answer[0].decode()] = answer[1].decode()
    has_log = said.get("aof_enabled", {"yes": "1", "no": "0"}.get(said.get("appendonly", "")))
    return Means(
        version=_version(said.get("redis_version")),
        replicas=int(said["connected_slaves"]) if "connected_slaves" in said else None,
        has_log=None if has_log is None else has_log == "1",
        fsync=said.get("appendfsync"),
    )


def _version(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(int(n) for n in text.split(".")[:2] if n.isdecimal())


def obstacle(durability: str, found: Means) -> str | None:
    """Why this server cannot confirm that; None: it can, or there is nothing to confirm."""
    if durability == REPLICATED and found.replicas == 0:
        return "no replica is connected"
    if durability != FSYNCED:
        return None
    if found.has_log is False:
        return "the server has no append-only file (appendonly no)"
    if found.syncs_first or found.knows_waitaof:
        return None
    version = ".".join(map(str, found.version or ()))
    if found.fsync is None:
        return f"the server is version {version}, and this user may not ask for its appendfsync"
    return (
        f"the server is version {version} with appendfsync {found.fsync}: it confirms that from 7.2 "
        "on, or with appendfsync always"
    )


def confirmations(
    wanted: Iterable[str], found: Means, *, key: str, within_ms: int
) -> list[Request]:
    """What to send after the scripts, in the same exchange; `key` is of the queue."""
    sent: list[Request] = [("HSET", key, "fence", 1)]
    for durability in sorted(set(wanted) - {DEFAULT}):
        if durability == REPLICATED:
            sent.append(("WAIT", 1, within_ms))
        elif found.syncs_first:
            # Once more: it may have been changed since.
            sent += [("CONFIG", "GET", name) for name in _CONFIG]
        else:
            sent.append(("WAITAOF", 1, 0, within_ms))
    return sent


def unconfirmed(
    sent: Sequence[Request], answers: Sequence[Reply], *, within_ms: int
) -> dict[str, str]:
    """By durability: why it is not confirmed."""
    reasons: dict[str, str] = {}
    settings: list[Reply] = []
    for request, answer in zip(sent, answers, strict=True):
        wanted = REPLICATED if request[0] == "WAIT" else FSYNCED
        if isinstance(answer, ResponseError):
            said = f"the server answered: {' '.join(str(answer).split())}"
            if request[0] == "HSET":
                return {REPLICATED: said, FSYNCED: said}
            reasons[wanted] = said
        elif request[0] == "WAIT" and answer < 1:
            reasons[wanted] = f"no replica had it within {within_ms / 1000:g} s"
        elif request[0] == "WAITAOF" and answer[0] < 1:
            reasons[wanted] = f"it was not on the server's disk within {within_ms / 1000:g} s"
        elif request[0] == "CONFIG":
            settings.append(answer[1] if len(answer) == 2 else None)
    if settings and settings != [b"yes", b"always"]:
        reasons[FSYNCED] = "the server was set to another appendfsync meanwhile"
    return reasons
