"""Who asks, and what this one may do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from taskrunner.access.scopes import Scope
from taskrunner.errors import OptionError

EVERYTHING: Final = ("*",)
MOST_PATTERNS: Final = 100
MOST_STARS: Final = 5
"""A pattern's `*`: with many of them, telling that a long name does not match takes long."""


class Kind(StrEnum):
    """By what somebody was recognised."""

    KEY = "key"
    TOKEN = "token"
    CERTIFICATE = "certificate"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as recognised for one request. `queues` and `tasks` are patterns with `*` and `?`."""

    name: str
    kind: Kind
    scopes: frozenset[Scope]
    queues: tuple[str, ...] = EVERYTHING
    tasks: tuple[str, ...] = EVERYTHING
    id: str = ""
    """the key's id, the token's subject or the certificate's: what limits are counted by"""
    expires_at: float | None = field(default=None, compare=False)
    """until when this holds; seconds since the epoch"""

    def has(self, scope: Scope) -> bool:
        """Whether it has this scope at all, whatever the queue and the task."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def may(self, scope: Scope, *, queue: str | None = None, task: str | None = None) -> bool:
        """Whether it may do that to this queue and this task; None: none is concerned."""
        return self.has(scope) and self.reaches(queue=queue, task=task)

    def reaches(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Whether the queue and the task are among its own, whatever is to be done."""
        return (queue is None or _matches(self.queues, queue)) and (
            task is None or _matches(self.tasks, task)
        )

    @property
    def reaches_everything(self) -> bool:
        """Whether there is no queue and no task that is not its own."""
        return "*" in self.queues and "*" in self.tasks

    def __str__(self) -> str:
        return f"{self.kind}:{self.id or self.name}"


ANYBODY: Final = Identity("anybody", Kind.NOBODY, frozenset({Scope.ADMIN}))
"""Whoever asks a service that was told to ask nobody who they are."""


def patterns(what: str, words: Iterable[str]) -> tuple[str, ...]:
    """Patterns of queues or tasks, each once; none at all mean everything. Raises OptionError."""
    found = tuple(dict.fromkeys(words))
    for word in found:
        is_name = isinstance(word, str) and word.isprintable() and " " not in word
        if not is_name or not 1 <= len(word) <= 255 or word.count("*") > MOST_STARS:
            raise OptionError(
                f"{what} pattern {word!r}: expected a name in which * stands for any characters"
                f" and ? for one, as in mail*; {MOST_STARS} times * at most"
            )
    if len(found) > MOST_PATTERNS:
        raise OptionError(f"{len(found)} {what} patterns: expected {MOST_PATTERNS} at most")
    return found or EVERYTHING


def _matches(among: tuple[str, ...], name: str) -> bool:
    return "*" in among or any(_compiled(pattern).fullmatch(name) for pattern in among)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
