"""A training process keeps the memory of its steps; threads of a run share one heap."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc's malloc")

# The pages that are mapped anew in five steps of 8 MiB each, after some to begin with: freed blocks
# become large enough to be used again as they grow together.
STEPS = """
import resource
from roadseg.core.allocator import keep_freed_memory
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

# Heaps in use once four threads at a time have allocated; `malloc_info` lists them.
HEAPS = """
import ctypes, os, sys, tempfile, threading
from roadseg.core.allocator import share_one_arena
print(share_one_arena() if sys.argv[1] == "share" else None)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.fdopen.restype = ctypes.c_void_p
meeting = threading.Barrier(4)
def allocate():
    meeting.wait()
    block = libc.malloc(1000)
    meeting.wait()
    libc.free(block)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(os.dup(file.fileno()), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
"""


def run(code: str, *words: str, **environment: str) -> list[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.split()


def test_freed_memory_is_not_mapped_again() -> None:
    # Without large pages, which would hide how often memory is mapped.
    pages = 5 * (8 << 20) // 4096
    assert int(run(STEPS, THP_MEM_ALLOC_ENABLE="0")[0]) < pages / 10


def test_threads_share_one_heap() -> None:
    assert run(HEAPS, "share") == ["True", "1"]
    assert int(run(HEAPS, "leave")[1]) > 1


@pytest.mark.parametrize(
    "environment", [{"MALLOC_ARENA_MAX": "3"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}]
)
def test_what_the_environment_says_of_heaps_holds(environment: dict[str, str]) -> None:
    assert run(HEAPS, "share", **environment) == ["False", "3"]
