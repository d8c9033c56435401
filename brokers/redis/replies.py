"""What scripts answer, as the types of `base`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, Final

import msgpack

from taskrunner.brokers.base import (
    PRIORITIES,
    Bell,
    BellKind,
    Delivery,
    Fired,
    JobKey,
    JobRecord,
    NodeInfo,
    QueueStats,
    SlotRecord,
    Ticked,
    TickKind,
)
from taskrunner.brokers.redis.wires import whole
from taskrunner.message import LONGEST
from taskrunner.states import State

Fields = Mapping[bytes, bytes]

STATE_OF_LETTER: Final[Mapping[int, State | None]] = {
    ord("S"): State.SUCCEEDED,
    ord("F"): State.FAILED,
    ord("R"): State.RETRYING,
    ord("P"): State.PENDING,
    ord("C"): State.CANCELLED,
    ord("E"): State.EXPIRED,
    ord("W"): State.WAITING,
    ord("-"): None,
}
"""What settle.lua answers."""

_BEYOND: Final = 10**15
_YEAR_10000_MS: Final = 253_402_300_800_000
SEEN_LEASES: Final = 2
"""Leases for which a silent node is still shown."""


def pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    """A mapping from the flat form in which Redis answers one."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def text(found: bytes) -> str:
    """A name or an id; what is no UTF-8 is nobody's, and stays recognizable."""
    return found.decode(errors="replace")


def held_jobs(queue: str, flat: Mapping[bytes, bytes]) -> Iterator[tuple[JobKey, int]]:
    """Jobs and their deliveries' numbers, from a hash of ids by number."""
    for number, job_id in flat.items():
        if number.isdigit():
            yield JobKey(queue, text(job_id)), int(number)


def deliveries(queue: str, node: str, flat: Sequence[Any]) -> Iterator[Delivery]:
    """What fetch.lua answers: id, number, wire (or its parts) and more of each, flat, after three
    numbers."""
    items = iter(flat)
    for _ in range(3):
        next(items)
    for job_id, number, parts, more in zip(items, items, items, items, strict=True):
        wire = parts if type(parts) is bytes else b"".join(parts)
        if more is None:
            yield Delivery(queue, text(job_id), node, number, wire, 0, 0, 0, 0, None, None)
        else:
            more += [None] * (7 - len(more))
            attempts, failures, crashes, losses = (max(0, _whole(item) or 0) for item in more[:4])
            expires_in, deadline_in = (None if ms is None else ms / 1000 for ms in more[4:6])
            yield Delivery(
                queue,
                text(job_id),
                node,
                number,
                wire,
                attempts,
                failures,
                crashes,
                losses,
                expires_in,
                deadline_in,
                more[6] is not None,
            )


def handed(node: str, packed: bytes) -> Bell | None:
    """The bell with which a node is given a job (_hand.lua); None where it is none."""
    try:
        queue, job_id, number, parts = msgpack.unpackb(packed, raw=True)
        wire = parts if type(parts) is bytes else b"".join(parts)
        name, to = text(queue), text(job_id)
        delivery = Delivery(name, to, node, int(number), wire, 0, 0, 0, 0, None, None)
    except (ValueError, TypeError, AttributeError):  # not ours
        return None
    return Bell(BellKind.HANDED, name, to, delivery)


def job_record(queue: str, job_id: str, found: Sequence[Any] | None) -> JobRecord | None:
    """What get.lua answers for one job."""
    if found is None:
        return None
    flat, wire, result, errors, long = found
    job = pairs(flat)
    # An empty one stands for what is too long for the hash; without that it is of an earlier run.
    job.update((name, value) for name, value in pairs(long).items() if job.get(name) == b"")
    node, number = _token(job.get(b"o"))
    state, problem = _state(job[b"s"])
    return JobRecord(
        queue=queue,
        id=job_id,
        state=state,
        wire=whole(job, wire),
        priority=_priority(job.get(b"p", b"5")),
        attempts=_count(job, b"n"),
        failures=_count(job, b"f"),
        crashes=_count(job, b"x"),
        losses=_count(job, b"l"),
        created_at=_seconds(job, b"c") or 0.0,
        eta=_seconds(job, b"t"),
        started_at=_seconds(job, b"b"),
        finished_at=_seconds(job, b"z"),
        expires_at=_seconds(job, b"e"),
        deadline=_seconds(job, b"d"),
        node=node,
        number=number,
        pid=_count(job, b"i") if b"i" in job else None,
        progress=job.get(b"g"),
        # An empty one is kept apart, so that it is known from one that is gone.
        result=result if result is not None else job.get(b"r") or None,
        errors=tuple(errors),
        reason=problem or _text(job, b"m"),
        cancelling=b"u" in job,
        park_key=_text(job, b"y"),
        suspect=b"a" in job,
        replaced=_count(job, b"hn"),
    )


