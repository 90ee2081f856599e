"""A training process keeps the memory of its steps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# The pages that are mapped anew in five steps of 8 MiB each, after some to begin with: freed blocks
# become large enough to be used again as they grow together.
STEPS = """
import resource
from roadseg.training.allocator import keep_freed_memory
assert keep_freed_memory()
import torch
torch.set_num_threads(1)
def step():
    torch.ones(1 << 21)
for _ in range(20):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc's malloc")
def test_freed_memory_is_not_mapped_again() -> None:
    # Without large pages, which would hide how often memory is mapped.
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        env=os.environ | {"THP_MEM_ALLOC_ENABLE": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    pages = 5 * (8 << 20) // 4096
    assert int(done.stdout) < pages / 10
