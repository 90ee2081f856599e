"""What a measurement ran on, for reports that others can compare with."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata

from roadseg.core.processor import processor_name, usable_cores

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
        cpu=processor_name(),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=_versions(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found
