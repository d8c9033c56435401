"""Every setting, in one frozen object."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Config:
    """Settings after the command line, `TASKRUNNER_*`, the files and the defaults were put together.

    Names carry their unit: `_s` seconds, `_bytes` bytes.
    """

    broker: str = "memory://"
    backend: str | None = None
    """None: the broker keeps results itself"""
    namespace: str = "taskrunner"
    queues: tuple[tuple[str, int], ...] | None = None
    """names and weights; None: every queue of the namespace, also those that appear later"""
    strict: bool = False
    """drain queues in the order of their weights instead of sharing by them"""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    concurrency: int = 1
    """jobs at once in each process"""
    prefetch: int | None = None
    """jobs given to a process beyond those it runs; None: learnt from their durations"""
    prefetch_limit_bytes: int = 8 * 1024 * 1024
    timeout_s: float | None = None
    retries: int = 3
    max_crashes: int = 3
    retention_s: float = 3600.0
    failed_retention_s: float = 30 * 86_400.0
    failed_max: int = 100_000
    unknown_task_ttl_s: float = 86_400.0
    payload_limit_bytes: int = 1024 * 1024
    result_limit_bytes: int = 1024 * 1024
    traceback_limit_bytes: int = 16 * 1024
    shutdown_timeout_s: float = 25.0
    grace_s: float = 5.0
    """between asking a running task to stop and killing its process"""
    lease_s: float = 15.0
    start_timeout_s: float = 60.0
    """for the fork server to import the application"""
    idle_look_s: float = 5.0
    """how often an idle node looks for work that no bell announced"""
    outcomes_limit: int = 100_000
    """outcomes kept while the broker is away; beyond, nothing new is started"""
    log_level: str = "info"
    log_format: str = "text"
