"""How much of the processor there is for this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roadseg.core import processor
from roadseg.core.processor import cpu_quota, usable_cores


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """The groups of the process, and where they are mounted."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "own", root / "groups"


V1 = {
    "own": "9:name=systemd:/\n2:memory:/a\n1:cpu,cpuacct:/a/b\n0::/\n",
    "groups/memory/a/cpu.max": "1 100000\n",  # no group of the processor
}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"own": "0::/a/b\n"}, None),
        ({"own": "0::/a/b\n", "groups/a/b/cpu.max": "max 100000\n"}, None),
        ({"own": "0::/a/b\n", "groups/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"own": "0::/a/b\n", "groups/a/cpu.max": "200000 100000\n"}, 2),
        (
            {
                "own": "0::/a/b\n",
                "groups/a/b/cpu.max": "400000 100000\n",
                "groups/a/cpu.max": "200000 100000\n",
            },
            2,
        ),
        # A container whose own group is the top.
        ({"own": "0::/\n", "groups/cpu.max": "50000 100000\n"}, 0.5),
        ({"own": "0::/host/id\n", "groups/cpu.max": "50000 100000\n"}, 0.5),
        # Both versions side by side.
        ({"own": "1:cpu:/\n0::/a\n", "groups/unified/a/cpu.max": "50000 100000\n"}, 0.5),
        (V1, None),
        (
            V1
            | {
                "groups/cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
                "groups/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
                "groups/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
                "groups/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            V1
            | {"groups/cpu/cpu.cfs_quota_us": "50000\n", "groups/cpu/cpu.cfs_period_us": "50000\n"},
            1,
        ),
        ({"own": "0::/a\n", "groups/a/cpu.max": "what is this\n"}, None),
        ({"own": "0::/a\n", "groups/a/cpu.max": "0 100000\n"}, None),
        ({"own": "nothing that is known\n"}, None),
    ],
)
def test_the_smallest_quota_of_all_groups_above_counts(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*write(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (1.5, 1), (6.0, 6), (32.0, 8)])
def test_whole_cores_of_a_quota_count(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(processor, "cpu_quota", lambda: quota)
    assert usable_cores() == cores
