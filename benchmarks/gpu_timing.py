"""Time on a device and on the host; verify first, then warm up, then medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from roadseg.backends.torch_cuda.graph import capture

__all__ = ["Latency", "device_ms", "host_latency", "matmul_tflops", "percentile"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    rank = min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered) + 0.5) - 1))
    return ordered[rank]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of calls on the host's clock."""

    p50_ms: float
    p95_ms: float
    calls: int

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


def host_latency(
    run: Callable[[], Any],
    *,
    warm_up_s: float = 0.3,
    time_s: float = 1.5,
    calls: int = 1000,
    least: int = 5,
) -> Latency:
    """Latency of `run`, which returns when its result is on the host.

    Args:
        run: one call.
        warm_up_s: seconds of calls that do not count: clocks rise, caches fill.
        time_s: stop after so many seconds...
        calls: ... or so many calls...
        least: ... but not before so many.
    """
    until_s = time.perf_counter() + warm_up_s
    run()
    while time.perf_counter() < until_s:
        run()
    times_ms: list[float] = []
    until_s = time.perf_counter() + time_s
    while len(times_ms) < least or (len(times_ms) < calls and time.perf_counter() < until_s):
        started_s = time.perf_counter()
        run()
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return Latency(
        round(percentile(times_ms, 50), 4), round(percentile(times_ms, 95), 4), len(times_ms)
    )


def device_ms(
    runs: Sequence[Callable[[], Any]], device: str, *, launches: int = 40, rounds: int = 15
) -> float:
    """Median milliseconds of one launch, on the device's clock.

    On CUDA the launches are captured in one graph and replayed, so that Python is not measured;
    what remains of the gap between launches is in the figure, as it is in that of the copy they
    are compared with.

    Args:
        runs: the same work on different memory, in turn: together far more memory than the L2
            cache has, so that each launch finds its data in device memory.
        device: `cuda` or `cpu`.
        launches: of one round; at least one for each of `runs`.
        rounds: of which the median is taken.
    """
    count = max(launches, len(runs))
    if device == "cpu":
        started_s = time.perf_counter()
        for run in runs:
            run()
        return (time.perf_counter() - started_s) * 1000 / len(runs)
    cuda: Any = torch.cuda
    stream, graph, event = cuda.Stream(), cuda.CUDAGraph(), cuda.Event
    stream.wait_stream(cuda.current_stream())
    with torch.cuda.stream(stream):
        for run in runs:
            run()
        stream.synchronize()
        with capture(graph):
            for launch in range(count):
                runs[launch % len(runs)]()
        events: list[tuple[Any, Any]] = []
        for _ in range(3):
            graph.replay()
        for _ in range(rounds):
            start, end = event(enable_timing=True), event(enable_timing=True)
            start.record(stream)
            graph.replay()
            end.record(stream)
            events.append((start, end))
        stream.synchronize()
    return percentile([start.elapsed_time(end) for start, end in events], 50) / count


def matmul_tflops(device: str, side: int) -> float:
    """Rate of a square FP16 matrix product on random data, in TFLOP/s: the arithmetic ceiling."""
    dtype = torch.float32 if device == "cpu" else torch.float16
    a = torch.randn(side, side, dtype=torch.float32, device=device).to(dtype)
    b = torch.randn(side, side, dtype=torch.float32, device=device).to(dtype)
    out = torch.empty_like(a)
    ms = device_ms([lambda: torch.mm(a, b, out=out)], device, launches=10, rounds=9)
    return 2 * side**3 / (ms * 1e-3) / 1e12
