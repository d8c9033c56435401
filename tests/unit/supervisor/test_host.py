"""What a process may use of its machine, from files as kernels write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskrunner.supervisor import host

MIB = 2**20
MEMINFO = "MemTotal:       16000000 kB\nMemFree:  100 kB\nMemAvailable:    8192 kB\n"
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10.
Pages active:                           1000.
Pages inactive:                           20.
Pages speculative:                         2.
Pages purgeable:                           0.
"""


def machine(root: Path, **files: str) -> Path:
    """`a__b` is the file a/b."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_groups_it_is_the_machine(tmp_path: Path) -> None:
    machine(tmp_path, proc__meminfo=MEMINFO)
    assert host.free_memory(tmp_path) == 8 * MIB
    assert host.cpus(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("path", ["/", "/outer/inner", "/not/seen/here"])
def test_the_limits_of_a_group_count_and_of_those_above_it(tmp_path: Path, path: str) -> None:
    machine(
        tmp_path,
        proc__meminfo=MEMINFO.replace("8192", "8192000"),
        proc__self__cgroup=f"0::{path}\n",
        sys__fs__cgroup__cpu_DOT_max="50000 100000\n",
        sys__fs__cgroup__memory_DOT_max=f"{100 * MIB}\n",
        sys__fs__cgroup__memory_DOT_current=f"{90 * MIB}\n",
        sys__fs__cgroup__memory_DOT_stat=f"anon 5\ninactive_file {30 * MIB}\n",
        sys__fs__cgroup__outer__cpu_DOT_max="max 100000\n",
        sys__fs__cgroup__outer__inner__cpu_DOT_max="25000 100000\n",
        sys__fs__cgroup__outer__inner__memory_DOT_max="max\n",
    )
    assert host.cpus(tmp_path) == (0.25 if "inner" in path else 0.5)
    assert host.free_memory(tmp_path) == 40 * MIB, "cached files can go"


def test_version_1_has_its_own_files(tmp_path: Path) -> None:
    group = "sys__fs__cgroup__"
    machine(
        tmp_path,
        proc__self__cgroup="4:memory:/docker\n3:cpu,cpuacct:/docker\n1:name=systemd:/\n",
        **{
            f"{group}cpu,cpuacct__docker__cpu_DOT_cfs_quota_us": "30000\n",
            f"{group}cpu,cpuacct__docker__cpu_DOT_cfs_period_us": "100000\n",
            f"{group}cpu,cpuacct__cpu_DOT_cfs_quota_us": "-1\n",
            f"{group}cpu,cpuacct__cpu_DOT_cfs_period_us": "100000\n",
            f"{group}memory__docker__memory_DOT_limit_in_bytes": f"{50 * MIB}\n",
            f"{group}memory__docker__memory_DOT_usage_in_bytes": f"{49 * MIB}\n",
            f"{group}memory__docker__memory_DOT_stat": f"total_inactive_file {4 * MIB}\n",
            f"{group}memory__memory_DOT_limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert host.cpus(tmp_path) == 0.3
    assert host.free_memory(tmp_path) == 5 * MIB


def test_a_group_that_is_over_its_limit_has_nothing_free(tmp_path: Path) -> None:
    machine(
        tmp_path,
        proc__self__cgroup="0::/\n",
        sys__fs__cgroup__memory_DOT_max=f"{MIB}",
        sys__fs__cgroup__memory_DOT_current=f"{2 * MIB}",
        sys__fs__cgroup__memory_DOT_stat="",
    )
    assert host.free_memory(tmp_path) == 0


def test_macos_is_asked_by_vm_stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vm_stat"
    program.write_text(f"#!/bin/sh\ncat <<'X'\n{VM_STAT}X\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert host.free_memory(tmp_path) == 32 * 16384


def test_where_nothing_can_be_asked_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.free_memory(tmp_path) is None


def test_this_machine_has_something() -> None:
    assert 0 < host.cpus() <= (os.cpu_count() or 1)
    assert (host.free_memory() or 0) > MIB
    assert (host.own_memory(os.getpid()) or 0) > MIB
    assert host.own_memory(2**22 + 1) is None
