"""What the processor can do, and what that means for INT8, which runs by default."""

from __future__ import annotations

import platform
from pathlib import Path

from roadseg.core.processor import instruction_sets, isa_limit
from roadseg.doctor.report import Level, Verdict, note


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo"), machine: str = "") -> Verdict:
    """The processor's instruction sets.

    Args:
        cpuinfo: Linux's description of it; other systems have none.
        machine: its kind; default: that of this machine.
    """
    machine = machine or platform.machine()
    found = instruction_sets(cpuinfo, machine)
    if not found:
        text = f"{machine}; which instructions for INT8 it has is not known on this system"
        return note(text)
    has = [name for name, there in found.items() if there]
    lacks = [name for name, there in found.items() if not there]
    text = " and ".join(has) or machine
    if lacks:
        text += f", no {' and no '.join(lacks)}"
    level = Level.NOTE if machine == "x86_64" and not found["AVX2"] else Level.OK
    text = f"{text}: {_meaning(found)}"
    limit = isa_limit()
    if limit:
        text += f"; ONEDNN_MAX_CPU_ISA holds the network to {limit}"
    return Verdict(level, text, None, {"instruction_sets": found, "limit": limit or None})


def check_speed() -> Verdict:
    """How fast the shipped networks are on this processor, as far as a run has timed them."""
    from roadseg.loading.ladder.kept import read_kept, this_machine

    texts: list[str] = []
    times: list[dict[str, object]] = []
    for throughput, scores, of in (
        (False, False, "a frame"),
        (True, False, "a frame of a file, several in flight"),
        (False, True, "a frame with its scores, for doubt"),
    ):
        machine = this_machine("openvino", None, throughput=throughput, scores=scores)
        kept = read_kept(machine).times
        slowest_first = sorted(kept, key=lambda each: -each.ms)
        shown = ", ".join(
            f"{each.model} {each.size_hw[0]}x{each.size_hw[1]} {each.ms:.0f} ms"
            for each in slowest_first
        )
        if shown:
            texts.append(f"{shown} {of}")
        times += [
            {
                "model": each.model,
                "size_hw": list(each.size_hw),
                "ms": each.ms,
                "throughput": throughput,
                "scores": scores,
            }
            for each in slowest_first
        ]
    if not times:
        return note("not timed yet: 'roadseg run' does so once, in at most 3 seconds")
    return Verdict(Level.OK, f"{'; '.join(texts)}, the network alone", None, {"times": times})


def _meaning(found: dict[str, bool]) -> str:
    if found.get("AMX") or found.get("I8MM"):
        return "INT8 is as fast as it gets on a CPU"
    if found.get("VNNI") or found.get("dot product"):
        return "INT8 runs on instructions of its own"
    if found.get("AVX2"):
        return "INT8 takes several instructions for one, and is still faster than FP32"
    return "INT8 and FP32 both run slowly"
