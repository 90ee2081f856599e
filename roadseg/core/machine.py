"""What a measurement ran on, for reports that others can compare with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "roadseg",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "av",
    "openvino",
    "torch",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer and its software.

    Attributes:
        cpu: the processor's name.
        cores: logical cores that this process may use.
        system: operating system and architecture.
        python: version.
        versions: of the installed packages that matter to speed.
        date: UTC, ISO 8601, to the second.
    """

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    date: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} core{'' if self.cores == 1 else 's'}"


def describe_machine() -> Machine:
    """The machine that this process runs on, now."""
    return Machine(
        cpu=_cpu_name(),
        cores=_usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=_versions(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown processor"


def _usable_cores() -> int:
    # Containers and taskset hand out fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found
