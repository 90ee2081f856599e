"""End-to-end latency of a network: pinned frames in, labels in pinned memory out.

`ours` is `TorchCudaBackend`: its CUDA graph has upload, network and download inside. The others
get the same treatment by hand: pinned memory, asynchronous copies, one synchronisation.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from benchmarks.gpu_networks import FrameNetwork, Network, frames_bgr, gflop, load
from benchmarks.gpu_steps import Recorder, Settings
from benchmarks.gpu_timing import host_latency
from roadseg.backends.torch_cuda.backend import TorchCudaBackend
from roadseg.backends.torch_cuda.graph import fastest_algorithms
from roadseg.backends.torch_cuda.layers import Convolution

__all__ = ["Staged", "agreement", "half_network", "latency", "reference_labels", "time_staged"]

Labels = npt.NDArray[np.uint8]


class Staged:
    """A frame network between pinned buffers, as a careful user of PyTorch would call it.

    Args:
        network: takes (N, H, W, 3) uint8, gives (N, H, W) uint8, on the device.
        frames: (N, H, W, 3) uint8.
        device: `cuda` or `cpu`.
    """

    def __init__(self, network: Callable[[Any], Any], frames: Labels, device: str) -> None:
        pinned = device != "cpu"
        self._network = network
        self._device = device
        self._frames = torch.from_numpy(frames.copy())
        self._labels = torch.empty(frames.shape[:3], dtype=torch.uint8)
        if pinned:
            self._frames = self._frames.pin_memory()
            self._labels = self._labels.pin_memory()

    def run(self) -> Labels:
        """One batch, start to end."""
        with torch.inference_mode():
            labels = self._network(self._frames.to(self._device, non_blocking=True))
            self._labels.copy_(labels, non_blocking=True)
        if self._device != "cpu":
            torch.cuda.current_stream().synchronize()
        return self._labels.numpy()


def agreement(left: Labels, right: Labels) -> float:
    """Share of pixels with the same label."""
    return round(float((left == right).mean()), 5)


def reference_labels(network: Network, frames: Labels, device: str) -> Labels:
    """Labels of the network in FP32, without TF32."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    model = FrameNetwork(copy.deepcopy(network.module).to(device), torch.float32)
    with torch.inference_mode():
        parts = [model(torch.from_numpy(f[None]).to(device)).cpu().numpy() for f in frames]
    return np.concatenate(parts)


