"""A task queue for Python: declare tasks, submit jobs from anywhere, see what became of each."""

from __future__ import annotations

from taskrunner._version import __version__
