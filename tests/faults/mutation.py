"""What happens when a mechanism is switched off: small breaks of the code, and the tests that must
then fail. `make mutations` tries every one of them; docs/reliability.md has the result.

Each is applied to a copy of the repository, alone. `Edit.old` stands in its file exactly once; that it
still does, and that the tests named here exist, is a test of the suite.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Edit(NamedTuple):
    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    mechanism: str
    """what is switched off, in words"""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """as pytest takes them; at least one must fail"""


REDIS: Final = "tests/conformance/test_redis.py::TestOverUnixSocket::"
MEMORY: Final = "tests/conformance/test_memory.py::TestMemoryBroker::"
DEATHS: Final = "tests/process/test_deaths.py::"
HOLES: Final = "tests/process/test_asynq_holes.py::"
STORE_HOLES: Final = "tests/faults/test_asynq_holes.py::"
PROMISES: Final = "tests/process/test_promises.py::"
DAMAGED: Final = "tests/faults/test_damaged_redis.py::"
HOSTILE: Final = "tests/faults/test_hostile_children.py::"
NODE: Final = "tests/process/test_redis_node.py::"


def one(mechanism: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(mechanism, (Edit(file, old, new),), tests)


LIVES_ON: Final = Edit(
    "taskrunner/worker/main.py",
    "        if not self._settings.embedded:\n            os._exit(0)\n",
    "        if not self._settings.embedded:\n            return\n",
)
"""A child that goes on when its pipe is closed: else it ends by itself, whatever others do."""