# What stands in a store may have been damaged: what cannot be read of one job is as if it were not
# there, and hides neither the rest of it nor its neighbours.


def _state(found: bytes) -> tuple[State, str | None]:
    """A state that is none, or one of a later version, is shown as the failure that it is here."""
    try:
        return State(text(found)), None
    except ValueError:
        return State.FAILED, f"unreadable: its state is {text(found)!r}"


def _whole(packed: Any) -> int | None:
    try:
        found = int(packed)
    except (TypeError, ValueError):
        return None
    return found if abs(found) < _BEYOND else None


def _priority(packed: bytes) -> int:
    found = _whole(packed)
    return found if found is not None and found in PRIORITIES else 5


def _count(job: Fields, name: bytes) -> int:
    return max(0, _whole(job.get(name)) or 0)


def _seconds(job: Fields, name: bytes) -> float | None:
    found = _whole(job.get(name))
    return None if found is None or not 0 <= found < _YEAR_10000_MS else found / 1000


def _text(job: Fields, name: bytes) -> str | None:
    found = job.get(name)
    return None if found is None else text(found)


def _token(owner: bytes | None) -> tuple[str | None, int | None]:
    number, colon, node = text(owner or b"")[1:].partition(":")
    found = _whole(number) if number.isdigit() and number.isascii() else None
    return (None, None) if found is None or not colon else (node, found)


def queue_stats(queue: str, stats: Sequence[bytes], parked: Sequence[bytes]) -> QueueStats:
    """The counters of one queue."""
    found = {text(name): max(0, _whole(count) or 0) for name, count in pairs(stats).items()}
    ready = {p: found[f"p{p}"] for p in PRIORITIES if found.get(f"p{p}")}
    counts = {state: found.get(state.value, 0) for state in State}
    counts[State.PENDING] = sum(ready.values())
    return QueueStats(
        queue=queue,
        counts=counts,
        pending_by_priority=ready,
        parked={text(key): _whole(count) or 0 for key, count in pairs(parked).items()},
        processed=found.get("processed", 0),
        failed=found.get("failures", 0),
    )


def _type_of(field: Field[Any]) -> tuple[type, ...]:
    if field.name in ("id", "lease"):
        return (str,) if field.name == "id" else (int, float)
    return (int, float) if isinstance(field.default, float) else (type(field.default),)


_NODE_TYPES: Final = {f.name: _type_of(f) for f in fields(NodeInfo) if f.name != "seen_ago"}
_NODE_FIELDS: Final = tuple(_NODE_TYPES)


def pack_node(node: NodeInfo) -> bytes:
    return bytes(msgpack.packb({name: getattr(node, name) for name in _NODE_FIELDS}))


def node_infos(answer: Sequence[Any]) -> Iterator[NodeInfo]:
    """What nodes.lua answers. What a later version has written besides is left out, and a
    description that cannot be read too."""
    now = answer[0]
    for forgotten_at, description in zip(answer[1::2], answer[2::2], strict=True):
        known = _description(description)
        if known is not None:
            ago = (now - (float(forgotten_at) - 1000 * SEEN_LEASES * known["lease"])) / 1000
            yield NodeInfo(**known, seen_ago=max(0.0, ago))


def _description(packed: bytes) -> dict[str, Any] | None:
    try:
        found = msgpack.unpackb(packed)
        known = {name: found[name] for name in _NODE_FIELDS if name in found}
        known["queues"] = tuple(known.get("queues", ()))
    except Exception:  # noqa: BLE001  msgpack raises a dozen kinds for hostile bytes
        return None
    ok = {"id", "lease"} <= known.keys() and all(
        isinstance(value, _NODE_TYPES[name]) for name, value in known.items()
    )
    ok = ok and 0 < known["lease"] <= LONGEST and all(isinstance(q, str) for q in known["queues"])
    return known if ok else None


def ticked(answer: Sequence[Any]) -> Ticked:
    """What tick.lua answers for one tick."""
    kind, last, wait = answer
    return Ticked(TickKind(kind), last / 1000, float(wait) / 1000)


def slot_record(answer: Sequence[Any]) -> SlotRecord:
    """What slots.lua answers for one schedule. A firing that cannot be read is left out."""
    last, revision, *packed = answer
    return SlotRecord(last / 1000, revision, tuple(_firings(packed)))


def _firings(packed: Sequence[bytes]) -> Iterator[Fired]:
    for one in packed:
        try:
            slot, at, kind, job_id, state, ended = msgpack.unpackb(one)
            yield Fired(
                None if slot is False else _moment(slot),
                _moment(at),
                TickKind(kind),
                str(job_id),
                State(state) if state else None,
                _moment(ended) if ended else None,
            )
        except (ValueError, TypeError):
            continue


def _moment(ms: Any) -> float:
    if not isinstance(ms, int | float) or not 0 <= ms < _YEAR_10000_MS:
        raise ValueError(f"a moment of {ms!r} ms")
    return ms / 1000
