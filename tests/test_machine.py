"""Allowed cores and memory: taskset, both versions of control groups, and the workers that fit."""

import os
import subprocess
import sys

import psutil
import pytest

from eggan import machine
from eggan.machine import allowed_cores, available_gib, default_workers


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A system's control groups as files: `groups(line of /proc/self/cgroup, {file: content})`."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))

    def write(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),  # half a core is one thread
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, 4),  # a parent's limit
        ("0::/outside/of/the/container\n", {"cpu.max": "200000 100000\n"}, 2),
        ("3:cpu,cpuacct:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
                                  "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 3),
        ("3:cpu,cpuacct:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
                                  "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, 64),
    ],
)  # fmt: skip
def test_the_control_groups_decide_how_many_cores_there_are(groups, own, files, cores):
    groups(own, files)
    assert allowed_cores() == cores


def test_a_binding_decides_too(groups, monkeypatch):
    groups("0::/\n", {"cpu.max": "800000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert allowed_cores() == 1


def test_a_process_bound_to_one_core_sees_one():
    one = sorted(os.sched_getaffinity(0))[0]
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); from eggan.machine import *; print(allowed_cores())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"


class Memory:
    available = 100 * 2**30


@pytest.mark.parametrize(
    ("own", "files", "workers"),
    [
        ("0::/\n", {}, 64),
        ("0::/\n", {"memory.max": "max", "memory.current": "5"}, 64),
        ("0::/\n", {"memory.max": str(6 * 2**30), "memory.current": str(2**30)}, 5),  # (6 - 1 - 1) / 0.8
        ("0::/\n", {"memory.max": str(2**30), "memory.current": str(2**30)}, 1),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": str(4 * 2**30),
                          "memory/memory.usage_in_bytes": "0"}, 3),
    ],
)  # fmt: skip
def test_workers_fit_into_the_memory(groups, monkeypatch, own, files, workers):
    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    groups(own, files)
    assert default_workers(0.8) == workers


def test_this_machine_has_a_core_and_memory():
    assert 1 <= allowed_cores() <= (os.cpu_count() or 1)
    assert 0 < available_gib() < 1e6
