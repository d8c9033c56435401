"""redis-py's exceptions as ours, with the cause kept.

Away, so that the call can be repeated later, means everything that a healthy server would not
answer: no connection, no answer in time, loading, a replica, a script that hogs it, a password or
permission that does not suffice. The message is one line with the address, never with a secret.
"""

from __future__ import annotations

from typing import Final

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskrunner.errors import BrokerError, BrokerFull, BrokerUnavailable

FAILURES: Final = (RedisError, OSError)
"""All that redis-py raises for a server or a network."""

_AWAY: Final = (ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)
_AWAY_CODES: Final = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""Codes of errors that redis-py has no class for."""
_IN_SCRIPT: Final = "user executing the script can't"
"""NOPERM as it reads when it was a script that called the command."""


class Unreached(ResponseError):
    """Stands in the place of a reply that a server of a cluster would have given, if it were not
    away."""

    @classmethod
    def by(cls, server: object, error: Exception) -> Unreached:
        """For what happened to the connection to this server."""
        made = cls(str(translate(error, str(server))))
        made.__cause__ = error
        return made


def translate(error: Exception, shown: str) -> BrokerError:
    """What to raise, from `error`, for a call to the Redis at `shown`."""
    text = " ".join(str(error).split())
    if isinstance(error, Unreached):
        return BrokerUnavailable(text)
    if isinstance(error, MovedError):
        return BrokerUnavailable(f"Redis at {shown} is part of a cluster: say redis+cluster://")
    if "cluster support disabled" in text:
        return BrokerUnavailable(f"Redis at {shown} is no cluster: say redis://")
    if is_full(error):
        return BrokerFull(f"Redis at {shown} is full (maxmemory): {text}")
    if isinstance(error, AuthenticationError):
        return BrokerUnavailable(f"Redis at {shown} refused the user or password: {text}")
    if isinstance(error, NoPermissionError) or _IN_SCRIPT in text:
        return BrokerUnavailable(f"Redis at {shown} does not permit this: {text}")
    if isinstance(error, RedisTimeoutError | TimeoutError):
        return BrokerUnavailable(f"Redis at {shown} does not answer in time: {text}")
    if isinstance(error, RedisConnectionError | OSError):
        return BrokerUnavailable(f"cannot reach Redis at {shown}: {text}")
    if isinstance(error, _AWAY) or text.startswith(_AWAY_CODES):
        return BrokerUnavailable(f"Redis at {shown} cannot serve now: {text}")
    return BrokerError(f"Redis at {shown} answered: {text}")


def is_full(error: object) -> bool:
    """Whether a server refused a command for want of memory."""
    # In a script of Redis 6.2 the code stands inside the text.
    return isinstance(error, OutOfMemoryError) or (
        isinstance(error, RedisError) and "OOM command not allowed" in str(error)
    )
