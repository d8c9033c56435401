"""How much anybody may ask of the HTTP service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl


def waits_on_purpose(scope: Mapping[str, Any]) -> bool:
    """Whether a request is to be answered when something happens: one that says how long it waits,
    or listens to events."""
    if scope["path"].endswith("/events"):
        return True
    words = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    return any(name == "wait" and value.strip("0.") != "" for name, value in words)


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of the service. Times in seconds."""

    request_rate: float = 1000.0
    """requests a second of one identity, and so many at once"""
    request_limit_bytes: int = 16 * 1024 * 1024
    request_timeout_s: float = 60.0
    """for requests that do not wait on purpose"""
    body_timeout_s: float = 30.0
    waits: int = 500
    """requests that wait on purpose, of all identities"""
    waits_each: int = 100
    origins: tuple[str, ...] = ()
    """whose pages may ask, by their browsers"""
    public: frozenset[str] = frozenset()
    """paths that anybody may ask for"""
    is_wait: Callable[[Mapping[str, Any]], bool] = waits_on_purpose
