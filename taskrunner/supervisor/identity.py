"""Who a node is, and proof that another of the same host is dead."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from taskrunner import _version
from taskrunner.brokers.base import NodeInfo
from taskrunner.clock import Clock
from taskrunner.config import Config


def new_node(config: Config, queues: Iterable[str], clock: Clock) -> NodeInfo:
    """This process as a node, under an id that was never used before."""
    pid = os.getpid()
    return NodeInfo(
        id=os.urandom(8).hex(),
        lease=config.lease_s,
        host=socket.gethostname(),
        pid=pid,
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        process_start=_process_start(pid) or "",
        started_at=clock.wall(),
        processes=config.processes,
        concurrency=config.concurrency,
        queues=tuple(queues),
        version=_version.__version__,
    )


def proven_dead(nodes: Iterable[NodeInfo]) -> list[str]:
    """Those nodes that ran on this boot of this host, in this pid namespace, and do not any more.

    A pid that is in use again belongs to a process that started later.
    """
    boot, namespace = _boot_id(), _pid_namespace()
    if not boot or not namespace:
        return []
    return [
        node.id
        for node in nodes
        if node.boot_id == boot
        and node.pid_namespace == namespace
        and node.process_start
        and _process_start(node.pid) != node.process_start
    ]


def _boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    """When a process started, in the kernel's ticks since boot; None where there is no such one.

    A zombie counts as dead: it runs nothing any more.
    """
    if not sys.platform.startswith("linux"):
        return ""
    stat = _read(f"/proc/{pid}/stat")
    # The second field is the program's name in brackets, and may hold anything.
    fields = stat[stat.rfind(")") + 2 :].split()
    if not fields or fields[0] in ("Z", "X"):
        return None
    return fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
