"""The benchmark of kept memory, at a size that takes a second."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_kept_memory_is_not_mapped_again() -> None:
    # In a process of its own: it changes how all of its memory is allocated.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_memory", "--size", "64", "96", "--batch", "2",
         "--blocks", "2", "--steps", "3"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    given_back, kept, ratio = done.stdout.splitlines()
    faults = [int(line.split()[-3]) for line in (given_back, kept)]
    assert faults[1] < faults[0] / 2
    assert ratio.endswith(" times as fast where it is kept")
