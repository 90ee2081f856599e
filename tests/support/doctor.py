"""Probes as they may go, and what the doctor finds on a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roadseg.doctor.checkup import Surroundings, judge
from roadseg.doctor.probing import Probe

Machine = Callable[..., Surroundings]

DRIVERS = "update it from https://www.nvidia.com/drivers, or use --backend openvino"
REINSTALL = "pip install --force-reinstall --no-deps roadseg"
CRASHED = Probe(kind="crashed", error="ends Python with SIGSEGV")
HUNG = Probe(kind="hung", error="does not answer within 30 s")


def missing(module: str) -> Probe:
    return Probe(
        kind="missing", error=f"ModuleNotFoundError: No module named {module!r}", module=module
    )


def failed(error: str) -> Probe:
    return Probe(kind="failed", error=error)


def gpu_facts(**changes: Any) -> Probe:
    facts = {
        "library": True,
        "error": None,
        "driver": "580.65.06",
        "cuda": [13, 0],
        "gpus": [{"name": "RTX 4090", "compute_capability": [8, 9], "bytes": 24 * 2**30}],
    }
    return Probe(facts | changes)


def of(check: str, around: Surroundings) -> list[tuple[str, str, str | None]]:
    return [(f.level.value, f.text, f.fix) for f in judge(around).findings if f.check == check]
