"""What the processor can do, and what that means for INT8, which runs by default."""

from __future__ import annotations

import platform
from pathlib import Path

from roadseg.doctor.report import Level, Verdict, note

# By name, the flags of Linux that mean it.
_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "AVX2": ("avx2",),
        "VNNI": ("avx512_vnni", "avx_vnni"),
        "AMX": ("amx_int8",),
    },
    "aarch64": {"dot product": ("asimddp",), "I8MM": ("i8mm",)},
}


def instruction_sets(cpuinfo: str, machine: str) -> dict[str, bool]:
    """Which instruction sets for INT8 a processor has; empty where that is not known.

    Args:
        cpuinfo: Linux's description of the processor.
        machine: `x86_64` or `aarch64`.
    """
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags.update(value.split())
            break
    if not flags:
        return {}
    known = _SETS.get(machine, {})
    return {name: any(mark in flags for mark in marks) for name, marks in known.items()}


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo"), machine: str = "") -> Verdict:
    """The processor's instruction sets.

    Args:
        cpuinfo: Linux's description of it; other systems have none.
        machine: its kind; default: that of this machine.
    """
    machine = machine or platform.machine()
    try:
        found = instruction_sets(cpuinfo.read_text(errors="replace"), machine)
    except OSError:
        found = {}
    if not found:
        text = f"{machine}; which instructions for INT8 it has is not known on this system"
        return note(text)
    has = [name for name, there in found.items() if there]
    lacks = [name for name, there in found.items() if not there]
    text = " and ".join(has) or machine
    if lacks:
        text += f", no {' and no '.join(lacks)}"
    level = Level.NOTE if machine == "x86_64" and not found["AVX2"] else Level.OK
    facts = {"instruction_sets": found}
    return Verdict(level, f"{text}: {_meaning(found)}", None, facts)


def _meaning(found: dict[str, bool]) -> str:
    if found.get("AMX") or found.get("I8MM"):
        return "INT8 is as fast as it gets on a CPU"
    if found.get("VNNI") or found.get("dot product"):
        return "INT8 runs on instructions of its own"
    if found.get("AVX2"):
        return "INT8 takes several instructions for one, and is still faster than FP32"
    return "INT8 and FP32 both run slowly"
