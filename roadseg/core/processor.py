"""The processor: its name, and the instructions that decide how fast INT8 is on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

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
    """How many logical cores this process may use."""
    # Containers and taskset hand out fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lines(cpuinfo: Path) -> list[str]:
    try:
        return cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return []
