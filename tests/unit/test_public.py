from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import taskrunner
from taskrunner import errors

ROOT = Path(__file__).parents[2]

DESIGN = [
    "App",
    "Backoff",
    "Retry",
    "Reject",
    "State",
    "current_job",
    "Job",
    "JobInfo",
    "Task",
    "Middleware",
    "Unique",
    "Config",
    "JobFailed",
    "JobCancelled",
    "JobExpired",
    "ResultTimeout",
    "ResultExpired",
    "JobNotFound",
    "AmbiguousJob",
    "DuplicateJob",
    "BrokerUnavailable",
    "BrokerFull",
    "WouldDeadlock",
    "TaskTimeout",
    "TaskCancelled",
    "TaskInterrupt",
]


def test_the_public_names_are_one_sorted_list_and_exist() -> None:
    assert taskrunner.__all__ == sorted(taskrunner.__all__)
    assert len(set(taskrunner.__all__)) == len(taskrunner.__all__)
    for name in taskrunner.__all__:
        assert hasattr(taskrunner, name)


def test_what_programs_are_written_against_is_there() -> None:
    assert set(DESIGN) <= set(taskrunner.__all__)


def test_every_exception_is_public() -> None:
    kinds = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, BaseException)
    }
    assert kinds <= set(taskrunner.__all__)


def test_every_exception_of_ours_is_one_of_the_tree_and_drawn_there() -> None:
    for name, thing in vars(errors).items():
        if not (inspect.isclass(thing) and issubclass(thing, BaseException)):
            continue
        assert issubclass(thing, (errors.TaskrunnerError, errors.TaskInterrupt))
        assert name in (errors.__doc__ or "")
        assert thing.__doc__


def test_importing_it_imports_no_client_library_and_nothing_that_runs_jobs() -> None:
    program = "import sys, taskrunner; print(*sorted(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = found.stdout.split()
    assert "taskrunner.app" in loaded
    unwanted = (
        "redis",
        "hiredis",
        "uvloop",
        "click",
        "rich",
        "croniter",
        "setproctitle",
        "pydantic",
        "cryptography",
    )
    ours = ("taskrunner.worker", "taskrunner.supervisor", "taskrunner.cli", "taskrunner.testing")
    adapters = ("taskrunner.brokers.memory", "taskrunner.brokers.redis")
    for name in (*unwanted, *ours, *adapters):
        assert name not in loaded
