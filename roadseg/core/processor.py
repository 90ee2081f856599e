"""The processor: its name, and the instructions that decide how fast INT8 is on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_VERSION_1 = ("cpu.cfs_quota_us", "cpu.cfs_period_us")

# By name, the flags of Linux that mean it.
_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "AVX2": ("avx2",),
        "VNNI": ("avx512_vnni", "avx_vnni"),
        "AMX": ("amx_int8",),
    },
    "aarch64": {"dot product": ("asimddp",), "I8MM": ("i8mm",)},
}


def instruction_sets(cpuinfo: Path = _CPUINFO, machine: str = "") -> dict[str, bool]:
    """Which instruction sets for INT8 a processor has; empty where that is not known.

    Args:
        cpuinfo: Linux's description of the processor; other systems have none.
        machine: `x86_64` or `aarch64`; default: that of this machine.
    """
    flags: set[str] = set()
    for line in _lines(cpuinfo):
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags.update(value.split())
            break
    if not flags:
        return {}
    known = _SETS.get(machine or platform.machine(), {})
    return {name: any(mark in flags for mark in marks) for name, marks in known.items()}


def isa_limit() -> str:
    """What the user holds OpenVINO's kernels to, `AVX2` for example; empty where nothing does."""
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").strip().upper()


def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name, as its maker writes it."""
    for line in _lines(cpuinfo):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown processor"


def usable_cores() -> int:
    """How many logical cores this process may keep busy.

    Of a quota its whole cores count: a network on more threads than that is held back in the middle
    of each frame.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # taskset hands out some of them
        cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return cores if quota is None else max(min(cores, int(quota)), 1)


def cpu_quota(own: Path = _OWN_GROUPS, groups: Path = _GROUPS) -> float | None:
    """The cores' worth of time that Linux's control groups allow this process, 1.5 for example.

    `docker run --cpus`, limits of Kubernetes and `CPUQuota=` of systemd set one: cores stay visible
    then, and all threads are held back together once the time of a period is spent.

    Args:
        own: the groups of the process, of version 1 and 2.
        groups: where the groups are mounted. In a container its own may be the top.

    Returns:
        None without a quota.
    """
    quotas = []
    for line in _lines(own):
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in (controllers, "cpu") if controllers else ("", "unified"):
            group = groups / mount / path.lstrip("/")
            for folder in (group, *group.parents):
                quotas += _quota(folder)
                if folder == groups / mount:
                    break
    return min(quotas, default=None)


def _quota(group: Path) -> list[float]:
    """The quota of one group: one number, or none."""
    texts = _lines(group / "cpu.max") or [
        text for name in _VERSION_1 for text in _lines(group / name)[:1]
    ]
    try:
        quota_us, period_us = map(float, " ".join(texts).split())
    except ValueError:  # `max`, or a group of another kind
        return []
    return [quota_us / period_us] if quota_us > 0 and period_us > 0 else []


def _lines(cpuinfo: Path) -> list[str]:
    try:
        return cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return []
