"""What the program exits with. docs/guides/command-line.md lists the same codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from taskrunner import errors


class Exit(IntEnum):
    """Exit codes; each says in words what it means."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done; `run`: stopped in good order"
    JOB_FAILED = 1, "`enqueue --wait`: the job failed, was cancelled or expired"
    USAGE = 2, "a bad option or argument; a task that nobody declared; a payload over the limit"
    CONFIG = 3, "a bad setting or key, a URL nobody answers to, or no App where one was named"
    BROKER = 4, "the broker is away, refuses the password, is full or does not confirm a job"
    NOT_FOUND = (
        5,
        "there is no such job, schedule or API key; `health`, `control`: no such node, or none at all",
    )
    START = 6, "the supervisor could not start its processes; `api`: it could not listen"
    REFUSED = (
        7,
        "an unfinished job has that id; not possible in the job's state; `rekey`: a key is missing",
    )
    NODE_FAILED = 8, "`run`: a part of the supervisor failed again and again; see its log"
    UNHEALTHY = 9, "`health`: a probe did not come back from a node, or a part of it is broken"
    DAMAGED = 10, "`doctor`: something is wrong and not mended, or the store's settings are a risk"
    REPAIRED = 11, "`doctor --repair`: something was wrong, and all of it is mended"
    INTERNAL = 70, "a mistake in taskrunner itself: please report the traceback"
    TIMEOUT = 124, "`enqueue --wait`: not finished within `--wait-timeout`"
    INTERRUPTED = 130, "Ctrl-C"


# The first that fits counts, so the more special stand above.
_OF_ERRORS: Final[Mapping[type[errors.TaskrunnerError], Exit]] = {
    errors.ResultTimeout: Exit.TIMEOUT,
    errors.JobNotFound: Exit.NOT_FOUND,
    errors.NodeNotFound: Exit.NOT_FOUND,
    errors.KeyNotFound: Exit.NOT_FOUND,
    errors.ScheduleNotFound: Exit.NOT_FOUND,
    errors.DuplicateJob: Exit.REFUSED,
    errors.AmbiguousJob: Exit.USAGE,
    errors.JobError: Exit.JOB_FAILED,
    errors.BrokerError: Exit.BROKER,
    errors.ConfigError: Exit.CONFIG,
    errors.CryptoError: Exit.CONFIG,
    errors.DeclarationError: Exit.CONFIG,
    errors.AppNotFound: Exit.CONFIG,
    errors.StartError: Exit.START,
    errors.NodeFailed: Exit.NODE_FAILED,
    errors.OptionError: Exit.USAGE,
    errors.ArgumentError: Exit.USAGE,
    errors.PayloadTooLarge: Exit.USAGE,
    errors.UnknownTask: Exit.USAGE,
}


def exit_of(error: errors.TaskrunnerError) -> Exit:
    """The code that an error ends the program with."""
    for kind, code in _OF_ERRORS.items():
        if isinstance(error, kind):
            return code
    return Exit.INTERNAL
