"""Values as JSON can carry them: for the command line and the HTTP service, which say the same."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON can carry it. Durations become seconds, moments ISO 8601, bytes base 64;
    what JSON has no word for becomes text."""
    match value:
        case None | bool() | int():
            return value.value if isinstance(value, Enum) else value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return str(value)
        case datetime():
            return value.isoformat()
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case _:
            return _plain_container(value)


def _plain_container(value: Any) -> Any:
    as_map = getattr(value, "_asdict", None)
    if isinstance(value, tuple) and as_map is not None:
        return plain(as_map())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=repr)
    return str(value)
