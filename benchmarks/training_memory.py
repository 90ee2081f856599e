"""What it brings to keep freed memory while training on a CPU.

    python -m benchmarks.training_memory --threads 2

Steps of segnet-basic in blocks, in one process: memory given back to the system, kept, given back,
and so on. Medians and their ratio are printed; see `roadseg.core.allocator`. Linux with glibc.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Step", "main"]

# Of glibc's malloc.h, with what they are by default.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_THRESHOLD, _MAX = 128 * 1024, 65536
_NEVER = 2**31 - 1


@dataclass(frozen=True)
class Step:
    """What a training step took: seconds of the clock and of the system's, pages mapped."""

    wall_s: float
    system_s: float
    faults: int


def main(arguments: Sequence[str] | None = None) -> float:
    """Measure and print.

    Returns:
        How many times as fast a step is where memory is kept.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=8, help="half of them with memory kept")
    parser.add_argument("--steps", type=int, default=5, help="in a block, behind one to warm up")
    options = parser.parse_args(arguments)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # before PyTorch is loaded
    step = _training_step(options.batch, tuple(options.size), options.threads)
    found: dict[bool, list[Step]] = {False: [], True: []}
    for block in range(options.blocks):
        keep = block % 2 == 1
        _keep_memory(keep)
        found[keep] += [_measured(step) for _ in range(1 + options.steps)][1:]
    _keep_memory(False)
    medians = {keep: _median(steps) for keep, steps in found.items()}
    for keep, name in ((False, "given back"), (True, "kept")):
        at = medians[keep]
        print(f"{name}: {at.wall_s:.3f} s a step, {at.system_s:.3f} s of it the system's, "
              f"{at.faults} page faults")  # fmt: skip
    ratio = medians[False].wall_s / medians[True].wall_s
    print(f"{ratio:.2f} times as fast where it is kept")
    return ratio


def _training_step(batch: int, size_hw: tuple[int, int], threads: int) -> Callable[[], None]:
    import torch
    import torch.nn.functional as F

    from roadseg.models import build_model
    from roadseg.training.objective import is_fast_in_half_precision

    half = is_fast_in_half_precision(torch.device("cpu"))  # as training has it
    torch.set_num_threads(threads)
    model = build_model("segnet-basic").train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.rand(batch, 3, *size_hw).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 11, (batch, *size_hw))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = model(images)
        loss = F.cross_entropy(scores.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _keep_memory(keep: bool) -> None:
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0 if keep else _MAX)
    libc.mallopt(_M_MMAP_THRESHOLD, _NEVER if keep else _THRESHOLD)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER if keep else _THRESHOLD)
    libc.malloc_trim(0)


def _measured(step: Callable[[], None]) -> Step:
    before, before_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    step()
    wall_s, after = time.perf_counter() - before_s, resource.getrusage(resource.RUSAGE_SELF)
    return Step(wall_s, after.ru_stime - before.ru_stime, after.ru_minflt - before.ru_minflt)


def _median(steps: Sequence[Step]) -> Step:
    return Step(
        statistics.median(step.wall_s for step in steps),
        statistics.median(step.system_s for step in steps),
        round(statistics.median(step.faults for step in steps)),
    )


if __name__ == "__main__":
    main()
