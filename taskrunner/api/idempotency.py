"""A request that names itself by an Idempotency-Key counts once, for a day.

    remember ─▶ nobody knows the key: write down the request's digest and the job's id, "begun"
             ─▶ the same request: "begun", submit again, with the same id (the store knows repeats);
                "done", answer as before
             ─▶ another request: refuse

Whoever dies between the record and the submission leaves "begun": the next repeat does it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import msgpack

from taskrunner.access import Identity
from taskrunner.brokers.base import BrokerClient, JobKey
from taskrunner.errors import OptionError
from taskrunner.submission import ride_out

KIND: Final = "idempotency"
KEPT_S: Final = 86_400.0
_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a key."""

    digest: bytes
    job_id: str
    queue: str = ""
    """where the job is, once it was accepted"""

    @property
    def is_done(self) -> bool:
        return self.queue != ""

    def pack(self) -> bytes:
        return bytes(msgpack.packb([self.digest, self.job_id, self.queue]))

    @classmethod
    def unpack(cls, packed: bytes) -> Remembered:
        return cls(*msgpack.unpackb(packed))

    @property
    def call(self) -> str:
        """What the submission and its repeats are known by to the store."""
        return self.digest.hex()[:40]


class Repeats:
    """Of one key of one identity. Raises BrokerUnavailable."""

    def __init__(self, broker: BrokerClient, identity: Identity, key: str) -> None:
        self._broker = broker
        self._id = hashlib.sha256(f"{identity}\0{key}".encode()).hexdigest()

    def remember(self, body: bytes, job_id: str) -> Remembered:
        """What is known of the key, from now on at least this. Raises OptionError where it was used
        for another request."""
        digest = hashlib.sha256(body).digest()
        new = Remembered(digest, job_id)
        known = self._find()
        if known is None and not self._put(new, expect=b""):
            known = self._find()
        if known is not None and known.digest != digest:
            raise OptionError(
                "idempotency_key='…': expected a new one: it was used for another request"
            )
        return known or new

    def conclude(self, known: Remembered, job: JobKey) -> None:
        """It was accepted, and came to this job."""
        self._put(replace(known, job_id=job.id, queue=job.queue), expect=known.pack())

    def forget(self, known: Remembered) -> None:
        """It was refused: the key may be used again."""
        broker, packed = self._broker, known.pack()
        ride_out(lambda: broker.remove_record(KIND, self._id, expect=packed), _PATIENCE_S)

    def _find(self) -> Remembered | None:
        broker = self._broker
        found = ride_out(lambda: broker.records(KIND, self._id, limit=1), _PATIENCE_S).records
        return Remembered.unpack(found[0].value) if found and found[0].id == self._id else None

    def _put(self, what: Remembered, *, expect: bytes) -> bool:
        broker, packed = self._broker, what.pack()
        return ride_out(
            lambda: broker.put_record(KIND, self._id, packed, ttl=KEPT_S, expect=expect),
            _PATIENCE_S,
        )
