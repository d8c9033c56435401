"""What somebody may be allowed to do with a task queue."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from taskrunner.errors import OptionError


class Scope(StrEnum):
    """One kind of thing that an identity may do. None of them contains another, but for `ADMIN`,
    which contains all."""

    SUBMIT = "jobs:submit"
    """submit jobs"""
    READ = "jobs:read"
    """see jobs, their states and times; queues, nodes, schedules and counts too"""
    READ_DATA = "jobs:read-data"
    """see what jobs carry: arguments, results, errors, headers, progress"""
    MANAGE = "jobs:manage"
    """cancel, retry, reschedule and delete jobs"""
    QUEUES = "queues:manage"
    """pause, resume and purge queues, and set their limits"""
    SCHEDULES = "schedules:manage"
    """add, change, pause, trigger and remove schedules"""
    ADMIN = "admin"
    """all of that, and the audit"""

    @classmethod
    def parse(cls, words: Iterable[str]) -> frozenset[Scope]:
        """The scopes of these names. Raises OptionError, also for none at all."""
        found = set()
        for word in words:
            if word not in _NAMES:
                raise OptionError(f"scope {word!r}: expected some of {', '.join(_NAMES)}")
            found.add(cls(word))
        if not found:
            raise OptionError(f"no scope was given: expected some of {', '.join(_NAMES)}")
        return frozenset(found)


_NAMES: Final = tuple(scope.value for scope in Scope)
