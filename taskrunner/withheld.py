"""Secrets in the environment, and how processes that run tasks have them without showing them.

    supervisor's environment ─┬─ without secrets ─▶ environment of the fork server and its children
                              └─ secrets ─▶ its line ─▶ os.environ while the application is imported,
                                                        then this module, for settings alone

So neither /proc nor `ps e` shows them, and no program that a task starts inherits them; a module that
reads `os.environ["TASKRUNNER_BROKER"]` while it is imported finds it all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from taskrunner.hiding import hide_password, is_secret

PREFIX: Final = "TASKRUNNER_"
SERVICE_ONLY: Final = frozenset({"api_key_secret"})
"""Secrets that no process which runs tasks needs, nor gets."""

_known: dict[str, str] = {}


def for_tasks(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as processes that run tasks may have it."""
    return {name: value for name, value in environ.items() if not _is_withheld(name, value)}


def besides(environ: Mapping[str, str]) -> dict[str, str]:
    """What such processes must know of an environment besides."""
    service_only = {PREFIX + name.upper() for name in SERVICE_ONLY}
    return {
        name: value
        for name, value in known_with(environ).items()
        if _is_withheld(name, value) and name not in service_only
    }


def _is_withheld(name: str, value: str) -> bool:
    return name.startswith(PREFIX) and (is_secret(name) or hide_password(value) != value)


def known_with(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment with the secrets that this process was told in another way."""
    return {**_known, **environ}


@contextmanager
def while_importing(secrets: Mapping[str, str]) -> Iterator[None]:
    """Have these in `os.environ` for a while, and know them from then on."""
    _known.update(secrets)
    os.environ.update(secrets)
    try:
        yield
    finally:
        for name in secrets:
            os.environ.pop(name, None)


__all__ = ["PREFIX", "SERVICE_ONLY", "besides", "for_tasks", "known_with", "while_importing"]