def _peak_mb(device: str) -> float | None:
    if device == "cpu":
        return None
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def _fresh_memory(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def time_staged(
    network: Callable[[Any], Any], frames: Labels, reference: Labels, settings: Settings
) -> dict[str, Any]:
    """Agreement first, then latency, of any frame network on the device."""
    staged = Staged(network, frames, settings.device)
    result: dict[str, Any] = {"agreement_fp32": agreement(staged.run(), reference)}
    measured = host_latency(staged.run, **_effort(settings))
    return result | measured.to_json() | _rate(len(frames), measured.p50_ms)


def _rate(batch: int, p50_ms: float) -> dict[str, float]:
    return {"batch": batch, "fps": round(batch * 1000 / p50_ms, 1)}


def _effort(settings: Settings) -> dict[str, Any]:
    if settings.dry:
        return {"warm_up_s": 0.0, "time_s": 0.0, "calls": 1, "least": 1}
    return {"warm_up_s": 0.3, "time_s": 0.8 if settings.quick else 1.5}


def half_network(network: Network, device: str) -> nn.Module:
    """The network in FP16 and channels-last, as PyTorch computes it; FP32 on a CPU."""
    dtype = torch.float32 if device == "cpu" else torch.float16
    model: Any = copy.deepcopy(network.module)
    model = model.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    return FrameNetwork(model.eval().requires_grad_(False), dtype)


def _ours(
    backend: TorchCudaBackend, frames: Labels, reference: Labels, settings: Settings
) -> dict[str, Any]:
    batch = len(frames)
    slot = backend.slot(batch)
    slot.frames[:] = frames

    def replay() -> None:
        slot.start()
        slot.wait()

    # Poisoned: what the graph does not write would show.
    slot.labels[:] = 255
    replay()
    result: dict[str, Any] = {"agreement_fp32": agreement(slot.labels, reference)}
    # Another input, then the first again: a graph that baked its input in would show.
    slot.frames[:] = frames[:, ::-1]
    replay()
    slot.frames[:] = frames
    replay()
    result["agreement_replayed"] = agreement(slot.labels, reference)
    measured = host_latency(replay, **_effort(settings))
    result |= measured.to_json() | _rate(batch, measured.p50_ms)
    call = host_latency(lambda: backend.infer(frames), **_effort(settings))
    result["infer_p50_ms"], result["infer_p95_ms"] = call.p50_ms, call.p95_ms
    result["pipelined_fps"] = round(_pipelined_fps(backend, frames, settings), 1)
    result["ways"] = backend.ways
    return result


def _pipelined_fps(backend: TorchCudaBackend, frames: Labels, settings: Settings) -> float:
    """Frames per second with `depth` batches in flight, NumPy in and NumPy out."""
    limit_s = 0.0 if settings.dry else 1.0
    for _ in range(backend.depth):
        backend.submit(frames)
    started_s = time.perf_counter()
    batches = 0
    while batches < (1 if settings.dry else 5) or time.perf_counter() - started_s < limit_s:
        backend.collect()
        backend.submit(frames)
        batches += 1
    elapsed_s = time.perf_counter() - started_s
    for _ in range(backend.depth):
        backend.collect()
    return batches * len(frames) / elapsed_s


def _profile(backend: TorchCudaBackend, frames: Labels) -> dict[str, Any]:
    """Time on the device of each kernel of one replay, longest first."""
    from torch.profiler import ProfilerActivity, profile

    replays = 10
    backend.infer(frames)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        for _ in range(replays):
            backend.infer(frames)
        torch.cuda.synchronize()
    totals: dict[str, list[float]] = {}
    for event in profiler.events():
        if "CUDA" in str(event.device_type):
            totals.setdefault(event.name, []).append(float(event.time_range.elapsed_us()))
    rows: list[dict[str, Any]] = [
        {"kernel": name[:120], "per_replay": len(times) / replays, "us": sum(times) / replays}
        for name, times in totals.items()
    ]
    return {"kernels": sorted(rows, key=lambda row: -row["us"])}


def latency(recorder: Recorder, name: str) -> None:
    """The step: ours and eager at every batch size, agreement with FP32 first."""
    settings = recorder.settings
    device = settings.device
    network = load(name, settings)
    recorder.put("trained", network.trained)
    recorder.put("gflop", round(gflop(network.module, settings.size_hw), 2))
    frames = frames_bgr(max(settings.batches), settings.size_hw)
    reference = reference_labels(network, frames, device)
    for batch in settings.batches:
        _fresh_memory(device)
        started_s = time.perf_counter()
        backend = _backend(network, settings)
        backend.prepare(batch)
        # Choosing algorithms and capturing: what a user waits for before the first frame.
        recorder.put(f"prepare_s:{batch}", round(time.perf_counter() - started_s, 2))
        recorder.put("notes", backend.notes)
        few, want = frames[:batch], reference[:batch]

        def measure(
            backend: TorchCudaBackend = backend, few: Labels = few, want: Labels = want
        ) -> Any:
            return _ours(backend, few, want, settings) | {"peak_mb": _peak_mb(device)}

        recorder.attempt(f"ours:{batch}", measure)
        if batch == settings.batches[0]:
            recorder.put("layers", _layers(backend))
        backend.close()
        del backend, measure
        _fresh_memory(device)

        def eager(few: Labels = few, want: Labels = want) -> Any:
            with fastest_algorithms():
                timed = time_staged(half_network(network, device), few, want, settings)
            return timed | {"peak_mb": _peak_mb(device)}

        recorder.attempt(f"eager:{batch}", eager)
    if device != "cpu":
        # Last: a profiler that was once on may slow down what follows.
        one = frames[: settings.batches[0]]
        recorder.attempt("profile", lambda: _profile(_backend(network, settings), one))


def _backend(network: Network, settings: Settings) -> TorchCudaBackend:
    operations = None
    if settings.dry:
        from benchmarks.gpu_kernels import load_operations

        operations = load_operations("cpu")
    return TorchCudaBackend(
        network.module,
        settings.size_hw,
        name=network.name,
        device=settings.device,
        operations=operations,
    )


def _layers(backend: TorchCudaBackend) -> dict[str, Any]:
    """Milliseconds of each way of each convolution, as tuning measured them."""
    found = backend.convolutions()
    return {name: _timed(layer) for name, layer in found.items()}


def _timed(layer: Convolution) -> dict[str, Any]:
    return {
        "weight": list(layer.weight.shape),
        "way": layer.way,
        "ms": {way: round(ms, 5) for way, ms in layer.times_ms.items()},
    }
