"""What whoever is refused gets to read: a problem document (RFC 9457), and never more than that."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from taskrunner.errors import (
    AccessError,
    BrokerError,
    NotAuthenticated,
    TooManyRequests,
)

TYPE: Final = "urn:taskrunner:problem:"
_CHALLENGE: Final = (("www-authenticate", 'Bearer realm="taskrunner"'),)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is none: status, one sentence, and further headers."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = field(default=())
    kind: str = ""
    """the name of the error, by which a client may raise the same"""

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """What an error is answered with."""
        kind = type(error).__name__
        match error:
            case TooManyRequests():
                seconds = str(max(1, math.ceil(error.retry_after)))
                return cls(429, str(error), (("retry-after", seconds),), kind)
            case NotAuthenticated():
                return cls(401, str(error), _CHALLENGE, kind)
            case AccessError():
                return cls(403, str(error), (), kind)
            case BrokerError():
                # Its text names hosts and ports, which are no business of whoever asks.
                return cls(503, "the store does not answer", (("retry-after", "1"),), kind)
            case _:
                return cls(500, "the service made a mistake; its log says more")

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def body(self, **more: Any) -> bytes:
        """The document."""
        kind = f"{TYPE}{self.kind}" if self.kind else "about:blank"
        document = {"type": kind, "title": self.title, "status": self.status}
        return json.dumps({**document, "detail": self.detail, **more}).encode()
